"""vigild: on-device object detection for small boards, as a daemon.

This package root imports nothing, so that every process pays only for what it uses.
"""

__version__ = "0.1.0"

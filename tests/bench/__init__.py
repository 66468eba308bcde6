"""`make bench`: the speed of the daemon as ratios to the raw interpreter, with what disturbed the measuring.

    PYTHONPATH=tests .venv/bin/python -m bench [ROW ...] [--quick] [--json FILE]

Nothing here imports vigild, NumPy, OpenCV or an interpreter: the daemon runs as a process of its own
and is read through its socket, and what it is compared with runs in a child (`raw`) that is only
alive while it is wanted.
"""

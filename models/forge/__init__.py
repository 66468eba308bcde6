"""forge: makes the models vigild ships. Training, conversion and quantisation; never on a board.

    PYTHONPATH=models:daemon .venv-forge/bin/python -m forge --help

Needs the environment of requirements.txt (PyTorch, litert-torch, ai-edge-quantizer), which nothing
else in this repository needs.
"""

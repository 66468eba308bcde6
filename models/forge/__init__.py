"""forge: makes the models vigild ships, and every variant of models that others bring; never on a board.

    PYTHONPATH=models:daemon .venv-forge/bin/python -m forge --help

    commands/      one module for each `python -m forge COMMAND`
    variants/      every setting of a network: made, judged, shipped
    training/      the embedded models
    evaluation/    how good a model file is
    routes/        the ways in from PyTorch and TensorFlow
    quantization/  from float32 to fewer bits
    model/         a .tflite file that somebody brings, as a float32 network
    tflite/        editing .tflite files

Each imports what stands below it, never what stands above (tests/unit/test_architecture.py).

Needs the environment of requirements.txt (PyTorch, litert-torch, ai-edge-quantizer), which nothing
else in this repository needs; TensorFlow has one of its own, requirements-tf.txt.
"""

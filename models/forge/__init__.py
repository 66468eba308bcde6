"""forge: makes the models vigild ships, and every variant of models that others bring; never on a board.

    PYTHONPATH=models:daemon .venv-forge/bin/python -m forge --help

    commands/      one module for each `python -m forge COMMAND`
    routes/        the ways in: PyTorch, TensorFlow, .tflite files
    tflite/        editing .tflite files
    quantization/  from float32 to fewer bits
    variants/      every setting of a network: made, judged, shipped
    evaluation/    how good a model file is
    training/      the embedded models

Needs the environment of requirements.txt (PyTorch, litert-torch, ai-edge-quantizer), which nothing
else in this repository needs; TensorFlow has one of its own, requirements-tf.txt.
"""

"""The ways in from other frameworks, PyTorch and TensorFlow, each to a float32 .tflite."""

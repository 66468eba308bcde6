"""The ways in: PyTorch, TensorFlow, and .tflite files, each to a float32 .tflite."""

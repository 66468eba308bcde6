"""Editing .tflite files: tensors and operators, the post-process op, labels and metadata."""

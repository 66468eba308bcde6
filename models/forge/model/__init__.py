"""A detector that somebody brings, a .tflite file: read, dequantised, cut to its float32 network, pruned."""

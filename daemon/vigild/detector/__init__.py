"""The detector worker: one interpreter, fed by the rings of its cameras.

`model_file`, `facts`   what the file says about itself, read without the interpreter
`input_spec`, `outputs`, `labels`   what is decided from that, once, at load
`runtime`               the interpreter: LiteRT or tflite-runtime, with a delegate
`delegates`             libedgetpu, or a library of the user's own
`model`                 all of it together: a model that is ready to run, or a `ModelError`
`decode_postprocess`, `decode_anchors`   output tensors to detections
`links`, `loop`         frames in, results out
"""

"""The detector worker: one interpreter, fed by the rings of its cameras.

`model_file`, `facts`   what the file says about itself, read without the interpreter
`flatbuffer`, `flexbuffer`, `metadata`   the formats inside it
`input_spec`, `outputs`, `labels`, `labelmap`   what is decided from that, once, at load
`interpreter`           LiteRT or tflite-runtime, with a delegate
`native_delegate`       libedgetpu, or a library of the user's own
`model`                 all of it together: a model that is ready to run, or a `ModelError` of `errors`
`decoders`              which of the ways from output tensors to detections fits a model
`decode_postprocess`, `decode_anchors`   those ways; `anchors`: the boxes that the latter starts from
`known`                 the classes that a model knows, read without running it
`selection`             which detections are passed on
`feeds`, `loop`         frames in, results out
"""

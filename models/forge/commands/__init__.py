"""The commands of `python -m forge`: one module each, with `add_arguments(parser)` and `run(options) -> int`.

PyTorch and the converters take seconds to import, so a module here imports them only inside `run`.
"""

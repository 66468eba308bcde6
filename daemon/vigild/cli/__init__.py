"""The command line: `main` finds the command's module, each module is one command (`control` several).

A command's module has `add_arguments(parser)` and `run(args) -> int`.
"""

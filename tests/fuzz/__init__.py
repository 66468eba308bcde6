"""Damaged and hostile input for everything that reads files or lines: `make fuzz [N=100000]`.

    PYTHONPATH=tests .venv/bin/python -m fuzz --cases 100000
    PYTHONPATH=tests .venv/bin/python -m fuzz --replay tests/fuzz/reproducers/NAME

`seeds` are the good files, `mutate`, `structure`, `archives` and `texts` damage them, `targets` read
them as the daemon does, and `server`, a process that has imported all that once, forks a child for each
model and for each batch of texts. `case` N of a seed is always the same, on any machine.

A model may kill the child that reads it, but only inside the runtime's native code; such deaths are
counted by cause. All else that is neither read nor refused in a sentence is a failure: an exception,
a hang, too much memory, a death in Python, a message that is empty, endless or of several lines.
"""

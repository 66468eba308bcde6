"""Boards without a board: whole machines under qemu (`make board`), and a processor alone (`make emulate`).

store      what is made once and kept: ~/.cache/vigild/boards
images     Debian with its kernel, vivid as /dev/video0 and, on x86, a thermal zone that can be set
machine    such a machine, switched on: its console, its shell, its temperature
processor  a bundle installed below a folder and run there by qemu-user
"""

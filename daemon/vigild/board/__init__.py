"""What the board says of itself: which one it is, temperatures, throttling, memory.

`identity`  its name and processor
`sensors`   files below a root that tests replace
`memory`    what the daemon's own processes use
"""

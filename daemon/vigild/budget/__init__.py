"""What the board says of itself: temperatures, throttling, memory.

`sensors`  files below a root that tests replace
`memory`   what the daemon's own processes use
"""

"""How the hub and its workers talk.

`channel`   a SOCK_SEQPACKET socket that carries messages and file descriptors (hub <-> worker)
`messages`  what is said on it
`ring`      frames: a sealed memfd and a SOCK_SEQPACKET pair (camera worker -> detector worker)
`progress`  one shared page per worker that says what it is doing right now
`worker`    what every worker process does first and last

Standard library and msgspec only: the hub imports all of it.
"""

"""Protocol 1: what the daemon and its clients say on the Unix socket.

`messages`  what the daemon says: hello, detections, heartbeat, health, event, error and answers
`requests`  what a client may say, and the reading of it
`framing`   bytes to lines and messages to bytes, with the limits
`policy`    what one client wants to see, and the part of a message that clients share
`address`   where the socket is

Bytes in, messages out; nothing here reads or writes (but for `address`, which looks at the file
system). The hub and the client library are both built on it. Standard library and msgspec only.
"""

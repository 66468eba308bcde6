"""The hub: one asyncio process that starts, watches and connects the workers and serves the clients.

No OpenCV, no interpreter and no NumPy is ever imported here (a system test reads the hub's memory
maps): native vision code can hang, abort and segfault, and the hub must not.

`hub`        the whole: configuration in force, requests, what is connected to what
`process`    one worker process: start, talk, kill, and say in words why it died
`cameras`    one camera: its state and counters
`cameraworker`  a process that serves one or more cameras
`detector`   the detector in service, and the one that is to follow it
`deadlines`  how long a stage may take (pure)
`restarts`   back-off and counting of restarts (pure)
`links`      a ring between a camera and a detector
`metrics`    rates and percentiles (pure)
`server`     the Unix socket; `clients`, `privilege`: its parts
`systemd`    readiness, watchdog, passed sockets
`console`    what a person sees in a terminal
"""

"""The hub: one asyncio process that starts, watches and connects the workers and serves the clients.

No OpenCV, no interpreter and no NumPy is ever imported here (a system test reads the hub's memory
maps): native vision code can hang, abort and segfault, and the hub must not.

`hub`        the whole: configuration in force, requests, what is connected to what
`roster`     which cameras live in which process and feed which detector
`process`    one worker process: start, talk, kill, and say in words why it died
`cameras`    one camera: its state and counters
`cameraworker`  a process that serves one or more cameras
`detector`   the detector in service, and the one that is to follow it
`detectorworker`  one detector process
`deadlines`  how long a stage may take (pure)
`restarts`   back-off and counting of restarts (pure)
`ladder`     which delegate to use, when to give it up and when to try it again (pure)
`runtimes`   which TFLite runtime to start when one of them is deadly (pure)
`prospects`  which delegates are worth trying for a model on this board
`links`      a ring between a camera and a detector
`metrics`    rates and percentiles (pure)
`snapshots`  pictures that clients wait for
`health`, `api`  what is told to clients, and what they may ask
`server`     the Unix socket; its parts: `listening` (the file), `door` (who comes in), `places` (who may, pure),
             `privilege` (who is who), `clients` (one connection), `outbox` (what waits for it, pure), `requests`
             (what they ask), `answers` (built once for all), `turns` (who is next, pure), `lane` (changes one after
             the other), `metered` (a coroutine whose time is measured)
`orphans`    children that nobody owns any more
`discovery`  the first camera of this machine
`systemd`    readiness, watchdog, passed sockets
`console`    what a person sees in a terminal
`main`       the process from start to end
"""

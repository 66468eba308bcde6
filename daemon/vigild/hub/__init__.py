"""The hub: one asyncio process that starts, watches and connects the workers and serves the clients.

No OpenCV, no interpreter and no NumPy is ever imported here (a system test reads the hub's memory
maps): native vision code can hang, abort and segfault, and the hub must not.

What follows from what happens:

`hub`        events of the fleet in, results, statuses and log lines out
`state`      everything there is to say at one moment, as one frozen value
`telling`    what an event is to the log and to clients
`answers`    what clients are told of the State
`console`    what a person sees in a terminal
`api`        what clients may ask, and the taking up of settings
`model_files`   whether the files of the model hold something else by now
`snapshots`  pictures that clients wait for
`budget_keeper`   carries out what the budgets ask for

The socket:

`server`     accepts clients, sends them the stream
`requests`   what they ask for, carried out
`shared_answers`   answers that are built once for all
`clients`, `outbox`   one connection, and what waits for it
`turns`, `metered`, `change_queue`   whose turn it is, what it may cost, and changes one after the other
`places`, `privilege`   who gets in, and who may steer
`listening`, `door`   the socket's file, and the taking in of those who come

The process:

`main`       from start to end, with the event loop's clock
`systemd`    readiness, watchdog, passed sockets
`progress`   what systemd is told of the State
"""

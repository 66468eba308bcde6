"""Random faults against the real daemon, and a ledger of every frame and every client.

    make chaos MINUTES=30 SEED=7                  # exit status 1 when something is left unexplained
    python -m chaos.recovery --faults 200         # how long it takes to the next detection

`crowd`     clients that check every line they get
`faults`    what is done to the daemon
`ledger`    what must add up: frames, lines, events, processes
`rig`       the daemon, its cameras and its clients
`recovery`  kills and stops, timed
"""

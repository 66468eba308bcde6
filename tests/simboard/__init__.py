"""A board that exists only as numbers: heat, a firmware that slows it down, sensors that lie, workers that leak.

`board`        two thermal nodes, firmware, fan, and the sensor
`profiles`     which boards: what is published of them, and what is assumed
`scenarios`    what happens to them
`controllers`  the governor, and the three it is compared with
`drive`        one controller on one board through one scenario, and the figures of it
`leaks`        the memory of workers, and who holds it
`live`         a board by the real clock, warmed by the CPU time that a command takes
`loop`         the same, warmed by the frames that a running daemon infers
"""

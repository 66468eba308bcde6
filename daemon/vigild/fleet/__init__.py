"""Who runs and who feeds whom: detectors, cameras, and the rings between them.

`fleet`      all of it: what is started, connected and looked after
`detectors`  those in service, and those that are to follow them
`slot`       one supervised place for a detector
`takeover`   how one detector follows another
`camera`     one camera: limits, state, counters
`camera_worker`  a process that serves one or more cameras
`limits`     who holds a camera, and who caps its rate (pure)
`rings`      the rings between cameras and detectors
`events`     what happens, as values
`process`    one worker process: start, talk, kill, and say in words why it died
`restarts`   back-off and counting of restarts (pure)
`deadlines`  how long a stage may take (pure)
`metrics`    rates and percentiles (pure)
`clock`      time, given from outside
`orphans`    children that nobody owns any more

Nothing here waits or reads a clock of its own: time, processes and chance are given to it.
"""

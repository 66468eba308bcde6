"""Decides how much work a board may do, so that it stays below a temperature and a number of bytes.

`budgeting`         all of it in one call: the hub's way in
`summary`           what there is to tell of it
`governor`          heat: the rate, and the ladder below it; `climbing` is that ladder up and down, and
                    `governor_state` what goes in, is remembered and comes out
`memory_governor`   memory: trim, a lighter variant, a worker started anew
`schedule`          hours with limits of their own
`operating_points`  what may be given up, in order; `from_profile` makes them of what was measured
`carried`           how much work there really is, whatever cameras and profiles say
`thermal_model`     learns how the board warms; `deciding`, `observer`, `sensing`, `foreign` and `ceiling` see for the
                    governor
`thermal_fit`       finds it at once from a whole course of load, by `thermal_pair`: for `vigild tune --sustained`
`shares`            a rate, divided among cameras
`actions`           what comes out
`words`             how it is told

Everything in here is pure: no clock, no file, no process; time and readings come in, actions go out.
"""

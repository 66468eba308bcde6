"""Which tensor settings, threads and delegate a model should run with on this board: measured, kept, chosen.

    vigild tune                       # `vigild.cli.tune`

`candidates`   what there is to measure: the variants that are here, on what, with how many threads
`plan`         in which order, what is given up after one round, how long it still takes
`tasks`        what runs in a `vigild.sandbox`
`pictures`, `agreement`, `cocofile`, `ap`, `accuracy`   how right a variant is
`measure`      carries the plan out; stopped, it goes on where it was
`trials`, `race`   what was tried so far, and where that leaves the run
`sustained`   what rate the board holds for ever: carries out a `course`, of a `load` that is counted by a `meter`
`table`, `words`, `sustained_words`, `pareto`, `raster`, `bar`   for people
`session`      the command from end to end; `budgets`: as they are typed; `daemon`: a running one is paused

What was measured is kept as `vigild.catalogue.profile`, and `vigild.catalogue.choose` takes one setting of it.
Nothing native is loaded into the command itself.
"""

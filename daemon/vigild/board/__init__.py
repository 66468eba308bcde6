"""The board: which one it is, how hot, how fast, how short of memory, what slows it; all below one root.

    board = Board(Path("/"))                                  # what is there
    budgets = resolve(config.budget, board)                   # what may be reached on it, and why
    readings = BoardReader(board, budgets).read(now_ns, pids) # what it says now, at the pace that is worth it

`readings`, `budgets`  the values that others decide by (budgets also how they come about)
`board`, `reader`      the way in: what is found once, what is read again and again
`pace`                 how often: pure decisions
`tree`                 a sensor is an attribute that is a file, declared in a line
`thermal`, `sensors`, `firmware`, `frequency`, `cpu_time`, `glance`, `memory`, `cgroup`, `pressure`, `identity`
                       the files themselves
"""

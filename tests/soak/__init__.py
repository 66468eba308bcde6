"""Full speed for long: does anything grow?

    make soak FRAMES=1000000 MINUTES=30

Ends after so many frames and minutes, when it has both; of a slow board ask for fewer frames. Exit status 1 when
memory grows beyond doubt (the lower end of the 95 % interval of its slope is above what is allowed) or descriptors
or threads do at all.

`trend`     a slope and its interval (pure)
`holding`   what a process holds
"""

"""Whether this board computes what it should: the embedded model on the test card's known truth.

    tests = Selftests(ModelConfig())
    for outcome in tests.configured():         # or every(): all runtimes, delegates and variants
        print(outcome.state, outcome.found)
    print(verdict(outcomes))

`tasks`     what runs in a `vigild.sandbox`: a model over the cards
`judge`     what was seen against what was drawn, and against what plain kernels saw
`conduct`   what is tried, in which order, and what came of it
`report`    text for people, JSON for programs

A delegate, a runtime or a board that computes wrong numbers raises no error: it just sees nothing, or
something else. So the results are looked at, and twice: against the truth, which finds what is wrong
altogether, and against plain kernels, the runtime's reference, which finds what is wrong a little.
"""

"""What is made of a camera's detections before clients see them: a chain of pure steps.

    chain = Chain([Filter(scores=MinScores(), max_results=20)])
    observation = chain.observe(observation, now_ns)

`order`        results of several detectors, back in the order in which the frames were taken
`observation`  one inferred frame on its way
`chain`        steps one after the other, and what each remembers
`filter`       the first step: threshold, labels, number

A step is a function `(state, observation, now_ns) -> (state, observation)`: the next ones (tracks, zones) are
written and tested like the first. No clock, no I/O, no NumPy: this runs in the hub.
"""

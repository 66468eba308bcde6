"""`python -m vigild.detector`: started by the hub, ended by it.

The first message must be LoadModel. A model that cannot be used is answered with ModelRefused, and
the process exits with REFUSED_EXIT; rings may be attached once it is ready.
"""

from __future__ import annotations

import os
import sys

from vigild.ipc import worker

REFUSED_EXIT = 3


def main() -> int:
    inherited = worker.start()
    # One thread is all NumPy needs here; OpenBLAS would reserve memory for one per core.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    from vigild import log
    from vigild.ipc.channel import Channel, ChannelClosed
    from vigild.ipc.messages import LoadModel, ModelRefused, ToDetector
    from vigild.ipc.progress import Stage

    log.setup(worker=True)
    lane = inherited.progress.lane(0)
    lane.enter(Stage.WAIT)
    channel: Channel[ToDetector] = Channel(inherited.control, ToDetector)
    try:
        message, fds = channel.receive()
    except ChannelClosed:
        return 0
    for fd in fds:
        os.close(fd)
    if not isinstance(message, LoadModel):
        return 0
    lane.enter(Stage.LOAD)

    from vigild.detector.errors import ModelError
    from vigild.detector.loop import Loop, passing, tell
    from vigild.detector.model import load

    try:
        model = load(message.config, message.delegate, message.runtime, lane.enter)
    except ModelError as refused:
        tell(channel, ModelRefused(code=refused.code, message=refused.message))
        return REFUSED_EXIT
    config = message.config
    tell(channel, model.ready)
    Loop(channel, lane, model, passing(model, config.min_score, config.max_results)).run()
    return 0


if __name__ == "__main__":
    sys.exit(main())

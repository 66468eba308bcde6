"""Messages and descriptors between hub and workers."""

from __future__ import annotations

import os
from pathlib import Path

import msgspec
import pytest

from vigild.config.schema import CameraConfig
from vigild.ipc.channel import Channel, ChannelClosed, socketpair
from vigild.ipc.messages import AddCamera, AttachCamera, Detach, Exit, FromCamera, ToCamera
from vigild.tensor import TensorSpec


def pair() -> tuple[Channel, Channel]:
    hub, worker = socketpair()
    return Channel(hub, FromCamera), Channel(worker, ToCamera)


def test_messages_arrive_whole_and_in_order() -> None:
    hub, worker = pair()
    config = CameraConfig(source="testcard", crop=(0.1, 0.2, 0.9, 1.0))
    sent = [AddCamera(camera="käse", config=config, resume_after=5), Detach(link=3), Exit()]
    for message in sent:
        hub.send(message)
    assert [worker.receive()[0] for _ in sent] == sent


def test_descriptors_travel_with_their_message() -> None:
    hub, worker = pair()
    memfd = os.memfd_create("x")
    os.write(memfd, b"pixels")
    hub.send(AttachCamera(link=1, camera="a", spec=TensorSpec(width=8, height=8), slots=2), [memfd])
    os.close(memfd)
    _message, (fd,) = worker.receive()
    assert os.pread(fd, 10, 0) == b"pixels"
    assert not os.get_inheritable(fd)
    os.close(fd)


def test_the_end_is_an_exception_not_an_empty_message() -> None:
    hub, worker = pair()
    hub.close()
    with pytest.raises(ChannelClosed):
        worker.receive()
    with pytest.raises(ChannelClosed):
        worker.send(Exit())


def test_a_message_of_the_wrong_kind_is_refused_and_its_descriptors_closed() -> None:
    hub, worker = pair()
    before = set(Path("/proc/self/fd").iterdir())
    memfd = os.memfd_create("x")
    worker.send(Exit(), [memfd])  # not something a camera worker says
    os.close(memfd)
    with pytest.raises(msgspec.DecodeError):
        hub.receive()
    # Not "==": what earlier tests left to the garbage collector may go meanwhile.
    assert set(Path("/proc/self/fd").iterdir()) <= before

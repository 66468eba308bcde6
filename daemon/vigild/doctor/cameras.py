"""The configured cameras, each opened for one frame; without a configuration, what is plugged in."""

from __future__ import annotations

import shutil
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path

import msgspec

from vigild import v4l2
from vigild.config.schema import CameraConfig
from vigild.config.source import parse_source, redact
from vigild.doctor import tasks
from vigild.doctor.finding import Finding, note, ok, problem
from vigild.doctor.tasks import FIRST_FRAME_S
from vigild.files import word
from vigild.sandbox.parent import run
from vigild.v4l2 import Format

READABLE = ("MJPG", "YUYV")
"""Formats that the camera worker asks for."""

STARTING_S = 30.0
"""Importing OpenCV from a slow SD card, before the camera's own time-outs run."""

MAX_SIZES_SHOWN = 4
MAX_SOURCE_SHOWN = 80

_GROUP_TODO = "sudo usermod -aG video $USER, then log in again (a service: SupplementaryGroups=video)"
_CSI_TODO = (
    "let libcamera read it: --source 'exec:rpicam-vid -t 0 --codec mjpeg --width 1280 --height 720 -o -'"
    "{install}; see docs/troubleshooting.md"
)


def checks(root: Path, configured: Mapping[str, CameraConfig], in_use: Collection[str] = ()) -> Iterator[Finding]:
    """`in_use`: the names of the cameras that a running daemon reads; they are not opened a second time."""
    if not configured:
        yield from connected(root)
        return
    findings = [_configured(name, camera, name in in_use) for name, camera in configured.items()]
    # One that does not work is lived with; without any there is nothing to look at.
    blocked = all(finding.state == "problem" for finding in findings)
    yield from (msgspec.structs.replace(finding, blocks=blocked) for finding in findings)


def _configured(name: str, config: CameraConfig, in_use: bool) -> Finding:
    head = f"camera {name}"
    kind = parse_source(config.source).kind
    shown = redact(config.source)
    shown = shown if len(shown) <= MAX_SOURCE_SHOWN else shown[:MAX_SOURCE_SHOWN] + "..."
    if in_use and kind in ("v4l2", "exec"):
        return note(head, f"{shown}: the running daemon reads it; vigild status says how it does")
    result = run(
        tasks.__name__, "camera", config, STARTING_S + config.open_timeout + max(config.read_timeout, FIRST_FRAME_S)
    )
    if result.answer is None:
        return problem(head, f"{shown}: {redact(result.death)}", "try another source, or another format or size")
    if "refused" in result.answer:
        reason = str(result.answer["refused"])
        return problem(head, reason if shown in reason else f"{shown}: {reason}", _todo(kind))
    return ok(head, f"{result.answer['detail']}; a frame of {result.answer['width']}x{result.answer['height']}")


def _todo(kind: str) -> str:
    if kind == "v4l2":
        return "see what is there: vigild doctor without --config, and v4l2-ctl --list-devices"
    if kind in ("rtsp", "http"):
        return "check address, user and password with another program: ffplay URL"
    if kind == "exec":
        return "run the command by hand: it has to write MJPEG to its standard output"
    return f"correct the camera's source ({kind})"


def connected(root: Path) -> Iterator[Finding]:
    """What the video nodes below root/dev are."""
    others: dict[str, int] = {}
    cameras = 0
    for node in v4l2.nodes(root / "dev"):
        name = f"/dev/{node.name}"
        label = word(root / "sys/class/video4linux" / node.name / "name")
        try:
            device = v4l2.query(node)
        except PermissionError:
            cameras += 1
            yield problem(name, f"{label or 'a video node'}: this user may not open it", _GROUP_TODO)
            continue
        except OSError as error:
            yield note(name, f"{label or 'a video node'}: it does not answer as a camera ({error.strerror})")
            continue
        if device.driver.startswith(v4l2.CSI_RECEIVERS):
            install = "" if shutil.which("rpicam-vid") else " (sudo apt-get install rpicam-apps)"
            if device.driver not in others:
                yield note(name, f"{device.card}: a ribbon-cable camera's receiver", _CSI_TODO.format(install=install))
            others[device.driver] = others.get(device.driver, 0) + 1
        elif not device.captures:
            others[device.driver] = others.get(device.driver, 0) + 1
        else:
            cameras += 1
            yield _camera(name, device.card, node)
    if others:
        listed = ", ".join(f"{count} of {driver}" for driver, count in others.items())
        yield ok("other video nodes", f"no cameras: {listed}")
    if not cameras:
        todo = "plug in a USB camera, or name another source: vigild run --source rtsp://..., clip.mp4, exec:..."
        yield note("cameras", "none that can be read is connected; vigild run shows its test card then", todo)


def _camera(name: str, card: str, node: Path) -> Finding:
    try:
        offered = v4l2.formats(node)
    except OSError as error:
        return problem(
            name, f"{card}: it does not tell its formats ({error.strerror})", "unplug it and plug it in again"
        )
    found = f"{card}: {'; '.join(map(format_text, offered)) or 'it lists no formats'}"
    if offered and not any(form.fourcc in READABLE for form in offered):
        return problem(name, f"{found}; vigild reads {' and '.join(READABLE)} only", "let exec: with ffmpeg read it")
    return ok(name, found)


def format_text(form: Format) -> str:
    """ "MJPG 1920x1080 at 30, 1280x720 at 60, 5 more": largest first."""
    sizes = sorted(set(form.sizes), key=lambda size: size.width * size.height, reverse=True)
    shown = [
        f"{size.width}x{size.height}" + (f" at {size.fps:g}" if size.fps else "") for size in sizes[:MAX_SIZES_SHOWN]
    ]
    more = [f"{len(sizes) - MAX_SIZES_SHOWN} more"] if len(sizes) > MAX_SIZES_SHOWN else []
    return f"{form.fourcc} {', '.join(shown + more)}".strip()

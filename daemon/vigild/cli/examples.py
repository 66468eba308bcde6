"""An example or more of each command, for `--help` and the manual. A test parses each."""

from __future__ import annotations

from typing import NamedTuple


class Example(NamedTuple):
    """A command line, and what it is for."""

    line: str
    what: str


EXAMPLES: dict[str, tuple[Example, ...]] = {
    "": (
        Example("vigild run", "the first camera there is, or a test card"),
        Example("vigild watch", "what it sees, in another terminal"),
        Example("vigild doctor", "what is wrong with this board"),
    ),
    "run": (
        Example("vigild run --source /dev/video0", "a USB camera"),
        Example("vigild run --source clip.mp4 --exit-at-end", "a file, once"),
        Example("vigild run --model model.tflite --labels labels.txt", "your own model"),
        Example("vigild run --config vigild.toml -o camera.front.fps=5", "a file, and one key"),
    ),
    "check": (
        Example("vigild check vigild.toml", "before it is taken up"),
        Example("vigild check vigild.toml -o model.threads=4", "with a key changed"),
    ),
    "config": (Example("vigild config", "print it; with > vigild.toml: a file to start from"),),
    "watch": (
        Example("vigild watch --label person --min-score 0.6", "people, and surely"),
        Example("vigild watch --camera front --max-fps 1", "a line a second of one camera"),
        Example("vigild watch --json --count 10", "ten frames, for a program"),
    ),
    "status": (
        Example("vigild status", "on one screen"),
        Example("vigild status --config", "and the settings in force"),
        Example("vigild status --json", "for a program"),
    ),
    "snapshot": (
        Example("vigild snapshot --annotate -o now.jpg", "with boxes and labels"),
        Example("vigild snapshot --camera front -o -", "to stdout"),
    ),
    "set": (
        Example("vigild set model.min_score 0.6", "until the daemon ends"),
        Example("vigild set budget.temperature '70 °C'", "a value with a unit"),
    ),
    "pause": (Example("vigild pause", "all cameras"), Example("vigild pause front", "one")),
    "resume": (Example("vigild resume", "all cameras"), Example("vigild resume front", "one")),
    "reload": (Example("vigild reload", "what changed in the file is taken up"),),
    "swap": (
        Example("vigild swap other.tflite --labels other.txt", "a file"),
        Example("vigild swap coco_ssd_mobilenet_v1", "an entry of the manifest"),
    ),
    "sensors": (
        Example("vigild sensors", "a table each second"),
        Example("vigild sensors --once -o 'budget.temperature=70 °C'", "once, with this budget"),
    ),
    "doctor": (
        Example("vigild doctor", "this board, with the defaults"),
        Example("vigild doctor --config vigild.toml", "and what this file asks for"),
    ),
    "selftest": (
        Example("vigild selftest", "what the daemon would run"),
        Example("vigild selftest --all", "everything that can run here"),
    ),
    "tune": (
        Example("vigild tune", "the embedded model, on the test card"),
        Example("vigild tune --images photos --annotations photos.json", "on your pictures"),
        Example("vigild tune --budget memory=200MiB,latency=50ms", "what fits"),
        Example("vigild tune --show", "what was measured last"),
    ),
    "models": (
        Example("vigild models list", "all, and which are here"),
        Example("vigild models pull coral_ssd_mobilenet_v2:edgetpu", "download one variant"),
        Example("vigild models verify", "whether the files are whole"),
    ),
    "completion": (
        Example("vigild completion bash", "the script; put it where your shell looks:"),
        Example("vigild completion fish", "~/.config/fish/completions/vigild.fish"),
    ),
}
"""By command; "": the program itself."""

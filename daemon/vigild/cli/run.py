"""`vigild run`: the daemon in the foreground."""

from __future__ import annotations

import argparse
import signal
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from vigild.config.schema import Config


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--config", metavar="FILE", help="configuration file (TOML)")
    parser.add_argument(
        "--source",
        metavar="SOURCE",
        help="one camera: /dev/video0, a file, images:FOLDER, rtsp://..., exec:..., testcard",
    )
    parser.add_argument("--model", metavar="FILE", help="the .tflite model (default: the embedded one)")
    parser.add_argument("--labels", metavar="FILE", help="its label file: a name a line, pbtxt, JSON, CSV or YAML")
    parser.add_argument("--socket", metavar="PATH", help="where to listen (default: see `vigild config`)")
    parser.add_argument(
        "-o",
        "--override",
        metavar="KEY=VALUE",
        action="append",
        default=[],
        help="set a key, e.g. -o camera.front.fps=5",
    )
    parser.add_argument(
        "--exit-at-end",
        action="store_true",
        help="exit when every source has come to its end: with 0, or 1 if one or a picture of it could not be read",
    )
    parser.add_argument("--sysfs-root", metavar="DIR", default="/", help="read sensors below DIR (for tests)")
    parser.add_argument("--quiet", action="store_true", help="no line per second on the terminal")


def absent_sources(config: Config) -> list[str]:
    """Files and folders that are not there: unlike a camera, they do not come by themselves."""
    from vigild.config.source import absent, redact

    found = ((name, absent(camera.source)) for name, camera in config.camera.items())
    return [f"camera.{name}.source: {redact(why)}" for name, why in found if why]


def run(args: argparse.Namespace) -> int:
    # Before anything heavy: a SIGHUP or SIGTERM that comes while modules load must not be lost, and
    # must not kill a service that is about to be up. The hub installs its own handlers later.
    from vigild import lean, stdio

    terminal = stdio.Terminal.of_this_process()
    early: list[int] = []
    for number in (signal.SIGHUP, signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda received, _frame: early.append(received))

    lean.without_openssl()
    lean.import_msgspec()

    from vigild import log, openfiles
    from vigild.config import credentials, load

    config_path = Path(args.config) if args.config else None
    found: str | None = None
    """The camera that stands in where neither the file nor the command line names one."""
    credentials.beside(config_path)

    def read() -> Config:
        """Parse everything again, as at start: reload uses it."""

        def of(source: str | None) -> Config:
            return load.from_command_line(
                config=config_path,
                source=source,
                model=args.model,
                labels=args.labels,
                socket=args.socket or None,
                overrides=args.override,
            )

        config = of(args.source)
        return config if config.camera or not found or config.daemon.allow_no_cameras else of(found)

    log.setup("info")
    config = read()  # ConfigError is main's to print
    if not config.camera and not config.daemon.allow_no_cameras:
        from vigild import v4l2

        found = v4l2.first_camera() or "testcard"
        config = read()
    if problems := absent_sources(config):
        raise load.ConfigError(problems)
    log.set_level(config.daemon.log_level)
    plan = openfiles.arrange(len(config.camera), config.daemon.max_clients)
    if plan.refusal:
        stdio.complain(f"vigild: {plan.refusal}")
        return 1
    if plan.warning:
        log.logger("hub").warning("%s", plan.warning)
    if signal.SIGHUP in early and terminal.gone():
        return 0  # closed while it started

    from vigild.hub.main import main

    return main(
        config,
        read,
        config_file=config_path,
        sysfs_root=Path(args.sysfs_root),
        exit_at_end=args.exit_at_end,
        # Under systemd the journal gets the log alone, not a line every second.
        show=not args.quiet and not log.to_journal(),
        early_signals=early,
        terminal=terminal,
    )

"""Which wheels a target gets, to the byte: cross/locks/TARGET.txt, in pip's own form with hashes.

    make lock TARGET=rpi64-bookworm      # resolve anew; the file is committed
    wheels = read(target)                # Pinned(name, version, sha256, file)

pip resolves for another machine (--platform, --python-version) but evaluates the markers of requirements on the
machine it runs on. So what a board needs is checked here against every wheel's own metadata, and what pip left out
(tomli on Python 3.10, say) is added until nothing lacks.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from cross.errors import CrossError
from cross.target import REPOSITORY, Target
from cross.toml import loads

EXTRAS = ("daemon", "serial")
"""Beside the runtime's. `systemd` is not among them: systemd-python is source only, and boards have it from apt."""

_ENTRY = re.compile(r"([a-z0-9-]+)==(\S+) --hash=sha256:([0-9a-f]{64})  # (\S+\.whl)")


class Pinned(NamedTuple):
    name: str
    """Canonical (PEP 503)."""
    version: str
    sha256: str
    file: str
    """The wheel's name."""

    def line(self) -> str:
        return f"{self.name}=={self.version} --hash=sha256:{self.sha256}  # {self.file}"


def wanted(target: Target) -> list[str]:
    """What pyproject.toml asks for on this target, markers evaluated, without what apt or the cross compiler gives."""
    project = loads((REPOSITORY / "pyproject.toml").read_text())["project"]
    optional = project["optional-dependencies"]
    texts = list(project["dependencies"])
    for extra in (*EXTRAS, target.runtime):
        texts += optional.get(extra, [])
    elsewhere = {canonicalize_name(name) for name in (*target.from_apt, *target.built)}
    return [
        f"{requirement.name}{requirement.specifier}"
        for requirement in map(Requirement, texts)
        if _applies(requirement, target) and canonicalize_name(requirement.name) not in elsewhere
    ]


def _applies(requirement: Requirement, target: Target) -> bool:
    return requirement.marker is None or requirement.marker.evaluate(target.environment())


def resolve(target: Target) -> list[Pinned]:
    """Asks the package index. Raises CrossError."""
    asked = [*wanted(target), "pip"]
    while True:
        report = _pip_report(target, asked)
        lacking = lacks(target, [entry["metadata"] for entry in report["install"]])
        if not lacking:
            return sorted(_pinned(entry) for entry in report["install"])
        asked += sorted(lacking)


def lacks(target: Target, metadata: Iterable[dict[str, Any]]) -> set[str]:
    """Requirements of these distributions that hold on the target and that none of them meets."""
    found = list(metadata)
    there = {canonicalize_name(each["name"]) for each in found}
    there |= {canonicalize_name(name) for name in (*target.from_apt, *target.built)}
    return {
        f"{requirement.name}{requirement.specifier}"
        for each in found
        for requirement in map(Requirement, each.get("requires_dist", []))
        if _applies(requirement, target) and canonicalize_name(requirement.name) not in there
    }


def _pip_report(target: Target, requirements: list[str]) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.json"
        options = ["--dry-run", "--ignore-installed", "--quiet", "--target", folder, "--report", str(report)]
        if target.from_apt or target.built:
            options.append("--no-deps")  # what they would pull in has no wheel; `lacks` names the rest
        pip("install", *options, *target.pip_options(), *requirements)
        result: dict[str, Any] = json.loads(report.read_text())
        return result


def _pinned(entry: dict[str, Any]) -> Pinned:
    info, metadata = entry["download_info"], entry["metadata"]
    file = info["url"].split("/")[-1]
    return Pinned(
        canonicalize_name(metadata["name"]), metadata["version"], info["archive_info"]["hashes"]["sha256"], file
    )


def write(target: Target, wheels: list[Pinned]) -> None:
    head = f"# What {target.name} gets. Made by `make lock TARGET={target.name}`; pip checks every hash on the board.\n"
    target.lock_file().write_text(head + "".join(f"{each.line()}\n" for each in sorted(wheels)))


def read(target: Target) -> list[Pinned]:
    """Raises CrossError."""
    path = target.lock_file()
    if not path.is_file():
        raise CrossError(f"{path} is not there; make it with: make lock TARGET={target.name}")
    wheels = []
    for number, line in enumerate(path.read_text().splitlines(), 1):
        if not line or line.startswith("#"):
            continue
        match = _ENTRY.fullmatch(line)
        if match is None:
            raise CrossError(f"{path}: line {number} is not NAME==VERSION --hash=sha256:HASH  # FILE: {line[:80]!r}")
        wheels.append(Pinned(*match.groups()))
    return wheels


def pip(*arguments: str) -> None:
    """This environment's pip, or another beside it. Raises CrossError with its last lines."""
    command = [sys.executable, "-m", "pip", arguments[0], "--disable-pip-version-check", *arguments[1:]]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    if done.returncode != 0:
        told = [line for line in done.stdout.splitlines() if not line.startswith("WARNING")]
        raise CrossError(f"pip {arguments[0]} failed:\n" + "\n".join(told[-6:]))

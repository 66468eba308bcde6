"""What a kind of board is: cross/targets/NAME.toml.

target = load("rpi64-bookworm")
target.pip_options()             # what makes pip resolve for it, on any machine
target.environment()             # values of PEP 508 markers there
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from cross.errors import CrossError
from cross.toml import TOMLDecodeError, loads

HERE = Path(__file__).resolve().parent
REPOSITORY = HERE.parent
TARGETS = HERE / "targets"
LOCKS = HERE / "locks"

RUNTIMES = ("litert", "tflite")


@dataclass(frozen=True)
class Target:
    name: str
    machines: list[str]
    """What uname -m says there, the first being what wheels are tagged with."""
    python: str
    """X.Y"""
    glibc: str
    runtime: str
    """An extra of pyproject.toml."""
    tags: list[str]
    """Platform tags of wheels, every one that fits."""
    apt: list[str]
    groups: list[str]
    system_site_packages: bool
    camera: str
    suite: str
    """In the version of its Debian package, so that those of two systems are told apart: deb12."""
    systemd: int
    """The version that its Debian package is laid out for; a bundle asks the board."""
    from_apt: list[str] = field(default_factory=list)
    """Distributions that the system's packages stand for."""
    built: list[str] = field(default_factory=list)
    """Distributions without a wheel on PyPI: made on such a board, and put into the lock by hand."""

    def pip_options(self) -> list[str]:
        options = ["--only-binary=:all:", "--implementation", "cp", "--python-version", self.python]
        for tag in self.tags:
            options += ["--platform", tag]
        return options

    def environment(self) -> dict[str, str]:
        """pip takes the markers of the machine it runs on; these are the board's."""
        return {
            "implementation_name": "cpython",
            "implementation_version": f"{self.python}.0",
            "os_name": "posix",
            "platform_machine": self.machines[0],
            "platform_python_implementation": "CPython",
            "platform_release": "",
            "platform_system": "Linux",
            "platform_version": "",
            "python_full_version": f"{self.python}.0",
            "python_version": self.python,
            "sys_platform": "linux",
            "extra": "",
        }

    def described(self) -> dict[str, Any]:
        """What the board is told."""
        names = ("name", "machines", "python", "glibc", "runtime", "apt", "groups", "system_site_packages", "camera")
        return {name: getattr(self, name) for name in names}

    def lock_file(self) -> Path:
        return LOCKS / f"{self.name}.txt"


def names() -> list[str]:
    return sorted(path.stem for path in TARGETS.glob("*.toml"))


def load(name: str) -> Target:
    """Raises CrossError."""
    if name not in names():
        raise CrossError(f"there is no target {name!r}; TARGET is one of {', '.join(names())}")
    path = TARGETS / f"{name}.toml"
    try:
        values = loads(path.read_text())
    except TOMLDecodeError as error:
        raise CrossError(f"{path}: {error}") from None
    known = {each.name for each in fields(Target)} - {"name"}
    needed = known - {"from_apt", "built"}
    if unknown := sorted(set(values) - known):
        raise CrossError(f"{path}: unknown key {unknown[0]!r}; there are {', '.join(sorted(known))}")
    if lacking := sorted(needed - set(values)):
        raise CrossError(f"{path}: the key {lacking[0]!r} is missing")
    target = Target(name=name, **values)
    if target.runtime not in RUNTIMES:
        raise CrossError(f"{path}: runtime is {target.runtime!r}; one of {', '.join(RUNTIMES)} is expected")
    return target

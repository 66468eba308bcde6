"""The board, its processor and its operating system, from files below a root and from this process."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path

from vigild import plain
from vigild.board.identity import Processor, model_name, processor
from vigild.doctor.finding import Finding, note, ok
from vigild.files import text, word

# Instructions that the 8-bit kernels of XNNPACK are written for, as /proc/cpuinfo calls them.
_FEATURES = ("neon", "asimd", "asimddp", "asimdhp", "i8mm", "sve", "avx2", "fma", "avx512f", "avx512_vnni", "avx_vnni")


def checks(root: Path) -> Iterator[Finding]:
    yield _model(root)
    yield from _processor(processor(root))
    yield _system(root)
    yield from _word_size(os.uname().machine, sys.maxsize > 2**32)
    yield _libc(_glibc())
    yield ok("python", f"{sys.version.split()[0]} at {sys.executable}")


def _model(root: Path) -> Finding:
    name = model_name(root)
    if tegra := re.match(r"# (R\d+) \(release\), REVISION: ([\d.]+)", text(root / "etc/nv_tegra_release")):
        name += f", Jetson Linux {tegra[1]}.{tegra[2]}"
    return ok("board", name) if name else note("board", "it does not say what it is (a virtual machine?)")


def _processor(found: Processor) -> Iterator[Finding]:
    name, cores, fields = found
    if not fields:
        yield note("processor", "/proc/cpuinfo cannot be read")
        return
    flags = set(" ".join(fields.get("flags", []) + fields.get("Features", [])).split())
    has = [feature for feature in _FEATURES if feature in flags]
    told = f"{name}, {cores} core{'' if cores == 1 else 's'}; {', '.join(has) or 'no vector instructions known here'}"
    if "flags" in fields and "avx2" not in flags:
        yield note("processor", f"{told}; without AVX2 8-bit models run several times slower")
    elif "Features" in fields and not flags & {"neon", "asimd"}:
        yield note("processor", f"{told}; without NEON (ARMv6) no TFLite runtime has a build for it")
    else:
        yield ok("processor", told)


def _system(root: Path) -> Finding:
    release = {
        key: value.strip("\"'")
        for key, _, value in (line.partition("=") for line in text(root / "etc/os-release").splitlines())
    }
    name = plain.word(release.get("PRETTY_NAME", "")) or "an unnamed system"
    return ok("system", f"{name}, Linux {word(root / 'proc/sys/kernel/osrelease') or 'of unknown release'}")


def _word_size(machine: str, is_64_bit: bool) -> Iterator[Finding]:
    """A 32-bit Python on a 64-bit kernel, as 32-bit Raspberry Pi OS has by default."""
    if machine in ("aarch64", "x86_64") and not is_64_bit:
        yield note(
            "architecture",
            f"the kernel is {machine}, but Python and its libraries are 32-bit; LiteRT has no wheel for them",
            "install the 64-bit system: LiteRT runs 8-bit models several times faster than tflite-runtime",
        )
    else:
        yield ok("architecture", f"{machine}, {64 if is_64_bit else 32}-bit Python")


def _glibc() -> str:
    """ "2.36"; empty where the C library is not glibc (musl)."""
    try:
        return (os.confstr("CS_GNU_LIBC_VERSION") or "").removeprefix("glibc ")
    except (ValueError, OSError):
        return ""


def _libc(version: str) -> Finding:
    if not version:
        return note(
            "C library",
            "not glibc (Alpine?); the runtimes' wheels are built for glibc",
            "use a system with glibc, such as Debian or Raspberry Pi OS, if the runtimes below do not work",
        )
    numbers = tuple(int(part) for part in re.findall(r"\d+", version)[:2])
    if numbers < (2, 27):  # the manylinux tag of ai-edge-litert 2.x
        return note("C library", f"glibc {version}, older than the 2.27 that LiteRT's wheels need", "take a newer OS")
    return ok("C library", f"glibc {version}")

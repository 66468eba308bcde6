"""Which board this is: what is measured on one says little of another.

model_name(Path("/"))          # "Raspberry Pi 4 Model B Rev 1.4"
processor(Path("/")).name      # "Cortex-A72"
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from vigild import plain
from vigild.files import text, word

# MIDR part numbers (arch/arm64/include/asm/cputype.h) of the boards vigild is for; the number alone says little.
_ARM_PARTS = {
    "0xb76": "ARM1176",
    "0xc07": "Cortex-A7",
    "0xd03": "Cortex-A53",
    "0xd04": "Cortex-A35",
    "0xd05": "Cortex-A55",
    "0xd07": "Cortex-A57",
    "0xd08": "Cortex-A72",
    "0xd09": "Cortex-A73",
    "0xd0a": "Cortex-A75",
    "0xd0b": "Cortex-A76",
    "0xd42": "Cortex-A78AE",
}


class Processor(NamedTuple):
    """Of /proc/cpuinfo."""

    name: str
    """ "Cortex-A72"; empty when the file cannot be read."""
    cores: int
    fields: dict[str, list[str]]
    """Everything it says, by key, in the order of the cores."""


def model_name(root: Path) -> str:
    """ "Raspberry Pi 4 Model B Rev 1.4"; empty when the board does not say."""
    for tree in ("proc/device-tree/model", "sys/firmware/devicetree/base/model"):
        if found := word(root / tree):
            return found
    dmi = root / "sys/class/dmi/id"
    return " ".join(part for part in (word(dmi / "sys_vendor"), word(dmi / "product_name")) if part)


def is_raspberry_pi(root: Path) -> bool:
    return model_name(root).startswith("Raspberry Pi")


def processor(root: Path) -> Processor:
    """The processor; a mixed one is named by all its kinds of cores."""
    fields: dict[str, list[str]] = {}
    for line in text(root / "proc/cpuinfo").splitlines():
        key, _, value = line.partition(":")
        fields.setdefault(key.strip(), []).append(value.strip())
    if not fields:
        return Processor("", 0, {})
    parts = dict.fromkeys(_ARM_PARTS.get(part, f"Arm part {part}") for part in fields.get("CPU part", []))
    name = " and ".join(parts) or fields.get("model name", ["unknown"])[0]
    return Processor(plain.word(name), len(fields.get("processor", [])), fields)

"""What is made, as an entry of a model manifest (docs/models.md): `vigild models list` and `verify` read it.

write_manifest(Path("out/manifest.toml"), "coco_v1", "COCO, 80 classes", network, [(setting, path, note)])
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

from forge.errors import ForgeError
from forge.model.network import Network
from forge.quantization.settings import Setting
from forge.variants.make import SIDECAR
from vigild.catalogue import manifest as manifests
from vigild.catalogue.entry import ManifestError
from vigild.catalogue.store import hash_file


def _text(value: str) -> str:
    """A TOML basic string; JSON's escapes are among TOML's."""
    return json.dumps(value, ensure_ascii=False)


def write_manifest(
    path: Path,
    name: str,
    description: str,
    network: Network,
    made: Iterable[tuple[Setting, Path, str]],
) -> None:
    """Write a manifest of one entry. made: setting, file beside the manifest, note; the best first.

    Raises ForgeError when vigild would not take it.
    """
    lines = [
        "# Made by `forge variants`. Use it with VIGILD_MANIFEST=THIS_FILE, or copy the entry into your own manifest.",
        f"format = {manifests.FORMAT}",
        "",
        f"[model.{name}]",
        f"description = {_text(description)}",
        f"license = {_text(network.card.license)}",
    ]
    for setting, file, note in made:
        lines += [
            "",
            f"[[model.{name}.variant]]",
            f"name = {_text(setting.name)}",
            f"file = {_text(file.name)}",
            f"sha256 = {_text(hash_file(file))}",
            f"bytes = {file.stat().st_size}",
            f"size = [{network.spec.width}, {network.spec.height}]",
            f"dtype = {_text(setting.input_dtype)}",
            f"layout = {_text('NCHW' if setting.nchw else 'NHWC')}",
            f"note = {_text(note)}",
        ]
        if setting.raw:
            lines.append(f"anchors_file = {_text(file.name + SIDECAR)}")
    text = "\n".join(lines) + "\n"
    try:
        refused = manifests.parse(text, str(path), str(path.parent)).refused
    except ManifestError as error:
        raise ForgeError(error.message) from None
    if refused:
        raise ForgeError("; ".join(refused.values()))
    path.write_text(text)

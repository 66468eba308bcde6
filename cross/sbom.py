"""What is in a bundle, as CycloneDX 1.5 (JSON): every wheel and every embedded model, with hash and licence.

No time and no random number stands in it: the same bundle has the same list.
"""

from __future__ import annotations

import email.parser
import hashlib
import json
import uuid
import zipfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from cross.errors import CrossError

_NAMESPACE = uuid.UUID("6f0c2f0e-3a57-5b52-9a0e-6c7f5d2b8a11")
"""Ours, for identifiers made from content (RFC 9562, version 5)."""


def document(name: str, version: str, wheels: Iterable[Path], models: Iterable[Path]) -> bytes:
    """`name` and `version` are the bundle's. Raises CrossError for a file that is no wheel."""
    components = [_wheel(path) for path in sorted(wheels)] + [_model(path) for path in sorted(models)]
    body = {
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "version": 1,
        "metadata": {
            "component": {"type": "application", "bom-ref": f"{name}@{version}", "name": name, "version": version}
        },
        "components": components,
        "dependencies": [{"ref": f"{name}@{version}", "dependsOn": sorted(each["bom-ref"] for each in components)}],
    }
    serial = uuid.uuid5(_NAMESPACE, json.dumps(body, sort_keys=True))
    return json.dumps({"serialNumber": f"urn:uuid:{serial}", **body}, indent=1, sort_keys=True).encode() + b"\n"


def _wheel(path: Path) -> dict[str, Any]:
    try:
        with zipfile.ZipFile(path) as archive:
            name = next(name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
            headers = email.parser.BytesParser().parsebytes(archive.read(name), headersonly=True)
    except (zipfile.BadZipFile, StopIteration) as error:
        raise CrossError(f"{path} is no wheel: {error}") from None
    purl = f"pkg:pypi/{headers['Name'].lower().replace('_', '-')}@{headers['Version']}"
    component = {
        "type": "library",
        "bom-ref": purl,
        "purl": purl,
        "name": headers["Name"],
        "version": headers["Version"],
        "hashes": _hashes(path),
    }
    expression = headers["License-Expression"]
    licence = expression or _classified(headers.get_all("Classifier") or []) or headers["License"]
    if expression:
        component["licenses"] = [{"expression": expression}]
    elif licence:
        component["licenses"] = [{"license": {"name": " ".join(str(licence).splitlines()[0].split())[:100]}}]
    return component


def _classified(classifiers: list[str]) -> str:
    return ", ".join(each.split(" :: ")[-1] for each in classifiers if each.startswith("License ::"))


def _model(path: Path) -> dict[str, Any]:
    return {
        "type": "machine-learning-model",
        "bom-ref": f"model:{path.name}",
        "name": path.stem,
        "hashes": _hashes(path),
        "licenses": [{"license": {"id": "Apache-2.0"}}],
    }


def _hashes(path: Path) -> list[dict[str, str]]:
    return [{"alg": "SHA-256", "content": hashlib.sha256(path.read_bytes()).hexdigest()}]

"""Signatures of bundles, by ssh-keygen: no other tool, and keys that people know how to keep.

make signing-key                   # once; ~/.config/vigild/signing_key, and its .pub
make bundle                        # signs with it when it is there; SIGN_KEY= names another
"""

from __future__ import annotations

import os
import subprocess
import tempfile
from pathlib import Path

from cross.board.package import NAMESPACE, SIGNER
from cross.errors import CrossError


def default_key() -> Path:
    base = os.environ.get("XDG_CONFIG_HOME") or str(Path.home() / ".config")
    return Path(base) / "vigild/signing_key"


def make_key(path: Path) -> None:
    """Raises CrossError, also when there is one: to lose a key is to lose every board's trust."""
    if path.exists():
        raise CrossError(f"{path} is there already; boards that know it take no bundle signed by another")
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    _keygen(["-q", "-t", "ed25519", "-N", "", "-C", SIGNER, "-f", str(path)])


def sign(data: bytes, key: Path) -> bytes:
    """The signature file (ed25519 signs the same data the same way, every time). Raises CrossError."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "data"
        file.write_bytes(data)
        _keygen(["-q", "-Y", "sign", "-f", str(key), "-n", NAMESPACE, str(file)])
        return file.with_name("data.sig").read_bytes()


def signers(key: Path) -> bytes:
    """The line a board keeps: whose key, for what, and the public key."""
    public = key.with_name(key.name + ".pub")
    if not public.is_file():
        raise CrossError(f"{public} is missing beside {key}; make it: ssh-keygen -y -f {key} > {public}")
    kind, data = public.read_text().split()[:2]
    return f'{SIGNER} namespaces="{NAMESPACE}" {kind} {data}\n'.encode()


def _keygen(arguments: list[str]) -> None:
    try:
        done = subprocess.run(
            ["ssh-keygen", *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
    except FileNotFoundError:
        raise CrossError("ssh-keygen is missing: install openssh-client") from None
    if done.returncode != 0:
        raise CrossError(f"ssh-keygen failed: {done.stdout.strip()}")

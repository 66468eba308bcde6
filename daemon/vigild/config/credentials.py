"""Secrets that the configuration names instead of holding them.

    source = "rtsp://viewer:${credential:front}@10.0.0.7/stream"     # in the file: the name alone
    fill("rtsp://viewer:${credential:front}@10.0.0.7/stream")        # in the process that needs it, when it needs it

The configuration keeps the reference, so nothing that shows, sends or logs a configuration can show the secret: only
the process that opens the camera reads it. It is looked for as vigild_NAME and NAME in $CREDENTIALS_DIRECTORY (what
LoadCredential= of a unit gives; systemd.exec(5)), then as NAME in the folder `credentials` beside the configuration
file ($VIGILD_CREDENTIALS, set by `beside`), where only its owner may be able to read it.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote

FOLDER = "credentials"
"""Beside the configuration file."""

FORM = "${credential:NAME}"

MAX_BYTES = 4096

_REFERENCE = re.compile(r"\$\{credential:([A-Za-z0-9][A-Za-z0-9_.-]{0,63})\}", re.ASCII)
_ALMOST = re.compile(r"\$\{[^}]*\}?")
_WHOLE_ADDRESS = re.compile(r"([A-Za-z][A-Za-z0-9+.\-]*://)(\$\{[^}]*\})", re.ASCII)
_PLACEHOLDER = "x"


class CredentialError(ValueError):
    """It cannot be had; the message says what was looked for, and never what was found."""


def names(text: str) -> list[str]:
    """The credentials that `text` refers to."""
    return _REFERENCE.findall(text)


def without(text: str) -> str:
    """`text` with a word in the place of each reference, so that the form of the rest can be checked.

    Raises CredentialError for what looks like a reference and is none.
    """
    text = _REFERENCE.sub(_PLACEHOLDER, text)
    if strange := _ALMOST.search(text):
        raise CredentialError(
            f"{strange[0][:40]} is no reference to a secret; expected {FORM}, NAME of letters, digits, _ . -"
        )
    return text


def beside(config: Path | None) -> None:
    """Let this process and its children look in the folder beside this configuration file."""
    if config is not None:
        os.environ.setdefault("VIGILD_CREDENTIALS", str(config.absolute().parent / FOLDER))


def fill(text: str, look_up: Callable[[str], str] | None = None) -> tuple[str, list[str]]:
    """`text` with its references replaced, and the secrets as they stand in it.

    Within an address a secret is percent-encoded, so that it may have any characters; one that stands for everything
    behind the :// is an address itself, and taken as it is. Raises CredentialError.
    """
    look_up = look_up or read
    secrets: list[str] = []

    def filled(match: re.Match[str]) -> str:
        secret = quote(look_up(match[1]), safe="")
        secrets.append(secret)
        return secret

    whole = _WHOLE_ADDRESS.fullmatch(text)
    if whole is None:
        return _REFERENCE.sub(filled, text), secrets
    scheme, name = whole[1], _REFERENCE.sub(r"\1", whole[2])
    address = look_up(name)
    if "://" in address and not address.lower().startswith(scheme.lower()):
        raise CredentialError(f'the credential "{name}" is an address of another kind than {scheme}')
    address = address[len(scheme) :] if "://" in address else address
    return scheme + address, [address]


def read(name: str) -> str:
    """The secret: a file's text without the line's end. Raises CredentialError."""
    tried: list[str] = []
    for path, private in _places(name):
        tried.append(str(path))
        try:
            with path.open("rb") as file:
                mode = os.fstat(file.fileno()).st_mode
                data = file.read(MAX_BYTES + 1)
        except FileNotFoundError:
            continue
        except PermissionError:  # of a service: root's own folder, which systemd reads for it
            tried[-1] += " (permission denied)"
            continue
        except OSError as error:
            raise CredentialError(f'the credential "{name}" cannot be read: {path}: {error.strerror}') from None
        if private and mode & 0o077:
            raise CredentialError(
                f'the credential "{name}" may be read by others: {path} has mode {stat.S_IMODE(mode):04o}; '
                f"chmod 600 {path}"
            )
        return _text(name, path, data)
    if not tried:
        raise CredentialError(
            f'there is no credential "{name}": neither a service\'s $CREDENTIALS_DIRECTORY nor a configuration file, '
            f"beside which a folder {FOLDER} could hold it"
        )
    raise CredentialError(
        f'there is no credential "{name}"; looked for {", ".join(tried)}; a service gets a new one when it is restarted'
    )


def _places(name: str) -> list[tuple[Path, bool]]:
    """Where it may be, and whether it is for us to see that nobody else can read it."""
    places = []
    if given := os.environ.get("CREDENTIALS_DIRECTORY"):
        # LoadCredential=vigild:/etc/vigild/credentials names each file of the folder in this way.
        places += [(Path(given) / f"vigild_{name}", False), (Path(given) / name, False)]
    if folder := os.environ.get("VIGILD_CREDENTIALS"):
        places.append((Path(folder) / name, True))
    return places


def _text(name: str, path: Path, data: bytes) -> str:
    if len(data) > MAX_BYTES:
        raise CredentialError(f'the credential "{name}" is longer than {MAX_BYTES} bytes: {path}')
    try:
        text = data.decode("utf-8").removesuffix("\n").removesuffix("\r")
    except UnicodeDecodeError:
        raise CredentialError(f'the credential "{name}" is not UTF-8: {path}') from None
    if not text:
        raise CredentialError(f'the credential "{name}" is empty: {path}')
    if any(ord(character) < 32 for character in text):
        raise CredentialError(
            f'the credential "{name}" has several lines or control characters: {path}; one line is wanted'
        )
    return text

"""What libraries take along wherever it is installed, though the process that imports them has no use for it."""

from __future__ import annotations

import sys
from importlib.util import find_spec

_SHA2 = ("_sha2",) if sys.version_info >= (3, 12) else ("_sha256", "_sha512")
DIGESTS = ("_md5", "_sha1", *_SHA2, "_sha3", "_blake2")
"""The modules with which hashlib does without OpenSSL; a distribution may have left some of them out."""


def import_msgspec() -> None:
    """Import msgspec without typing_extensions, which costs each process 0.3 MiB and 8 ms: from Python 3.11 on `typing`
    has all that msgspec asks of it. Only this import does without; another library may need it."""
    if sys.version_info < (3, 11) or "typing_extensions" in sys.modules:
        return
    sys.modules["typing_extensions"] = None
    try:
        import msgspec  # noqa: F401
    finally:
        del sys.modules["typing_extensions"]


def without_openssl() -> None:
    """For the hub, which encrypts nothing and reads a file for its digest when that file has changed: asyncio and
    hashlib leave OpenSSL out (1 MiB of the hub's own and a library of 3.5). To be called before either is imported."""
    names = ["ssl"]
    if all(map(find_spec, DIGESTS)):
        names.append("_hashlib")
    for name in names:
        sys.modules.setdefault(name, None)  # type: ignore[arg-type]

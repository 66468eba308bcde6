"""A Debian package of a target, for those who prefer apt: dist/vigild_VERSION_ARCH.deb.

path = make(target)                # the same input and the same dpkg-deb give the same bytes

/usr/lib/vigild/                   an environment of its own: every wheel of the lock, unpacked, so dpkg knows each file
/usr/bin/vigild                    the command in there
/etc/vigild/vigild.toml            the first configuration; dpkg keeps what somebody made of it
/usr/lib/systemd/system/           units, beside sysusers.d/ and tmpfiles.d/
/usr/share/                        manual pages, completion, pages, licences

What is different from a bundle: no gate, and no release to go back to. debian/ holds dpkg's own files.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator, Sequence
from datetime import datetime, timezone
from email.utils import format_datetime
from pathlib import Path, PurePosixPath

from packaging.version import Version

from cross import bundle, sbom, wheels
from cross.board.guard import unit_links
from cross.errors import CrossError
from cross.target import HERE, REPOSITORY, Target

DEBIAN = HERE / "debian"
SCRIPTS = ("preinst", "postinst", "prerm", "postrm")

HOME = "usr/lib/vigild"
CONFIGURATION = "etc/vigild/vigild.toml"
DOC = "usr/share/doc/vigild"

ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64", "armv7l": "armhf"}
"""By the machine that a target's wheels are tagged with."""

SYSTEM_LIBRARIES = ("libgcc-s1", "libstdc++6", "zlib1g")
"""Beside libc6: what a manylinux wheel may take from the system, and these wheels do."""

OPTIONAL = ("python3-systemd",)
"""Of a target's apt packages, those that it works without."""

LEFT_OUT = ("ai_edge_litert/vendors/", "ai_edge_litert/tools/apply_plugin_main")
"""Compilers for the accelerators of phones: vigild has no use for them, and they look for libraries below whatever
folder a process happens to be in."""

COMPRESSION = ("-Zgzip", "-z6")
"""xz makes a tenth less of it in ten times the time, and so does whoever unpacks it."""

NOTIFY_RELOAD_SYSTEMD = 253
"""The first that knows Type=notify-reload."""


def make(target: Target, folder: Path = bundle.DIST, compression: Sequence[str] = COMPRESSION) -> Path:
    """`compression`: options of dpkg-deb. Raises CrossError."""
    if shutil.which("dpkg-deb") is None:
        raise CrossError("dpkg-deb, which makes packages, is not installed here: it comes with the package dpkg")
    folder.mkdir(parents=True, exist_ok=True)
    wheels.CACHE.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=wheels.CACHE.parent) as temporary:
        own = wheels.project(Path(temporary))
        tree = Tree(Path(temporary) / "tree")
        version = debian_version(own.name.split("-")[1], target.suite)
        _fill(tree, target, own, version)
        path = folder / f"vigild_{version}_{ARCHITECTURES[target.machines[0]]}.deb"
        new = path.with_suffix(".new")
        tree.pack(new, compression)
        new.replace(path)
    return path


def debian_version(version: str, suite: str) -> str:
    """In dpkg's order, where ~ sorts before the end: 0.2.0rc1 is 0.2.0~rc1+deb12. `suite` tells two systems' apart."""
    parsed = Version(version)
    text = parsed.base_version
    if parsed.pre:
        text += f"~{parsed.pre[0]}{parsed.pre[1]}"
    if parsed.post is not None:
        text += f".post{parsed.post}"
    if parsed.dev is not None:
        text += f"~~dev{parsed.dev}"
    return f"{text}{f'+{parsed.local}' if parsed.local else ''}+{suite}"


def relations(target: Target) -> tuple[list[str], list[str]]:
    """Depends and Recommends."""
    major, minor = map(int, target.python.split("."))
    depends = [
        f"python3 (>= {target.python})",
        f"python3 (<< {major}.{minor + 1})",
        f"libc6 (>= {target.glibc})",
        *SYSTEM_LIBRARIES,
        f"systemd (>= {target.systemd})",
        "passwd",
        *(name for name in target.apt if name not in OPTIONAL),
    ]
    return depends, [name for name in target.apt if name in OPTIONAL]


def filled(name: str, **values: str) -> str:
    """A file of debian/ with its @NAME@s; a field of which nothing is left goes. Raises CrossError."""
    lines = []
    for line in (DEBIAN / name).read_text().splitlines():
        text = line
        for key, value in values.items():
            text = text.replace(f"@{key.upper()}@", value)
        if text == line or not text.endswith(": "):
            lines.append(f"{text}\n")
    return "".join(lines)


def maintainer() -> str:
    """Whoever makes packages for others names themselves, as Debian's own tools ask them to."""
    return f"{os.environ.get('DEBFULLNAME', 'vigild')} <{os.environ.get('DEBEMAIL', 'vigild@packages.invalid')}>"


def changelog_date() -> str:
    """The time of every file, as changelogs write it."""
    return format_datetime(datetime.fromtimestamp(wheels.epoch(), timezone.utc))


class Tree:
    """A folder that becomes the package."""

    def __init__(self, root: Path) -> None:
        self.root = root
        root.mkdir()

    def write(self, name: str, data: bytes, mode: int = 0o644) -> None:
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        path.chmod(mode)

    def link(self, name: str, target: str) -> None:
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.symlink_to(target)

    def files(self) -> Iterator[Path]:
        """What dpkg is to know, without folders and links."""
        control = self.root / "DEBIAN"
        for path in sorted(self.root.rglob("*")):
            if path.is_file() and not path.is_symlink() and control not in path.parents:
                yield path

    def kib(self) -> int:
        """As dpkg-gencontrol counts: files in whole KiB, and one for everything else, which differs between disks."""
        sizes = {path: path.stat().st_size for path in self.files()}
        others = sum(1 for path in self.root.rglob("*") if path not in sizes)
        return sum(-(-size // 1024) for size in sizes.values()) + others

    def sums(self) -> str:
        """For `dpkg --verify`."""
        return "".join(
            f"{hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest()}  {path.relative_to(self.root)}\n"
            for path in self.files()
        )

    def pack(self, path: Path, compression: Sequence[str]) -> None:
        """Raises CrossError."""
        for each in [self.root, *self.root.rglob("*")]:
            if each.is_dir() and not each.is_symlink():
                each.chmod(0o755)  # whatever the umask is
            os.utime(each, (wheels.epoch(), wheels.epoch()), follow_symlinks=False)
        command = ["dpkg-deb", "--root-owner-group", *compression, "--build", str(self.root), str(path)]
        _run(command, {**os.environ, "SOURCE_DATE_EPOCH": str(wheels.epoch())}, "the package")


def _fill(tree: Tree, target: Target, own: Path, version: str) -> None:
    fetched = [path for path in wheels.fetch(target) if not path.name.startswith("pip-")]
    _environment(tree, target, [*fetched, own])
    _units(tree, target)
    _share(tree, target, [*fetched, own], version)
    tree.write(CONFIGURATION, (HERE / "vigild.toml").read_bytes())

    depends, recommends = relations(target)
    fields = {
        "version": version,
        "architecture": ARCHITECTURES[target.machines[0]],
        "maintainer": maintainer(),
        "size": str(tree.kib()),
        "depends": ", ".join(depends),
        "recommends": ", ".join(recommends),
    }
    tree.write("DEBIAN/control", filled("control", **fields).encode())
    tree.write("DEBIAN/conffiles", f"/{CONFIGURATION}\n".encode())
    tree.write("DEBIAN/md5sums", tree.sums().encode())
    for name in SCRIPTS:
        tree.write(f"DEBIAN/{name}", filled(name, groups=" ".join(target.groups)).encode(), 0o755)


def _environment(tree: Tree, target: Target, files: list[Path]) -> None:
    """What venv and pip would make, without pip: dpkg is what installs and removes here."""
    for path in files:
        for name, data in unpacked(path):
            tree.write(f"{HOME}/lib/python{target.python}/site-packages/{name}", data)
    shared = str(target.system_site_packages).lower()
    settings = f"home = /usr/bin\ninclude-system-site-packages = {shared}\nversion = {target.python}\n"
    tree.write(f"{HOME}/pyvenv.cfg", settings.encode())
    tree.link(f"{HOME}/bin/python", f"../../../bin/python{target.python}")
    tree.write(f"{HOME}/bin/vigild", (DEBIAN / "vigild").read_bytes(), 0o755)
    tree.link("usr/bin/vigild", "../lib/vigild/bin/vigild")


def unpacked(wheel: Path) -> Iterator[tuple[str, bytes]]:
    """Name in site-packages and bytes of what pip would put there. Raises CrossError."""
    with zipfile.ZipFile(wheel) as archive:
        for info in archive.infolist():
            parts = PurePosixPath(info.filename).parts
            if ".." in parts or info.filename.startswith("/"):
                raise CrossError(f"{wheel} is no wheel: {info.filename!r} would lie outside")
            if parts[0].endswith(".data"):
                if parts[1] not in ("purelib", "platlib"):
                    continue  # programs and headers of libraries, which nobody asked for
                parts = parts[2:]
            # The list of what pip installed: pip did not, and dpkg has its own.
            if info.is_dir() or (parts[0].endswith(".dist-info") and parts[1:] == ("RECORD",)):
                continue
            if not (name := "/".join(parts)).startswith(LEFT_OUT):
                yield name, archive.read(info)


def _units(tree: Tree, target: Target) -> None:
    folder = REPOSITORY / "systemd"
    for name, file in unit_links(folder, target.systemd >= NOTIFY_RELOAD_SYSTEMD).items():
        text = (folder / file).read_text().replace("/opt/vigild/current/bin/vigild", "/usr/bin/vigild")
        tree.write(f"usr/lib/systemd/system/{name}", text.encode())
    for kind in ("sysusers", "tmpfiles"):
        tree.write(f"usr/lib/{kind}.d/vigild.conf", (folder / f"{kind}.conf").read_bytes())
    tree.write(f"{DOC}/examples/network.conf", (folder / "optional/network.conf").read_bytes())


def _share(tree: Tree, target: Target, files: list[Path], version: str) -> None:
    for name, data in bundle.pages().items():
        if not name.endswith("LICENSE"):  # Debian has it already
            tree.write(f"usr/{name}", data)
    models = sorted((REPOSITORY / "models/embedded").glob("*.tflite"))
    parts = sbom.document(f"vigild-{target.name}", version, files, models)
    tree.write(f"{DOC}/sbom.cdx.json", parts)
    tree.write(f"{DOC}/copyright", filled("copyright", licences=_licences(parts)).encode())
    said = {"version": version, "target": target.name, "maintainer": maintainer(), "date": changelog_date()}
    changelog = filled("changelog", **said)
    tree.write(f"{DOC}/changelog.gz", _compressed(changelog.encode()))
    tree.write("usr/share/lintian/overrides/vigild", (DEBIAN / "lintian-overrides").read_bytes())
    _written_by_itself(tree, files[-1])


def _licences(parts: bytes) -> str:
    lines = []
    for each in json.loads(parts)["components"]:
        if each["type"] == "library" and each["name"] != "vigild":
            (told,) = each.get("licenses") or [{"expression": "see its own files"}]
            lines.append(f"  {each['name']} {each['version']}: {told.get('expression') or told['license']['name']}")
    return "\n".join(lines)


def _written_by_itself(tree: Tree, own: Path) -> None:
    """Manual pages and completion, by the vigild that is in the package, on this machine's Python and libraries."""
    with tempfile.TemporaryDirectory() as folder:
        with zipfile.ZipFile(own) as archive:
            archive.extractall(folder)
        environment = {**os.environ, "PYTHONPATH": folder}
        manual = Path(folder) / "man"
        _run([sys.executable, "-m", "vigild.cli.manual", str(manual)], environment, "the manual pages")
        for page in sorted(manual.iterdir()):
            section = page.suffix.removeprefix(".")
            tree.write(f"usr/share/man/man{section}/{page.name}.gz", _compressed(page.read_bytes()))
        for shell, name in (
            ("bash", "bash-completion/completions/vigild"),
            ("zsh", "zsh/vendor-completions/_vigild"),
            ("fish", "fish/vendor_completions.d/vigild.fish"),
        ):
            script = _run([sys.executable, "-m", "vigild", "completion", shell], environment, f"completion for {shell}")
            tree.write(f"usr/share/{name}", script)


def _compressed(data: bytes) -> bytes:
    """As gzip -n9."""
    out = io.BytesIO()
    with gzip.GzipFile("", "wb", 9, out, mtime=0) as file:
        file.write(data)
    return out.getvalue()


def _run(command: list[str], environment: dict[str, str], what: str) -> bytes:
    done = subprocess.run(command, env=environment, capture_output=True, check=False)
    if done.returncode != 0:
        raise CrossError(f"{what} cannot be made:\n{done.stderr.decode(errors='replace').strip()[-2000:]}")
    return done.stdout

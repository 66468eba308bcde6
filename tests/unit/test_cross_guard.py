"""The board's side of a deploy, cut off after every change to the disk: one whole release, and an end."""

from __future__ import annotations

import io
import json
import sys
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
from test_cross_gate import GOOD

from cross.board.cli import Tool
from cross.board.disk import Disk
from cross.board.gate import Facts
from cross.board.guard import Guard, unit_links
from cross.board.journal import Allowance, Journal, JournalError, Moment
from cross.board.layout import COMPLETE, Layout
from cross.board.observe import Baseline
from cross.board.package import Package, Refused, hash_of
from cross.board.release import Builder, enough_room, sweep
from cross.board.system import Finished, System

ALLOWED = Allowance(10, True)


class Cut(BaseException):
    """The power went."""


@dataclass
class FakeSystem(System):
    """A systemd that starts what `current` points to, and a clock that goes on by looking."""

    layout: Layout
    boot: int = 0
    now_s: float = 0.0
    running: str | None = None
    commands: list[str] = field(default_factory=list)

    def run(self, command: Sequence[str], timeout_s: float = 90, stdin: bytes | None = None) -> Finished:
        words = " ".join(str(word) for word in command)
        self.commands.append(words)
        if words.startswith("systemctl restart"):
            self.running = self.layout.linked()
        if words == "systemctl --version":
            return Finished(0, "systemd 252 (252.39-1~deb12u2)")
        if "-m venv" in words:
            (Path(command[-1]) / "bin").mkdir(parents=True)
            (Path(command[-1]) / "lib/python3/site-packages").mkdir(parents=True)
        if "--target" in words:
            Path(command[command.index("--target") + 1]).mkdir()
        return Finished(0, "")

    def now(self) -> Moment:
        return Moment(f"boot-{self.boot}", int(self.now_s * 1e9))

    def sleep(self, seconds: float) -> None:
        self.now_s += seconds

    def show(self, unit: str) -> dict[str, str]:
        return {"MainPID": "7" if self.running else "0"}

    def journal(self, unit: str, *more: str) -> list[dict[str, object]]:
        return []

    def release_of(self, pid: int, releases: Path) -> str | None:
        return self.running

    def power(self) -> None:
        """The board starts anew, with what `current` points to."""
        self.boot += 1
        self.now_s = 1.0


class Rig:
    """A board in a folder. `bad`: releases that never show a detection."""

    def __init__(self, root: Path, bad: set[str]) -> None:
        self.layout = Layout(root)
        self.system = FakeSystem(self.layout)
        self.bad = bad
        self.left = -1

    def release(self, name: str) -> None:
        folder = self.layout.release(name)
        (folder / "systemd").mkdir(parents=True)
        for unit in ("vigild.service", "vigild.socket"):
            (folder / "systemd" / unit).write_text(f"# {name}\n")
        about = {"release": name, "environment": "env", "files": []}
        (folder / COMPLETE).write_text(json.dumps(about))
        self.layout.environments.joinpath("env").mkdir(parents=True, exist_ok=True)

    def guard(self) -> Guard:
        return Guard(self.layout, Disk(self._changed), self.system, self._observe)  # type: ignore[arg-type]

    def _changed(self, what: str) -> None:
        if self.left == 0:
            raise Cut(what)
        self.left -= 1

    def _observe(self, layout: Layout, system: System, release: str, baseline: Baseline) -> FakeObserver:
        return FakeObserver(self.system, release, good=release not in self.bad)

    def deploy(self, name: str) -> Journal:
        """What a deploy does once the release is whole; returns what the journal says at the end."""
        with self.guard().locked():
            self.guard().begin(name, ALLOWED)
        return self.guard().run()

    def whole(self) -> str:
        """The release that `current` points to, which must be whole, with its units in place."""
        name = self.layout.linked()
        assert name is not None
        assert self.layout.whole(name)
        for unit in ("vigild.service", "vigild.socket"):
            link = self.layout.units / unit
            assert str(link.readlink()) == f"/opt/vigild/current/systemd/{unit}"
        return name


class FakeObserver:
    def __init__(self, system: FakeSystem, release: str, good: bool) -> None:
        self._system, self._release, self._good = system, release, good

    def look(self, seconds: float) -> Facts:
        self._system.sleep(seconds)
        facts = replace(GOOD, release=self._system.running)
        return facts if self._good else replace(facts, frames=())

    def close(self) -> None:
        pass


@pytest.fixture(autouse=True)
def no_waiting_for_the_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """Here the power goes by an exception; a busy machine's disk has nothing to add."""
    monkeypatch.setattr("os.sync", lambda: None)
    monkeypatch.setattr("os.fsync", lambda fd: None)


@pytest.fixture
def rig(tmp_path: Path) -> Rig:
    made = Rig(tmp_path, set())
    made.release("old")
    assert made.deploy("old").good == "old"
    made.release("new")
    return made


def test_a_good_release_stays(rig: Rig):
    journal = rig.deploy("new")
    assert (journal.phase, journal.good, journal.previous) == ("settled", "new", "old")
    assert rig.whole() == rig.system.running == "new"


def test_a_release_that_sees_nothing_is_replaced_by_the_one_before(rig: Rig):
    rig.bad = {"new"}
    journal = rig.deploy("new")
    assert (journal.phase, journal.good, journal.failed, journal.ailing) == ("settled", "old", "new", False)
    assert "detections move" in journal.reason
    assert rig.whole() == rig.system.running == "old"
    assert not rig.layout.release("new").exists(), "what failed is removed"


def test_when_no_release_is_good_the_last_good_one_goes_on(rig: Rig):
    rig.bad = {"old", "new"}
    journal = rig.deploy("new")
    assert journal.ailing
    assert rig.whole() == rig.system.running == "old"


@pytest.mark.parametrize("bad", [set(), {"new"}, {"old", "new"}], ids=["good", "bad", "all bad"])
def test_cut_off_after_every_change_the_board_comes_up_with_one_whole_release(tmp_path: Path, bad: set[str]):
    for survive in range(200):
        rig = Rig(tmp_path / str(survive), set())
        rig.release("old")
        rig.deploy("old")
        rig.release("new")
        rig.bad = bad
        rig.left = survive
        try:
            rig.deploy("new")
        except Cut:
            rig.left = -1
            rig.system.power()
            rig.guard().recover()
            journal = rig.guard().load()
            assert rig.whole() == journal.current
            rig.system.running = rig.layout.linked()  # systemd starts it with the board
            settled = rig.guard().run()
            assert settled.phase == "settled"
            assert rig.whole() == rig.system.running == settled.current
            assert settled.current in ({"old", "new"} if not bad else {"old"})
            continue
        assert survive > 8, "there were changes to cut off at"
        return
    raise AssertionError("it never ends")


def test_a_guard_that_is_killed_at_every_change_and_started_again_gets_to_the_same_end(tmp_path: Path):
    for survive in range(200):
        rig = Rig(tmp_path / str(survive), {"new"})
        rig.bad = set()
        rig.release("old")
        rig.deploy("old")
        rig.release("new")
        rig.bad = {"new"}
        with rig.guard().locked():
            rig.guard().begin("new", ALLOWED)
        rig.left = survive
        try:
            rig.guard().run()
        except Cut:
            rig.left = -1
            rig.guard().run()
            assert rig.whole() == rig.system.running == "old"
            continue
        return
    raise AssertionError("it never ends")


def test_a_second_start_of_the_board_in_the_window_puts_the_old_one_back(rig: Rig):
    with rig.guard().locked():
        rig.guard().begin("new", ALLOWED)
    for expected in ("new", "old"):
        rig.system.power()
        rig.guard().recover()
        assert rig.whole() == expected
        assert "systemctl start --no-block vigild-confirm.service" in rig.system.commands


def test_a_release_that_lost_a_file_is_not_gone_on_with(rig: Rig):
    rig.deploy("new")
    (rig.layout.release("new") / COMPLETE).unlink()
    rig.guard().recover()
    assert rig.whole() == "old"
    assert rig.guard().load().ailing


def test_a_damaged_journal_leaves_what_is_linked(rig: Rig):
    rig.layout.journal.write_bytes(b"\0\0\0")
    rig.guard().recover()
    assert rig.whole() == "old"
    assert rig.deploy("new").good == "new"


def test_two_at_once_are_refused(rig: Rig):
    with rig.guard().locked(), pytest.raises(JournalError, match="another vigild-deploy"), rig.guard().locked():
        pass


def test_a_release_that_is_not_whole_is_never_begun(rig: Rig):
    (rig.layout.release("new") / COMPLETE).unlink()
    with pytest.raises(JournalError, match=r"no whole release new.*there are: old"):
        rig.guard().begin("new", ALLOWED)


def test_units_that_a_release_no_longer_has_go(rig: Rig):
    (rig.layout.release("new") / "systemd/vigild-extra.timer").touch()
    rig.deploy("new")
    assert (rig.layout.units / "vigild-extra.timer").is_symlink()
    rig.deploy("old")
    assert not (rig.layout.units / "vigild-extra.timer").is_symlink()


def test_a_units_changed_socket_is_made_anew(rig: Rig):
    rig.system.commands.clear()
    rig.deploy("new")
    assert "systemctl stop vigild.service vigild.socket" in rig.system.commands


def test_notify_reload_is_for_systemd_that_knows_it(rig: Rig):
    units = rig.layout.release("new") / "systemd"
    (units / "optional").mkdir()
    (units / "optional/notify-reload.conf").touch()
    assert "vigild.service.d/notify-reload.conf" in unit_links(units, newer_reload=True)
    assert "vigild.service.d/notify-reload.conf" not in unit_links(units, newer_reload=False)


def test_the_verdict_is_told_when_the_guard_has_ended(rig: Rig, capsys: pytest.CaptureFixture[str]):
    """It sweeps after it has decided, and another deploy would be refused meanwhile."""
    rig.deploy("new")
    states = ["active", "active", "inactive"]
    rig.system.show = lambda unit: {"ActiveState": states.pop(0)}  # type: ignore[method-assign]
    assert Tool(rig.layout, Disk(), rig.system).wait("new") == 0
    assert states == []
    assert "new runs and passed its gate" in capsys.readouterr().out


def test_a_guard_that_never_ends_is_not_waited_for_endlessly(rig: Rig):
    rig.deploy("new")
    rig.system.show = lambda unit: {"ActiveState": "active"}  # type: ignore[method-assign]
    assert Tool(rig.layout, Disk(), rig.system).wait("new") == 0


# ---- installing


def package_of(layout: Layout, code: bytes) -> Package:
    target = {"name": "this", "machines": [], "python": "", "glibc": "0", "system_site_packages": False}
    described = {"format": 1, "version": "1", "target": target, "package": "wheels/v.whl", "pip": "wheels/pip.whl"}
    pip = io.BytesIO()
    with zipfile.ZipFile(pip, "w") as archive:
        archive.writestr("pip/__main__.py", "")
    files = {
        "bundle.json": json.dumps({**described, "requirement": "vigild"}).encode(),
        "lock.txt": b"numpy",
        "wheels/v.whl": code,
        "wheels/pip.whl": pip.getvalue(),
        "systemd/vigild.service": b"",
        "systemd/vigild.socket": b"",
        "share/doc/vigild/service.md": b"",
        "vigild.toml": b"",
    }
    layout.store.mkdir(parents=True, exist_ok=True)
    lines = []
    for name, data in files.items():
        temporary = layout.store / "new"
        temporary.write_bytes(data)
        with temporary.open("rb") as file:
            sha256 = hash_of(file)
        temporary.replace(layout.store / sha256)
        lines.append(f"{sha256}  {name}\n")
    return Package.read("".join(lines).encode(), None)


@pytest.fixture
def any_board(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cross.board.release.fits", lambda target: None)


def builder(rig: Rig, say: Callable[[str], None] = lambda text: None) -> Builder:
    return Builder(rig.layout, Disk(rig._changed), rig.system, say)


@pytest.mark.usefixtures("any_board")
def test_an_install_that_is_cut_off_is_no_release_and_the_next_one_succeeds(rig: Rig):
    package = package_of(rig.layout, b"code")
    for survive in range(100):
        rig.left = survive
        try:
            name = builder(rig).build(package)
        except Cut:
            rig.left = -1
            # A release may be whole already when the power goes after its last file.
            assert rig.whole() == "old"
            sweep(rig.layout, Disk(), frozenset({"old"}))
            package = package_of(rig.layout, b"code")
            continue
        assert survive > 10
        assert rig.layout.whole(name)
        assert (rig.layout.release(name) / "share/doc/vigild/service.md").is_file()
        return
    raise AssertionError("it never ends")


@pytest.mark.usefixtures("any_board")
def test_what_did_not_change_is_not_installed_again(rig: Rig):
    first = builder(rig).build(package_of(rig.layout, b"one"))
    rig.system.commands.clear()
    second = builder(rig).build(package_of(rig.layout, b"two"))
    assert first != second
    assert not [command for command in rig.system.commands if "--target" in command]
    rig.system.commands.clear()
    assert builder(rig).build(package_of(rig.layout, b"two")) == second
    assert rig.system.commands == []


@pytest.mark.usefixtures("any_board")
def test_a_wheel_that_cannot_be_installed_is_told_with_what_pip_said(rig: Rig, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(rig.system, "run", lambda command, timeout_s=0, stdin=None: Finished(1, "no such wheel"))
    with pytest.raises(Refused, match="no such wheel"):
        builder(rig).build(package_of(rig.layout, b"code"))


def test_a_full_disk_is_told_in_figures(tmp_path: Path):
    with pytest.raises(Refused, match=r"needs \d+ MiB below .* and \d+ MiB are free"):
        enough_room(tmp_path / "opt/vigild", sys.maxsize)


def test_a_sweep_keeps_what_is_needed_and_nothing_else(rig: Rig):
    rig.layout.release("half").mkdir()
    (rig.layout.environments / "unused").mkdir()
    rig.layout.store.mkdir(exist_ok=True)
    (rig.layout.store / ("0" * 64)).touch()
    sweep(rig.layout, Disk(), frozenset({"old"}))
    assert [path.name for path in rig.layout.releases.iterdir()] == ["old"]
    assert [path.name for path in rig.layout.environments.iterdir()] == ["env"]
    assert list(rig.layout.store.iterdir()) == []

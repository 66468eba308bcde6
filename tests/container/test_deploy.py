"""A deploy over ssh to a board in a container: it is tried, judged and kept, or the release before is put back."""

from __future__ import annotations

import shutil
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
import releases
import tracing
from board import Board
from cuts import Picture, Pictures, comes_up, held, journal
from releases import CONFIGURATION, CRASHES, TARGET
from service import drop_in, main_pid, show, watch
from tracing import changes, find_stopped, stopped

from cross import bundle as bundles
from cross import deploy, fleet, sign, target, wheels
from cross.board.layout import GUARD_UNIT
from cross.bundle import Bundle
from cross.deploy import Job
from cross.rollout import Rollout

JOB = Job("pi@deploy", window_s=40)

SILENT = '''
"""Ready, with a beating watchdog, polite to clients, and blind."""
import json, os, socket, threading, time

def add_arguments(parser):
    parser.add_argument("--config")

def notify(text):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.sendto(text.encode(), os.environ["NOTIFY_SOCKET"])

def serve(client):
    memory = {"used_bytes": 1, "budget_bytes": 2, "source": "rss"}
    health = {"memory": memory, "cameras": {"front": {"status": "stale"}}, "temperatures": {}}
    status = {"type": "status", "health": health, "model": {"name": "blind"}}
    client.sendall(b'{"type":"hello"}\\n')
    for _ in client.makefile("rb"):
        client.sendall(json.dumps(status).encode() + b"\\n")

def run(args):
    server = socket.socket(fileno=3)
    server.setblocking(True)
    notify("READY=1")
    def beat():
        while True:
            notify("WATCHDOG=1")
            time.sleep(1)
    threading.Thread(target=beat, daemon=True).start()
    while True:
        threading.Thread(target=serve, args=(server.accept()[0],), daemon=True).start()
'''


def say(text: str) -> None:
    print(text)


@pytest.fixture(scope="module")
def make(tmp_path_factory: pytest.TempPathFactory) -> Iterator[object]:
    """Makes a bundle of this tree, with other texts in some of the daemon's files."""
    made: dict[str, Bundle] = {}

    def bundle(name: str, **how: Any) -> Bundle:
        if name not in made:
            made[name] = Bundle.open(releases.make(tmp_path_factory.mktemp(name), **how))
        return made[name]

    return bundle


@pytest.fixture(scope="module")
def installed(make, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A layer with the good release, deployed."""
    with Board("first") as board, pytest.MonkeyPatch.context() as patch:
        patch.setenv("VIGILD_SSH", f"ssh -F {board.ssh_config}")
        board.write("/etc/vigild/vigild.toml", CONFIGURATION)
        outcome = deploy.deploy(make("good"), Job("pi@first", window_s=40), say)
        assert outcome.good, outcome.detail
        return board.keep(tmp_path_factory.mktemp("installed") / "layer")


@pytest.fixture(scope="module")
def deployed(installed: Path) -> Iterator[Board]:
    with Board("deploy", layers=[installed]) as board, pytest.MonkeyPatch.context() as patch:
        patch.setenv("VIGILD_SSH", f"ssh -F {board.ssh_config}")
        yield board


def begin(board: Board, bundle: Bundle, *options: str) -> None:
    """What a deploy does until the board decides alone; from there nobody comes back: the laptop is gone."""
    with deploy.Remote(f"pi@{board.name}") as remote:
        missing = deploy._prepare(remote, bundle, say)
        said = remote.run(
            f"sudo -n python3 -I /run/vigild-deploy/tool receive {' '.join(options)}",
            stdin=deploy._stream(bundle, missing, None),
        )
        assert said.status == 0, said.output


def changed(make) -> Bundle:
    """As good, and another release."""
    text = (wheels.REPOSITORY / "daemon/vigild/figures.py").read_text()
    return make("changed", figures=f"{text}\n# a line\n")


def good(board: Board, make) -> str:
    """The good release runs, whole."""
    name = make("good").release_name()
    assert journal(board)["phase"] == "settled"
    assert journal(board)["current"] == name
    assert (board.root / "opt/vigild/current").readlink().name == name
    assert (board.root / "opt/vigild/releases" / name / "complete.json").is_file()
    assert board.run("systemctl is-active vigild").strip() == "active"
    return name


def test_first_detections_reach_a_client_through_the_activated_socket(deployed: Board, make):
    good(deployed, make)
    deployed.run('timeout 50 vigild watch --json --empty | grep -m1 \'"type":"detections"\'')


def test_a_changed_line_sends_one_wheel_and_stays(deployed: Board, make):
    outcome = deploy.deploy(changed(make), JOB, say)
    assert outcome.good, outcome.detail
    assert 0 < outcome.sent_bytes < 25 << 20
    back = deploy.rollback(JOB, say)
    assert back.good, back.detail
    good(deployed, make)


@pytest.mark.parametrize(
    ("kind", "text", "why"), [("crashes", CRASHES, "active and ready"), ("silent", SILENT, "detections move")]
)
def test_a_bad_release_is_put_back(deployed: Board, make, kind: str, text: str, why: str):
    outcome = deploy.deploy(make(kind, cli__run=text), Job(JOB.host, window_s=8), say)
    assert not outcome.good
    assert why in outcome.detail
    good(deployed, make)


def test_a_release_whose_model_is_bad_is_put_back(deployed: Board, make):
    outcome = deploy.deploy(make("bad-model", network=b"no network at all"), Job(JOB.host, window_s=15), say)
    assert not outcome.good
    assert ".tflite" in outcome.detail
    good(deployed, make)


def test_where_every_release_is_bad_it_says_so_and_goes_on_trying_the_last_good_one(deployed: Board, make):
    """Something on the board itself is broken: what is put back does not pass either."""
    broken = deployed.root / "etc/systemd/system/vigild.service.d/broken.conf"
    broken.parent.mkdir(exist_ok=True)
    broken.write_text("[Service]\nExecStartPre=/bin/false\n")
    try:
        outcome = deploy.deploy(changed(make), Job(JOB.host, window_s=15), say)
        assert not outcome.good
        assert "put back, did not pass either" in outcome.detail
        assert journal(deployed)["ailing"] is True
        assert journal(deployed)["current"] == make("good").release_name()
    finally:
        broken.unlink()
        deployed.run("systemctl daemon-reload")
    # Nobody starts it: it is tried again and again.
    deployed.wait_for(
        lambda: deployed.run("systemctl is-active vigild", check=False).strip() == "active", "it runs", 90
    )
    outcome = deploy.deploy(make("good"), JOB, say)
    assert outcome.good, outcome.detail
    good(deployed, make)


def test_with_a_key_on_the_board_only_bundles_signed_with_it_are_taken(deployed: Board, make, tmp_path: Path):
    key, other = tmp_path / "key", tmp_path / "other"
    sign.make_key(key)
    sign.make_key(other)
    text = (wheels.REPOSITORY / "daemon/vigild/figures.py").read_text()
    try:
        # The first signed bundle lays the key down; from then on it is asked for.
        outcome = deploy.deploy(make("signed", key=key), JOB, say)
        assert outcome.good, outcome.detail
        unsigned = deploy.deploy(make("unsigned", figures=f"{text}\n# a third line\n"), JOB, say)
        assert not unsigned.good
        assert "not signed" in unsigned.detail
        strange = deploy.deploy(make("strange", key=other, figures=f"{text}\n# a fourth line\n"), JOB, say)
        assert not strange.good
        assert "signature is not by a key" in strange.detail
        good(deployed, make)
    finally:
        (deployed.root / "opt/vigild/allowed_signers").unlink(missing_ok=True)


def test_a_power_cut_while_a_bad_release_is_tried(deployed: Board, make):
    begin(deployed, make("silent", cli__run=SILENT), "--returning", "--window", "6")
    deployed.kill()
    deployed.start()
    deployed.wait_for(lambda: journal(deployed)["phase"] == "settled", "the board has decided", 90)
    good(deployed, make)


@pytest.mark.skipif(bool(tracing.unavailable()), reason=tracing.unavailable())
def test_a_deploy_cut_off_where_it_writes_down_and_where_it_switches(installed: Path, make, tmp_path: Path):
    """`make cut-deploy EVERY=1` cuts it off everywhere."""
    bundle, pictures = changed(make), dict[str, Picture]()
    with Board("cut", layers=[installed]) as board, pytest.MonkeyPatch.context() as patch:
        patch.setenv("VIGILD_SSH", f"ssh -F {board.ssh_config}")
        with deploy.Remote("pi@cut") as remote:
            missing = deploy._prepare(remote, bundle, say)
        stream = tmp_path / "stream"
        stream.write_bytes(b"".join(deploy._stream(bundle, missing, None)))
        receive = ["python3", "-I", "/run/vigild-deploy/tool", "receive", "--window", "40"]
        taking = Pictures(board, [installed], tmp_path)
        with held(board, GUARD_UNIT, "guard"):
            with stream.open("rb") as stdin, stopped(board, receive, stdin=stdin) as pid:
                for change in changes(board, [pid]):
                    if change.paths[-1:] in (("/opt/vigild/journal.json.new",), ("/opt/vigild/journal.json",)):
                        pictures |= {str(change): picture for picture in taking.take(change)}
            guard = board.wait_for(lambda: find_stopped(board, "vigild-deploy guard"), "the guard waits")
            for change in changes(board, [guard]):
                if change.call == "rename" and change.paths[-1] == "/opt/vigild/current":
                    pictures |= {str(change): picture for picture in taking.take(change)}
                    break
    # With the whole journal beside the old one, with it in its place, and with the link renamed.
    journal_is = "/opt/vigild/journal.json"
    moments = [f"write {journal_is}.new", f"rename {journal_is}.new -> {journal_is}"]
    moments += ["rename /opt/vigild/current.new -> /opt/vigild/current"]
    known = {make("good").release_name(), bundle.release_name()}
    with ThreadPoolExecutor(len(moments)) as pool:
        came = pool.map(lambda number: comes_up(number, pictures[moments[number]], known), range(len(moments)))
        told = dict(zip(moments, came, strict=True))
    assert not any(fault for fault, _ in told.values()), told
    # What was written down before the cut is gone on with.
    names = [became.rpartition(" ")[2] for _, became in told.values()]
    assert names == [make("good").release_name(), bundle.release_name(), bundle.release_name()]


YEAR_NS, DAY_NS = 365 * 86400 * 10**9, 86400 * 10**9


@pytest.fixture
def jump(deployed: Board, tmp_path: Path) -> Iterator[Any]:
    """Sets by how much the wall clock of the daemon and of the guard is off: only theirs, because it is no container's
    own, and setting it would set this machine's."""
    library, amount = tmp_path / "libclock.so", deployed.root / "var/lib/clock-jump"
    source = Path(__file__).with_name("clock.c")
    command = ["gcc", "-Wall", "-Wextra", "-Werror", "-O1", "-shared", "-fPIC", source, "-o", library]
    subprocess.run(command, check=True)
    deployed.push(library, "/usr/local/lib/libclock.so")
    amount.write_bytes(bytes(8))
    environment = "Environment=LD_PRELOAD=/usr/local/lib/libclock.so CLOCK_JUMP=/var/lib/clock-jump"
    for unit in ("vigild.service", GUARD_UNIT):
        drop_in(deployed, f"[Service]\n{environment}\n", "clock", unit)
    deployed.run("systemctl restart vigild")

    def by(ns: int) -> None:
        with amount.open("r+b") as file:  # they have it mapped
            file.write(ns.to_bytes(8, "little", signed=True))

    yield by
    for unit in ("vigild.service", GUARD_UNIT):
        shutil.rmtree(deployed.root / f"etc/systemd/system/{unit}.d")
    deployed.run("systemctl daemon-reload && systemctl restart vigild")
    amount.unlink()


@pytest.mark.skipif(shutil.which("gcc") is None, reason="there is no C compiler to make a clock that jumps with")
def test_a_wall_clock_that_jumps_back_a_year_and_forward_a_day_changes_nothing(deployed: Board, make, jump):
    def off(message: dict[str, Any], ns: int) -> bool:
        told = datetime.fromisoformat(message["time"].replace("Z", "+00:00")).timestamp()
        return abs(told - time.time() - ns / 1e9) < 3600

    pid = main_pid(deployed)
    client = watch(deployed)
    for ns in (-YEAR_NS, DAY_NS):
        jump(ns)
        beat = show(deployed, "WatchdogTimestampMonotonic")
        seen = client.collect(lambda message, ns=ns: message["type"] == "detections" and off(message, ns))
        seen += client.collect("detections")
        frames = [message["frame"] for message in seen if message["type"] == "detections"]
        assert frames == sorted(set(frames))
        assert [message for message in seen if message["type"] == "event"] == []
        deployed.wait_for(
            lambda beat=beat: show(deployed, "WatchdogTimestampMonotonic") != beat, "the watchdog is served"
        )
    assert (main_pid(deployed), show(deployed, "NRestarts")) == (pid, "0")
    client.close()

    # In the middle of a trial too: neither is its window over at once, nor does it last for a year.
    jump(0)
    window_s, began = 4, time.monotonic()
    begin(deployed, changed(make), "--returning", "--window", str(window_s))
    progress = Path(f"/proc/{deployed.leader}/root/run/vigild-deploy/progress.json")

    def looked() -> None:
        before = progress.stat().st_ino if progress.exists() else 0
        deployed.wait_for(lambda: progress.exists() and progress.stat().st_ino != before, "the guard has looked")

    looked()
    guard = main_pid(deployed, GUARD_UNIT)
    assert "libclock.so" in deployed.run(f"cat /proc/{guard}/maps"), "or it would see no jump"
    jump(DAY_NS)
    looked()
    jump(-YEAR_NS)
    deployed.wait_for(lambda: journal(deployed)["phase"] != "trying", "the window is over")
    assert time.monotonic() - began >= window_s
    deployed.wait_for(lambda: journal(deployed)["phase"] == "settled", "the one before was judged")
    assert f"not within {window_s} s" in journal(deployed)["reason"]
    assert not journal(deployed)["ailing"]
    good(deployed, make)


def test_a_wrong_configuration_is_refused_before_the_switch(deployed: Board, make):
    path = deployed.root / "etc/vigild/vigild.toml"
    before = path.read_text()
    path.write_text(before + "\n[camera.front.nonsense]\n")
    try:
        outcome = deploy.deploy(changed(make), JOB, say)
    finally:
        path.write_text(before)
    assert not outcome.good
    assert "does not take the configuration" in outcome.detail
    assert "nonsense" in outcome.detail
    good(deployed, make)


def test_a_damaged_bundle_is_refused(deployed: Board, make, tmp_path: Path):
    copy = tmp_path / "bundle.tar"
    text = (wheels.REPOSITORY / "daemon/vigild/figures.py").read_text()
    shutil.copyfile(make("never-sent", figures=f"{text}\n# another line\n").path, copy)
    damaged = Bundle.open(copy)
    own = next(name for name in damaged.members if name.startswith("wheels/vigild-"))
    with copy.open("r+b") as file:
        file.seek(damaged.members[own].offset + 1000)
        file.write(b"rotten")
    outcome = deploy.deploy(damaged, JOB, say)
    assert not outcome.good
    assert "damaged" in outcome.detail
    good(deployed, make)


def test_a_bundle_for_another_processor_is_refused(deployed: Board, make, tmp_path: Path):
    other = replace(target.load(TARGET), machines=["riscv64"])
    outcome = deploy.deploy(Bundle.open(bundles.make(other, None, tmp_path)), JOB, say)
    assert not outcome.good
    assert "riscv64" in outcome.detail
    assert outcome.sent_bytes == 0
    good(deployed, make)


def test_a_full_disk_is_told_and_nothing_is_begun(make):
    with Board("small", disk_mib=300) as board, pytest.MonkeyPatch.context() as patch:
        patch.setenv("VIGILD_SSH", f"ssh -F {board.ssh_config}")
        outcome = deploy.deploy(make("good"), Job("pi@small"), say)
        assert not outcome.good
        assert "the disk is too full" in outcome.detail
        assert not (board.root / "opt/vigild/journal.json").exists()


def test_no_wave_follows_one_with_too_many_failures(deployed: Board, make):
    """Two boards, one of which cannot be reached; the third is left alone."""
    jobs = {"deploy": JOB, "away": Job("pi@away.invalid"), "last": Job("pi@last.invalid")}
    rollout = Rollout(list(jobs), canary=1, wave=1)
    outcomes = fleet.roll(rollout, lambda name: deploy.deploy(make("good"), jobs[name], say))
    assert [outcome.good for outcome in outcomes] == [True, False]
    assert "cannot be reached by ssh" in outcomes[1].detail
    assert rollout.untouched == ["last"]
    assert "last" in fleet.table(outcomes, rollout.untouched)
    good(deployed, make)


def test_sudo_with_a_password_is_one_sentence(deployed: Board, make):
    rule = deployed.root / "etc/sudoers.d/pi"
    text = rule.read_text()
    rule.write_text("")
    try:
        outcome = deploy.deploy(make("good"), JOB, say)
    finally:
        rule.write_text(text)
    assert not outcome.good
    assert "sudo asks for a password on pi@deploy" in outcome.detail


def test_undeploy_leaves_configuration_and_data(deployed: Board, make):
    deployed.run("touch /var/lib/vigild/mine")
    deploy.ask(JOB, "undeploy")
    left = deployed.run("find / -xdev -name '*vigild*' -not -path '/proc/*' -not -path '/var/log/*'").split()
    assert sorted(left) == ["/etc/vigild", "/etc/vigild/vigild.toml", "/var/lib/vigild"]
    assert deployed.run("ps -u vigild -o pid=", check=False).strip() == ""
    assert (deployed.root / "var/lib/vigild/mine").is_file()
    with pytest.raises(deploy.CrossError, match="never deployed"):
        deploy.ask(JOB, "status")


def test_the_same_installer_without_ssh_on_the_board_itself(make, tmp_path: Path):
    bundle = make("good")
    tool = tmp_path / "vigild-deploy"
    tool.write_bytes(bundle.read("vigild-deploy"))
    with Board("alone") as board:
        board.push(bundle.path, "/root/bundle.tar")
        board.push(tool, "/root/vigild-deploy")
        said = board.run("python3 /root/vigild-deploy install /root/bundle.tar", timeout_s=150)
        assert "runs and passed its gate" in said
        assert "not asked for: installed on the board itself" in said
        good(board, make)
        board.reboot()
        board.wait_for(lambda: board.run("systemctl is-active vigild", check=False).strip() == "active", "it is back")
        good(board, make)

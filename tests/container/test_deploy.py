"""A deploy over ssh to a board in a container: it is tried, judged and kept, or the release before is put back."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import releases
from board import Board
from releases import CRASHES, TARGET

from cross import bundle as bundles
from cross import deploy, fleet, sign, target, wheels
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
def deployed(make) -> Iterator[Board]:
    with Board("deploy") as board, pytest.MonkeyPatch.context() as patch:
        patch.setenv("VIGILD_SSH", f"ssh -F {board.ssh_config}")
        outcome = deploy.deploy(make("good"), JOB, say)
        assert outcome.good, outcome.detail
        yield board


def journal(board: Board) -> dict[str, object]:
    return json.loads((board.root / "opt/vigild/journal.json").read_bytes())


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
    assert '"type":"detections"' in deployed.run("timeout 20 vigild watch --json --empty | head -n 40", check=False)


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
    outcome = deploy.deploy(make(kind, cli__run=text), Job(JOB.host, window_s=15), say)
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
    crashing = make("silent", cli__run=SILENT)
    # From here nobody comes back: the laptop is gone, and then the power.
    with deploy.Remote(JOB.host) as remote:
        missing = deploy._prepare(remote, crashing, say)
        said = remote.run(
            "sudo -n python3 -I /run/vigild-deploy/tool receive --returning --window 10",
            stdin=deploy._stream(crashing, missing, None),
        )
        assert said.status == 0, said.output
    deployed.kill()
    deployed.start()
    deployed.wait_for(lambda: journal(deployed)["phase"] == "settled", "the board has decided", 90)
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

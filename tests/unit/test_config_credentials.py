"""Secrets that the configuration names: where they are looked for, how they get into an address, and nowhere else."""

from __future__ import annotations

from pathlib import Path

import pytest

from vigild.config import credentials, keys, load, source
from vigild.config.source import SourceError, parse_source, redact

REFERENCE = "rtsp://viewer:${credential:front}@10.0.0.7/stream"


@pytest.fixture(autouse=True)
def nowhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CREDENTIALS_DIRECTORY", raising=False)
    monkeypatch.delenv("VIGILD_CREDENTIALS", raising=False)
    monkeypatch.setattr(source, "_secrets", set())


@pytest.fixture
def given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """systemd's folder."""
    folder = tmp_path / "given"
    folder.mkdir()
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(folder))
    return folder


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The one beside the configuration file."""
    folder = tmp_path / "credentials"
    folder.mkdir()
    # So that what `beside` sets is undone.
    monkeypatch.setenv("VIGILD_CREDENTIALS", "")
    monkeypatch.delenv("VIGILD_CREDENTIALS")
    credentials.beside(tmp_path / "vigild.toml")
    return folder


def put(folder: Path, name: str, text: str, mode: int = 0o600) -> None:
    (folder / name).write_text(text)
    (folder / name).chmod(mode)


def test_a_secret_is_encoded_for_its_place() -> None:
    assert credentials.fill(REFERENCE, lambda name: "p@ss/wörd:?#%") == (
        "rtsp://viewer:p%40ss%2Fw%C3%B6rd%3A%3F%23%25@10.0.0.7/stream",
        ["p%40ss%2Fw%C3%B6rd%3A%3F%23%25"],
    )


def test_several_secrets() -> None:
    secrets = {"user": "u", "word": "w"}
    text, _ = credentials.fill(
        "http://${credential:user}:${credential:word}@h/?t=${credential:word}", secrets.__getitem__
    )
    assert text == "http://u:w@h/?t=w"


@pytest.mark.parametrize("address", ["10.0.0.7/s?key=1&x=/", "rtsp://10.0.0.7/s?key=1&x=/"])
def test_a_whole_address_is_taken_as_it_is(address: str) -> None:
    assert credentials.fill("rtsp://${credential:cam}", lambda name: address)[0] == "rtsp://10.0.0.7/s?key=1&x=/"


def test_an_address_of_another_kind_is_refused() -> None:
    with pytest.raises(credentials.CredentialError, match=r"another kind than rtsp://") as caught:
        credentials.fill("rtsp://${credential:cam}", lambda name: "http://10.0.0.7/")
    assert "10.0.0.7" not in str(caught.value)


def test_systemd_comes_before_the_folder(given: Path, own: Path) -> None:
    put(own, "front", "own\n")
    assert credentials.read("front") == "own"
    put(given, "front", "given\n", 0o440)
    assert credentials.read("front") == "given"
    put(given, "vigild_front", "of the folder\r\n", 0o440)
    assert credentials.read("front") == "of the folder"


@pytest.mark.parametrize(
    ("text", "mode", "complaint"),
    [
        ("word", 0o640, "may be read by others: .* has mode 0640; chmod 600 "),
        ("word", 0o604, "may be read by others"),
        ("", 0o600, "is empty"),
        ("\n", 0o600, "is empty"),
        ("two\nlines\n", 0o600, "one line is wanted"),
        ("x" * 5000, 0o600, "longer than 4096 bytes"),
    ],
)
def test_a_file_that_cannot_be_used_is_told_without_what_is_in_it(
    own: Path, text: str, mode: int, complaint: str
) -> None:
    put(own, "front", text, mode)
    with pytest.raises(credentials.CredentialError, match=complaint) as caught:
        credentials.read("front")
    assert "word" not in str(caught.value)
    assert "two" not in str(caught.value)


def test_a_secret_that_is_not_there_is_told_with_what_was_looked_for(given: Path, own: Path) -> None:
    with pytest.raises(SourceError) as caught:
        parse_source(REFERENCE).filled()
    for place in (given / "vigild_front", given / "front", own / "front"):
        assert str(place) in str(caught.value)


def test_without_any_place_that_is_said() -> None:
    with pytest.raises(credentials.CredentialError, match="neither"):
        credentials.read("front")


def test_the_configuration_keeps_the_reference(own: Path) -> None:
    put(own, "front", "secret-word")
    config = load.load(f'[camera.front]\nsource = "{REFERENCE}"\n')
    assert config.camera["front"].source == REFERENCE
    assert parse_source(REFERENCE).kind == "rtsp"
    assert "secret-word" not in str(keys.flatten(config))


def test_what_was_filled_in_is_hidden_from_then_on(own: Path) -> None:
    put(own, "front", "p@ss word")
    assert parse_source("http://10.0.0.7/${credential:front}/x").filled() == "http://10.0.0.7/p%40ss%20word/x"
    assert redact("GET /p%40ss%20word/x failed") == "GET /***/x failed"
    assert redact("bad password p@ss word!") == "bad password ***!"


@pytest.mark.parametrize(
    "text",
    [
        "exec:curl -u me:${credential:front} http://h/",
        "images:/${credential:front}",
        "${credential:front}",
        "/dev/${credential:x}",
    ],
)
def test_secrets_belong_into_addresses_alone(text: str) -> None:
    with pytest.raises(SourceError, match="let the command read the file itself"):
        parse_source(text)


@pytest.mark.parametrize(
    "reference", ["${credential:}", "${credential:../x}", "${credentials:front}", "${front}", "${credential:front"]
)
def test_what_is_nearly_a_reference_is_refused(reference: str) -> None:
    with pytest.raises(SourceError, match="expected"):
        parse_source(f"rtsp://viewer:{reference}@10.0.0.7/")


def test_a_client_cannot_have_a_secret_sent_elsewhere() -> None:
    config = load.load(f'[camera.front]\nsource = "{REFERENCE}"\n')
    with pytest.raises(load.ConfigError, match="in the file only"):
        keys.set_keys(config, {"camera.front.source": "http://elsewhere/${credential:front}"})


@pytest.mark.parametrize("address", ["${x}", "10.0.0.7/a b", "[::/"])
def test_a_secret_that_makes_no_address_is_not_shown(own: Path, address: str) -> None:
    put(own, "front", address)
    with pytest.raises(SourceError, match="look into their files") as caught:
        parse_source("http://${credential:front}").filled()
    assert address not in str(caught.value)

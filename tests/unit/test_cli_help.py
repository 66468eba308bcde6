"""Help with examples, shell completion in a real shell, and manual pages that groff takes without a warning."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest

from vigild.cli.completion import script
from vigild.cli.examples import EXAMPLES
from vigild.cli.main import main
from vigild.cli.manual import main as write_manual
from vigild.cli.manual import pages
from vigild.cli.parser import COMMANDS, arguments, build, subparsers, tree
from vigild.config.reference import reference

PARSER = build()
LINES = [example.line for examples in EXAMPLES.values() for example in examples]


def test_every_command_has_an_example() -> None:
    assert set(EXAMPLES) == {"", *COMMANDS}
    for name, (sub, _) in subparsers(PARSER).items():
        assert all(line.startswith(f"vigild {name}") for line, _ in EXAMPLES[name])
        assert all(line in sub.format_help() for line, _ in EXAMPLES[name])


@pytest.mark.parametrize("line", LINES)
def test_every_example_parses(line: str) -> None:
    assert PARSER.parse_args(shlex.split(line)[1:]).run


def test_help_fits_80_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    for words, parser in tree(PARSER):
        assert all(len(line) <= 80 for line in parser.format_help().splitlines()), words


COMPLETIONS = [
    (["vigild", "st"], {"status"}),
    (["vigild", "models", ""], {"list", "show", "pull", "verify"}),
    (["vigild", "models", "pull", "--f"], {"--force", "--folder"}),
    (["vigild", "run", "--so"], {"--source", "--socket"}),
    (["vigild", "run", "--config", "vig"], {"vigild.toml"}),
    (["vigild", "check", "vig"], {"vigild.toml"}),
    (["vigild", "watch", "--max-fps", ""], set()),
    (["vigild", "completion", "z"], {"zsh"}),
    (["vigild", "status", "--socket", "my"], {"my socket"}),
]


@pytest.mark.parametrize("words_and_found", COMPLETIONS, ids=lambda case: " ".join(case[0]))
def test_bash_completes(tmp_path: Path, words_and_found: tuple[list[str], set[str]]) -> None:
    if shutil.which("bash") is None:
        pytest.skip("bash is not installed")
    words, found = words_and_found
    (tmp_path / "vigild.toml").touch()
    (tmp_path / "my socket").touch()
    asked = (
        f"{script('bash')}\ncomplete -p vigild >&2\nCOMP_WORDS=({shlex.join(words)}); COMP_CWORD={len(words) - 1}\n"
        '_vigild\n(( ${#COMPREPLY[@]} == 0 )) || printf "%s\\n" "${COMPREPLY[@]}"\n'
    )
    done = subprocess.run(["bash", "-euc", asked], capture_output=True, text=True, timeout=60, cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "complete -F _vigild vigild\n")
    assert set(done.stdout.splitlines()) == found


@pytest.mark.parametrize("words_and_found", COMPLETIONS, ids=lambda case: " ".join(case[0]))
def test_zsh_completes(tmp_path: Path, words_and_found: tuple[list[str], set[str]]) -> None:
    if shutil.which("zsh") is None:
        pytest.skip("zsh is not installed")
    words, found = words_and_found
    (tmp_path / "vigild.toml").touch()
    (tmp_path / "my socket").touch()
    # The options are those that zsh's bashcompinit sets before it calls such a function.
    asked = (
        f"autoload -U compinit && compinit -D -u\n{script('zsh')}\n"
        "ask() { emulate -L sh; setopt kshglob noshglob braceexpand\n"
        f"COMP_WORDS=({shlex.join(words)}); COMP_CWORD={len(words) - 1}\n"
        '_vigild; (( ${#COMPREPLY[@]} == 0 )) || printf "%s\\n" "${COMPREPLY[@]}"; }\nask\n'
    )
    done = subprocess.run(["zsh", "-fc", asked], capture_output=True, text=True, timeout=60, cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    # What does not begin as the word does is left out by zsh itself, afterwards.
    offered = {line.replace("\\", "") for line in done.stdout.splitlines()}
    assert {each for each in offered if each.startswith(words[-1])} == found


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_the_other_shells_take_their_scripts(shell: str) -> None:
    text = script(shell)
    for words, parser in tree(PARSER):
        for option in (option for action in arguments(parser) for option in action.option_strings):
            assert (option if shell == "zsh" else option.lstrip("-")) in text, (words, option)
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not installed; that it names every option was looked at")
    done = subprocess.run([shell, "-n", "-c", text], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")


def test_the_manual_has_every_command_option_and_key() -> None:
    found = dict(pages())
    assert set(found) == {"vigild.1", "vigild.toml.5", *(f"vigild-{name}.1" for name in COMMANDS)}
    plain = {name: text.replace("\\-", "-") for name, text in found.items()}
    for words, parser in tree(PARSER):
        page = plain[f"vigild-{words[0]}.1" if words else "vigild.1"]
        for option in (option for action in arguments(parser) for option in action.option_strings):
            assert f"\\fB{option}\\fR" in page, (words, option)
    keys = re.findall(r"^(?:# )?(\w+ = |\[[\w.]+\]$)", reference(), re.MULTILINE)
    assert len(keys) > 40 and all(key in plain["vigild.toml.5"] for key in keys)


def test_groff_has_nothing_against_the_manual(tmp_path: Path) -> None:
    if shutil.which("groff") is None:
        pytest.skip("groff is not installed")
    assert write_manual(tmp_path) == 0
    files = [str(path) for path in sorted(tmp_path.iterdir())]
    command = ["groff", "-man", "-Tutf8", "-Kutf8", "-ww", "-z", *files]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (["wath"], "there is no command 'wath'; did you mean watch?"),
        (["models", "puul"], "there is no command 'puul'; did you mean pull?"),
        (["frobnicate"], "there is no command 'frobnicate'; vigild --help lists them"),
        (["watch", "--jsn"], "unrecognized arguments: --jsn; did you mean --json?"),
        (["watch", "--quux=1"], "unrecognized arguments: --quux=1"),
    ],
)
def test_what_may_have_been_meant(given: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(given) == 2
    assert capsys.readouterr().err.splitlines()[-1].partition(" error: ")[2] == said

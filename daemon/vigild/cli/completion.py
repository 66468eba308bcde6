"""`vigild completion bash | zsh | fish`: a script for the shell, made from the parser.

    source <(vigild completion bash)                                        # this shell
    vigild completion bash > ~/.local/share/bash-completion/completions/vigild
    vigild completion fish > ~/.config/fish/completions/vigild.fish

The scripts start no program while one types: words and options stand in them. Files complete where files belong.
"""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Iterator

from vigild.cli.parser import arguments, build, help_text, subparsers, tree

FILES = frozenset({"FILE", "DIR", "PATH", "SOURCE", "MODEL", "LABELS"})
"""Metavars of what may be a file."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("shell", choices=sorted(_SCRIPTS), help="whose script")


def run(args: argparse.Namespace) -> int:
    sys.stdout.write(script(args.shell))
    return 0


def script(shell: str) -> str:
    """The script of one of the shells."""
    return "\n".join(_SCRIPTS[shell](build())) + "\n"


def _metavar(action: argparse.Action) -> str:
    metavar = action.metavar or action.dest
    return metavar if isinstance(metavar, str) else metavar[0]


def _takes_value(action: argparse.Action) -> bool:
    return bool(action.option_strings) and action.nargs != 0


def _choices(action: argparse.Action) -> list[str]:
    return [str(choice) for choice in action.choices or ()]


def _bash(parser: argparse.ArgumentParser) -> Iterator[str]:
    """One function: the command typed so far decides which words there are."""
    words, values = [], []
    for path, sub in tree(parser):
        key = " ".join(("vigild", *path))
        given = arguments(sub)
        options = [option for action in given for option in action.option_strings]
        places = [word for action in given if not action.option_strings for word in _choices(action)]
        takes_file = any(not action.option_strings and _metavar(action) in FILES for action in given)
        words.append(
            f"    {shlex.quote(key)}) commands={shlex.quote(' '.join([*subparsers(sub), *places]))} "
            f"options={shlex.quote(' '.join(options))} files={'1' if takes_file else ''} ;;"
        )
        for action in filter(_takes_value, given):
            pattern = "|".join(shlex.quote(f"{key} {option}") for option in action.option_strings)
            if choices := _choices(action):
                values.append(f"    {pattern}) commands={shlex.quote(' '.join(choices))} value=1 ;;")
            else:
                values.append(f"    {pattern}) files={'1' if _metavar(action) in FILES else ''} value=1 ;;")
    keys = "|".join(shlex.quote(" ".join(("vigild", *path))) for path, _ in tree(parser))
    yield from (
        "# Completion of vigild; made by `vigild completion`.",
        "_vigild() {",
        "  local current=${COMP_WORDS[COMP_CWORD]} previous=${COMP_WORDS[COMP_CWORD-1]}",
        "  local path=vigild word commands= options= files= value=",
        '  for word in "${COMP_WORDS[@]:1:$((COMP_CWORD-1))}"; do',
        '    case "$path $word" in',
        f'    {keys}) path="$path $word" ;;',
        "    esac",
        "  done",
        '  case "$path" in',
        *words,
        "  esac",
        '  case "$path $previous" in',
    )
    yield from (line.replace(") ", ") commands= ", 1) if "commands=" not in line else line for line in values)
    yield from (
        "  esac",
        "  COMPREPLY=()",
        "  if [[ -z $value && $current == -* ]]; then commands=$options files=; fi",
        '  if [[ -n $commands ]]; then mapfile -t COMPREPLY < <(compgen -W "$commands" -- "$current"); fi',
        "  if [[ -n $files ]]; then",
        "    compopt -o filenames 2>/dev/null || :",
        '    mapfile -t -O "${#COMPREPLY[@]}" COMPREPLY < <(compgen -f -- "$current")',
        "  fi",
        "}",
        "complete -F _vigild vigild",
    )


def _zsh(parser: argparse.ArgumentParser) -> Iterator[str]:
    """zsh's own emulation of bash's completion, with the same function."""
    yield "#compdef vigild"
    yield "autoload -U +X bashcompinit && bashcompinit"
    for line in _bash(parser):
        # zsh has neither mapfile nor compopt.
        line = line.replace('mapfile -t COMPREPLY < <(compgen -W "$commands" -- "$current")', _ZSH_WORDS)
        line = line.replace('mapfile -t -O "${#COMPREPLY[@]}" COMPREPLY < <(compgen -f -- "$current")', _ZSH_FILES)
        yield line
    # As a file among zsh's own, it is read at the first Tab, which is to be answered too.
    yield '[[ "${funcstack[1]}" != _vigild ]] || _bash_complete -F _vigild'


_ZSH_WORDS = 'COMPREPLY=(${(f)"$(compgen -W "$commands" -- "$current")"})'
_ZSH_FILES = 'COMPREPLY+=(${(f)"$(compgen -f -- "$current")"})'


def _fish(parser: argparse.ArgumentParser) -> Iterator[str]:
    yield "# Completion of vigild; made by `vigild completion`."
    yield "complete -c vigild -f"
    for path, sub in tree(parser):
        below = subparsers(sub)
        seen = " && ".join(f"__fish_seen_subcommand_from {word}" for word in path)
        first = f"not __fish_seen_subcommand_from {' '.join(below)}" if below else ""
        when = " && ".join(filter(None, (seen, first)))
        condition = f"complete -c vigild -n {shlex.quote(when)}" if when else "complete -c vigild"
        for name, (_, text) in below.items():
            yield f"{condition} -a {name} -d {shlex.quote(text)}"
        for action in arguments(sub):
            line = condition
            for option in action.option_strings:
                line += f" -l {option[2:]}" if option.startswith("--") else f" -s {option[1:]}"
            if choices := _choices(action):
                line += (
                    f" -x -a {shlex.quote(' '.join(choices))}"
                    if action.option_strings
                    else f" -a {shlex.quote(' '.join(choices))}"
                )
            elif _metavar(action) in FILES:
                line += " -r -F" if action.option_strings else " -F"
            elif _takes_value(action):
                line += " -x"
            elif not action.option_strings:
                continue
            yield f"{line} -d {shlex.quote(help_text(sub, action))}"


_SCRIPTS = {"bash": _bash, "fish": _fish, "zsh": _zsh}

"""Manual pages from the parser, the examples and the configuration's reference: `make man`.

    python -m vigild.cli.manual build/man        # vigild.1, vigild-run.1, ..., vigild.toml.5
    for name, text in pages(): ...

man(7) macros, which man-db, mandoc and groff all read.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path

from vigild import __version__
from vigild.cli.examples import EXAMPLES
from vigild.cli.parser import COMMANDS, DESCRIPTION, arguments, build, help_text, subparsers, tree
from vigild.config.reference import reference
from vigild.wire.address import ENVIRONMENT

STATUS = (
    ("0", "Done."),
    ("1", "It did not work, or the daemon refused."),
    ("2", "Wrong usage, or a configuration that is not valid."),
    ("3", "No daemon answers."),
    ("130", "Stopped with Ctrl-C."),
)


def escape(text: str) -> str:
    """A text as roff: what it would take as its own is written so that it stands there as it is."""
    text = text.replace("\\", "\\e").replace("-", "\\-").replace("`", "\\(ga").replace("'", "\\(aq")
    text = text.replace("^", "\\(ha").replace("~", "\\(ti")
    return "\n".join(f"\\&{line}" if line.startswith((".", "'")) else line for line in text.split("\n"))


def pages() -> Iterator[tuple[str, str]]:
    """Names and texts."""
    parser = build()
    yield "vigild.1", _program(parser)
    for words, sub in tree(parser):
        if len(words) == 1:
            yield f"vigild-{words[0]}.1", _command(words[0], sub)
    yield "vigild.toml.5", _configuration()


def _head(name: str, section: int, what: str) -> Iterator[str]:
    yield f'.TH {escape(name.upper())} {section} "" "vigild {escape(__version__)}" "vigild"'
    yield f".SH NAME\n{escape(name)} \\- {escape(what)}"


def _usage(parser: argparse.ArgumentParser) -> str:
    usage = " ".join(parser.format_usage().removeprefix("usage: ").split())
    return f".SH SYNOPSIS\n{escape(usage)}"


def _items(parser: argparse.ArgumentParser) -> Iterator[str]:
    for action in arguments(parser):
        metavar = action.metavar or ("" if action.nargs == 0 else action.dest)
        metavar = metavar if isinstance(metavar, str) else " ".join(metavar)
        if action.option_strings:
            head = ", ".join(f"\\fB{escape(option)}\\fR" for option in action.option_strings)
            head += f" \\fI{escape(metavar)}\\fR" if action.nargs != 0 and metavar else ""
        else:
            head = f"\\fI{escape(metavar)}\\fR"
        choices = f" ({', '.join(map(str, action.choices))})" if action.choices else ""
        yield f".TP\n{head}\n{escape(help_text(parser, action) + choices)}"


def _examples(name: str) -> Iterator[str]:
    if name in EXAMPLES:
        yield ".SH EXAMPLES"
    for example in EXAMPLES.get(name, ()):
        yield f".TP\n\\fB{escape(example.line)}\\fR\n{escape(example.what)}"


def _program(parser: argparse.ArgumentParser) -> str:
    lines = [*_head("vigild", 1, "object detection for small boards, as a daemon"), _usage(parser)]
    lines += [f".SH DESCRIPTION\n{escape(DESCRIPTION)}", ".SH COMMANDS"]
    for name, command in COMMANDS.items():
        lines.append(f".TP\n\\fBvigild\\-{escape(name)}\\fR(1)\n{escape(command.help)}")
    lines += [".SH OPTIONS", *_items(parser), ".SH EXIT STATUS"]
    lines += [f".TP\n\\fB{code}\\fR\n{escape(text)}" for code, text in STATUS]
    lines.append(f".SH ENVIRONMENT\n.TP\n\\fB{ENVIRONMENT}\\fR\nWhere the daemon listens, and where its clients look.")
    lines.append(".TP\n\\fBNO_COLOR\\fR\nWhere it is set and not empty, nothing is coloured.")
    lines += [*_examples(""), ".SH SEE ALSO\n\\fBvigild.toml\\fR(5)"]
    return "\n".join(lines) + "\n"


def _command(name: str, parser: argparse.ArgumentParser) -> str:
    lines = [*_head(f"vigild-{name}", 1, COMMANDS[name].help), _usage(parser)]
    below = subparsers(parser)
    if below:
        lines.append(".SH COMMANDS")
        for word, (sub, text) in below.items():
            usage = " ".join(sub.format_usage().removeprefix("usage: ").split())
            lines += [f".SS {escape(word)}\n{escape(text[:1].upper() + text[1:])}.\n.PP\n{escape(usage)}", *_items(sub)]
    lines += [".SH OPTIONS", *_items(parser), *_examples(name)]
    lines.append(".SH SEE ALSO\n\\fBvigild\\fR(1), \\fBvigild.toml\\fR(5)")
    return "\n".join(lines) + "\n"


def _configuration() -> str:
    """The printed reference, which is blocks of comments with a key or the name of a table at the end of each."""
    opening, *blocks = (block.split("\n") for block in reference().strip().split("\n\n"))
    lines = [*_head("vigild.toml", 5, "the configuration of vigild"), ".SH DESCRIPTION", escape(_uncommented(opening))]
    for *comment, last in blocks:
        name = last.removeprefix("# ")
        heading = f".SH {escape(name)}" if name.startswith("[") else f".TP\n\\fB{escape(last)}\\fR"
        lines += [heading, escape(_uncommented(comment))]
    lines.append(".SH SEE ALSO\n\\fBvigild\\fR(1), \\fBvigild\\-check\\fR(1), \\fBvigild\\-config\\fR(1)")
    return "\n".join(lines) + "\n"


def _uncommented(lines: list[str]) -> str:
    return " ".join(line.removeprefix("#").strip() for line in lines)


def main(folder: Path) -> int:
    """Write all pages into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in pages():
        (folder / name).write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))

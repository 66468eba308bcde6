"""The openings of modules name what exists: modules, functions, keys; and their examples call what can be called."""

from __future__ import annotations

import ast
import builtins
import functools
import re
from pathlib import Path

import pytest

from sourcetree import source_tree
from vigild.config.tree import ROOT as CONFIG

VIGILD = source_tree(Path(__file__).parents[2] / "daemon" / "vigild")

_TICKED = re.compile(r"`([^`\n]+)`")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_]*)*(\(\))?")

NO_NAMES = {"_ns", "min_scroe"}
"""A suffix, and a misspelling that is told of."""

WELL_KNOWN = {
    *dir(builtins),
    *(name for kind in (bytes, dict, list, set, str, Path) for name in dir(kind)),
}


@functools.cache
def identifiers(module: str) -> set[str]:
    """Whatever the code of a module calls by a name; no comment and no docstring."""
    found: set[str] = set()
    for node in ast.walk(VIGILD.parsed[module]):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            found.add(node.name)
        elif isinstance(node, ast.Name):
            found.add(node.id)
        elif isinstance(node, ast.Attribute):
            found.add(node.attr)
        elif isinstance(node, (ast.arg, ast.keyword)) and node.arg is not None:
            found.add(node.arg)
        elif isinstance(node, ast.alias):
            found.update(node.name.split("."))
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and _NAME.fullmatch(node.value):
            found.add(node.value)
    return found


@functools.cache
def known() -> frozenset[str]:
    """Whatever the code of any module calls by a name, and the keys of the configuration."""
    keys = {name for section in CONFIG.walk() for name in section.entries}
    return frozenset(keys.union(*map(identifiers, VIGILD.files)))


@functools.cache
def callables() -> frozenset[str]:
    """What an example can call by its bare name: the functions and classes of all modules."""
    return frozenset({*dir(builtins), "Path"}) | {
        node.name
        for parsed in VIGILD.parsed.values()
        for node in parsed.body
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef))
    }


ROOMS = {part for module in VIGILD.files for part in module.split(".")}


def opening(module: str) -> str:
    return ast.get_docstring(VIGILD.parsed[module]) or ""


def ticked(module: str) -> list[str]:
    return [name for name in _TICKED.findall(opening(module)) if _NAME.fullmatch(name)]


def examples(module: str) -> list[ast.AST]:
    """The lines of an opening that are Python, each by itself."""
    found: list[ast.AST] = []
    for line in opening(module).splitlines():
        # "for frame in link.credits(): ..." as it stands; an "if ...:" with its body on the next line, without that.
        for text in (line.strip(), line.strip() + " ..."):
            try:
                found.append(ast.parse(text))
            except SyntaxError:
                continue
            break
    return found


def defined(module: str, name: str) -> ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef | None:
    return next(
        (
            node
            for node in VIGILD.parsed[module].body
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)) and node.name == name
        ),
        None,
    )


def parameters(node: ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) -> ast.arguments | None:
    """Of a function, or of a class that has an `__init__` of its own; without self."""
    if not isinstance(node, ast.ClassDef):
        return node.args
    made = next((n for n in node.body if isinstance(n, ast.FunctionDef) and n.name == "__init__"), None)
    if made is None:
        return None
    made.args.args = [one for one in made.args.args if one.arg != "self"]
    return made.args


def misfit(call: ast.Call, takes: ast.arguments) -> str:
    """Why these arguments do not fit; "..." among them stands for any."""
    if any(isinstance(one, ast.Constant) and one.value is ... for one in call.args):
        return ""
    names = [one.arg for one in (*takes.posonlyargs, *takes.args)]
    only = [one.arg for one in takes.kwonlyargs]
    if len(call.args) > len(names) and takes.vararg is None:
        return f"takes {len(names)}, not {len(call.args)}"
    given = {*names[: len(call.args)], *(one.arg for one in call.keywords if one.arg)}
    if takes.kwarg is None and (unknown := given - {*names, *only}):
        return f"takes no {', '.join(unknown)}"
    optional = {
        *names[len(names) - len(takes.defaults) :],
        *(name for name, default in zip(only, takes.kw_defaults, strict=True) if default is not None),
    }
    if missing := {*names, *only} - given - optional:
        return f"needs {', '.join(sorted(missing))}"
    return ""


@pytest.mark.parametrize("module", [module for module in VIGILD.files if ticked(module)])
def test_names_exist(module: str) -> None:
    package = module if VIGILD.files[module].name == "__init__.py" else module.rpartition(".")[0]
    missing = []
    for name in ticked(module):
        parts = name.removesuffix("()").split(".")
        whole = ".".join(parts)
        if (
            whole in NO_NAMES
            or whole in VIGILD.files
            or f"{package}.{whole}" in VIGILD.files
            or f"vigild.{whole}" in VIGILD.files
        ):
            continue
        # config.key, class.method, module.function: each part is something.
        if all(part in known() | ROOMS | WELL_KNOWN for part in parts):
            continue
        missing.append(name)
    assert missing == []


@pytest.mark.parametrize("package", [m for m, file in VIGILD.files.items() if file.name == "__init__.py"])
def test_a_package_lists_its_own_modules(package: str) -> None:
    """`name`  what it is: at the start of a line."""
    listed = {
        name
        for line in opening(package).splitlines()
        if re.match(r"`\w+`(, `\w+`)*  ", line)
        for name in _TICKED.findall(re.split(r"  ", line, maxsplit=1)[0])
    }
    own = {m.removeprefix(f"{package}.") for m in VIGILD.files if m.startswith(f"{package}.")} - {"__main__"}
    if listed:
        assert listed - own - identifiers(package) == set()
        assert {name for name in own if "." not in name} - set(_TICKED.findall(opening(package))) == set()


@pytest.mark.parametrize("module", [module for module in VIGILD.files if examples(module)])
def test_examples_call_what_there_is(module: str) -> None:
    wrong = []
    for example in examples(module):
        for call in (node for node in ast.walk(example) if isinstance(node, ast.Call)):
            if isinstance(call.func, ast.Attribute):
                if call.func.attr not in known() | WELL_KNOWN:
                    wrong.append(ast.unparse(call))
            elif isinstance(call.func, ast.Name):
                name = call.func.id
                if name not in callables():
                    wrong.append(ast.unparse(call))
                elif (node := defined(module, name)) and (takes := parameters(node)) and (why := misfit(call, takes)):
                    wrong.append(f"{ast.unparse(call)}: {why}")
    assert wrong == []

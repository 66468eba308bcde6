"""A package's modules and what they import, read from the source: nothing is imported for it.

tree = source_tree(Path("daemon/vigild"))
for arrow in tree.arrows: arrow.module, arrow.target, arrow.lazy
"""

from __future__ import annotations

import ast
import functools
from collections.abc import Iterable, Iterator
from functools import cached_property
from pathlib import Path
from typing import NamedTuple


class Arrow(NamedTuple):
    """One import."""

    module: str
    """Who imports, by its full name; a package's `__init__` by the package's."""
    target: str
    """A module of the tree by its full name; of other packages what stands behind `import` or `from`."""
    lazy: bool
    """Inside a function: only when that runs."""
    line: int

    def __str__(self) -> str:
        return f"{self.module}:{self.line} imports {self.target}"


class SourceTree:
    """All modules of one package. What takes long is done when it is asked for: each process that collects the tests
    makes one."""

    def __init__(self, root: Path) -> None:
        self.name = root.name
        self.files = {_module_name(root, path): path for path in sorted(root.rglob("*.py"))}

    @cached_property
    def parsed(self) -> dict[str, ast.Module]:
        return {name: ast.parse(path.read_text()) for name, path in self.files.items()}

    @cached_property
    def arrows(self) -> list[Arrow]:
        return [arrow for name in self.files for arrow in self._arrows(name)]

    def room(self, module: str) -> str:
        """What of the package a module belongs to: "camera", "log"; "" for the package itself."""
        return module.partition(".")[2].partition(".")[0]

    def inside(self) -> Iterator[Arrow]:
        """Arrows from module to module of this package."""
        return (arrow for arrow in self.arrows if arrow.target in self.files)

    def _arrows(self, name: str) -> Iterator[Arrow]:
        lazy_nodes = {
            id(inner)
            for outer in ast.walk(self.parsed[name])
            if isinstance(outer, (ast.FunctionDef, ast.AsyncFunctionDef))
            for inner in ast.walk(outer)
        }
        for node in ast.walk(self.parsed[name]):
            targets: Iterable[str] = ()
            if isinstance(node, ast.Import):
                targets = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                assert node.level == 0, f"{name}: imports inside a package are written out"
                assert node.module is not None
                # `from package import module` is an arrow to the module.
                whole = [f"{node.module}.{alias.name}" for alias in node.names]
                targets = dict.fromkeys(one if one in self.files else node.module for one in whole)
            for target in targets:
                yield Arrow(name, target, id(node) in lazy_nodes, node.lineno)


source_tree = functools.cache(SourceTree)
"""Of a package that does not change meanwhile: one for all that ask."""


def circle(arrows: Iterable[Arrow]) -> list[str]:
    """The modules of one circle, in its order; empty when there is none."""
    below: dict[str, list[str]] = {}
    for arrow in arrows:
        below.setdefault(arrow.module, []).append(arrow.target)
    done: set[str] = set()

    def visit(module: str, path: list[str]) -> list[str]:
        if module in path:
            return [*path[path.index(module) :], module]
        if module in done:
            return []
        for target in below.get(module, []):
            if found := visit(target, [*path, module]):
                return found
        done.add(module)
        return []

    return next((found for module in below if (found := visit(module, []))), [])


def reached(start: str, arrows: Iterable[Arrow]) -> dict[str, str]:
    """All that `start` imports, itself or through others, and by whom each was imported."""
    below: dict[str, list[str]] = {}
    for arrow in arrows:
        below.setdefault(arrow.module, []).append(arrow.target)
    found: dict[str, str] = {}
    waiting = [start]
    while waiting:
        module = waiting.pop()
        for target in below.get(module, []):
            if target not in found:
                found[target] = module
                waiting.append(target)
    return found


def _module_name(root: Path, path: Path) -> str:
    parts = path.relative_to(root.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)

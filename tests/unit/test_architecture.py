"""Arrows point one way: who may import whom, in the package and in the forge. Also inside functions."""

from __future__ import annotations

from pathlib import Path

import pytest

from sourcetree import Arrow, SourceTree, circle, reached, source_tree

ROOT = Path(__file__).parents[2]

VIGILD = source_tree(ROOT / "daemon" / "vigild")
FORGE = source_tree(ROOT / "models" / "forge")

FLOORS: tuple[tuple[str, ...], ...] = (
    (
        *("", "closest", "datagrams", "decoding", "figures", "files", "geometry", "journal", "lean"),
        *("minscores", "openfiles", "plain", "runtimes", "stdio", "tensor", "terminal", "utf8", "v4l2"),
    ),
    ("config",),
    ("log",),
    ("board", "catalogue", "delegates", "ipc", "sandbox", "wire"),
    ("budget", "camera", "client", "detector", "perception"),
    ("learned",),
    ("fleet",),
    ("hub",),
    ("doctor", "selftest", "tune"),
    ("cli",),
    ("__main__",),
)
"""Folders and modules of the package, lowest first ("" is its `__init__`). Nobody imports from a higher floor."""

PEERS = {
    "catalogue": {"board"},
    "delegates": {"catalogue", "ipc"},
    "sandbox": {"ipc"},
    "tune": {"doctor"},
}
"""Who may be imported on one's own floor."""

ONLY = {
    "budget": {"board", "catalogue", "config"},
    "client": {"wire"},
    "perception": {"config", "ipc"},
}
"""Rooms that see no more than this, and the lowest floor."""

NEVER = {
    "fleet": {"camera", "client", "detector"},
    "hub": {"camera", "client", "detector"},
    "doctor": {"fleet", "hub"},
    "selftest": {"fleet", "hub"},
    "tune": {"fleet", "hub"},
}
"""Although it is on a lower floor: the hub and its workers are processes apart, and so is what tries things out."""

NATIVE = {"numpy", "cv2", "ai_edge_litert", "tflite_runtime", "tensorflow"}
"""What can hang, abort and segfault, and takes long to import."""

WITHOUT_NATIVE = {
    *FLOORS[0],
    *FLOORS[1],
    *FLOORS[2],
    *FLOORS[3],
    *("budget", "client", "perception", "learned", "fleet", "hub", "cli", "__main__"),
}
"""Rooms that import none of it, not even inside a function."""

IN_SANDBOX = {
    "vigild.tune.accuracy",
    "vigild.tune.ap",
    "vigild.tune.pictures",
    "vigild.tune.raster",
}
"""Modules of the top floors that only the process that may die imports; no other may bring native code with it."""

FORGE_FLOORS: tuple[tuple[str, ...], ...] = (
    ("", "anchors", "errors", "pictures", "progress", "weights"),
    ("tflite",),
    ("model",),
    ("quantization",),
    ("routes",),
    ("evaluation",),
    ("training", "variants"),
    ("commands",),
    ("__main__",),
)


def test_each_room_has_its_floor() -> None:
    for tree, floors in ((VIGILD, FLOORS), (FORGE, FORGE_FLOORS)):
        named = [room for floor in floors for room in floor]
        assert len(named) == len(set(named))
        there = {tree.room(module) for module in tree.files}
        assert there <= set(named), f"new in {tree.name}: give it a floor"


@pytest.mark.parametrize(("tree", "floors"), [(VIGILD, FLOORS), (FORGE, FORGE_FLOORS)], ids=["vigild", "forge"])
def test_no_import_from_a_higher_floor(tree: SourceTree, floors: tuple[tuple[str, ...], ...]) -> None:
    level = {room: number for number, floor in enumerate(floors) for room in floor}
    climbing = [str(a) for a in tree.inside() if level[tree.room(a.target)] > level[tree.room(a.module)]]
    assert climbing == []


def test_rooms_of_one_floor_do_not_know_each_other() -> None:
    """But for the lowest floor, whose modules a circle would be the only harm of."""
    level = {room: number for number, floor in enumerate(FLOORS) for room in floor}
    across = []
    for arrow in VIGILD.inside():
        here, there = VIGILD.room(arrow.module), VIGILD.room(arrow.target)
        if here != there and 0 < level[here] == level[there] and there not in PEERS.get(here, ()):
            across.append(str(arrow))
    assert across == []


def test_rooms_that_must_not_know_each_other_do_not() -> None:
    wrong = []
    for arrow in VIGILD.inside():
        here, there = VIGILD.room(arrow.module), VIGILD.room(arrow.target)
        seen = ONLY.get(here)
        if there in NEVER.get(here, ()) or (seen is not None and there not in {here, *seen, *FLOORS[0]}):
            wrong.append(str(arrow))
    assert wrong == []


@pytest.mark.parametrize("tree", [VIGILD, FORGE], ids=["vigild", "forge"])
def test_no_circle(tree: SourceTree) -> None:
    assert circle(tree.inside()) == []


def test_no_native_code_where_none_belongs() -> None:
    wrong = [
        str(arrow)
        for arrow in VIGILD.arrows
        if VIGILD.room(arrow.module) in WITHOUT_NATIVE and arrow.target.partition(".")[0] in NATIVE
    ]
    assert wrong == []


def test_commands_import_no_native_code_themselves() -> None:
    """doctor, selftest and tune run the workers' code, but in a process of its own."""
    eager = [arrow for arrow in VIGILD.arrows if not arrow.lazy]
    wrong = []
    for module in VIGILD.files:
        if VIGILD.room(module) not in ("doctor", "selftest", "tune", *WITHOUT_NATIVE) or module in IN_SANDBOX:
            continue
        found = reached(module, eager)
        wrong += [f"{module}, through {by}: {target}" for target, by in found.items() if target.split(".")[0] in NATIVE]
    assert wrong == []


def test_only_what_runs_in_the_sandbox_is_imported_from_the_workers() -> None:
    wrong = [
        str(arrow)
        for arrow in VIGILD.inside()
        if VIGILD.room(arrow.module) in ("doctor", "selftest", "tune")
        and VIGILD.room(arrow.target) in ("camera", "detector")
        and not (arrow.lazy and arrow.module.endswith(".tasks"))
        and arrow.module not in IN_SANDBOX
    ]
    assert wrong == []


# ---- the reading of the source itself


def arrows(*pairs: str) -> list[Arrow]:
    return [Arrow(*pair.split(">"), lazy=False, line=1) for pair in pairs]


def test_a_circle_is_found_and_a_diamond_is_none() -> None:
    assert circle(arrows("a>b", "a>c", "b>d", "c>d")) == []
    assert circle(arrows("a>b", "b>c", "c>d", "d>b")) == ["b", "c", "d", "b"]
    assert circle(arrows("a>a")) == ["a", "a"]


def test_imports_are_read_wherever_they_stand(tmp_path: Path) -> None:
    package = tmp_path / "house"
    (package / "room").mkdir(parents=True)
    (package / "__init__.py").write_text("")
    (package / "room" / "__init__.py").write_text("from house.room.table import Table\n")
    (package / "room" / "table.py").write_text(
        "import numpy.linalg\n"
        "from house import room\n"
        "if True:\n    from house.room import table, chair\n"
        "def f():\n    import house.cellar\n"
        "class C:\n    async def g(self):\n        from house.cellar import wine\n"
    )
    (package / "cellar.py").write_text("")
    tree = SourceTree(package)
    assert [(a.module, a.target, a.lazy) for a in tree.arrows] == [
        ("house.room", "house.room.table", False),
        ("house.room.table", "numpy.linalg", False),
        ("house.room.table", "house.room", False),
        ("house.room.table", "house.room.table", False),
        ("house.room.table", "house.room", False),
        ("house.room.table", "house.cellar", True),
        ("house.room.table", "house.cellar", True),
    ]
    assert tree.room("house.room.table") == "room"
    assert tree.room("house.cellar") == "cellar"
    assert tree.room("house") == ""
    assert reached("house.room", [a for a in tree.arrows if not a.lazy]).get("numpy.linalg") == "house.room.table"

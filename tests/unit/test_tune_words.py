"""The table, the sentence, the picture and the bar."""

from __future__ import annotations

import io
import xml.etree.ElementTree as ElementTree

from tunekit import row

from vigild.catalogue.choose import choose
from vigild.catalogue.profile import Budgets, Row
from vigild.tune import bar, pareto, table, words
from vigild.tune.race import Progress
from vigild.tune.raster import paint

FREE = Budgets()
MIB = 2**20


def sentence(rows: list[Row], budgets: Budgets = FREE) -> str:
    return words.sentence(rows, choose(rows, budgets, 4), budgets)


def test_the_sentence_says_what_and_why() -> None:
    rows = [
        row("float32", p50_ms=7.44, ap=0.234, memory_bytes=106 * MIB),
        row("int8", threads=2, p50_ms=3.1, ap=0.232, memory_bytes=41 * MIB),
        row("int16x8", p50_ms=124, delegate_nodes=1, dropped="given up after one round"),
    ]
    assert sentence(rows) == (
        "int8 with 2 threads on xnnpack: 3.10 ms, 41 MiB, AP -0.002 against float32 (the fastest within 0.005 AP of "
        "the best); float32 is 2.4 times slower, int16x8 runs on plain kernels here and is 40 times slower."
    )


def test_the_sentence_says_why_not_the_faster_ones() -> None:
    rows = [
        row("float32-256", p50_ms=6, agreement=1.0, reference="float32-256", width=256, height=256),
        row("dynamic-256", p50_ms=2, agreement=0.4, reference="float32-256", width=256, height=256),
        row("int8-192", p50_ms=1, agreement=0.99, reference="float32-192", width=192, height=192),
    ]
    assert sentence(rows) == (
        "float32-256 with 1 thread on xnnpack: 6.00 ms, 40 MiB (the fastest of those with the largest input that agree "
        "with float32-256); int8-192 is 6.0 times faster but sees only 192x192 pixels, dynamic-256 is 3.0 times "
        "faster but agrees with float32-256 on only 40 % of the detections."
    )
    rows = [row("float32", p50_ms=6, ap=0.3), row("int8", p50_ms=2, ap=0.2)]
    assert "int8 is 3.0 times faster but loses 0.100 AP" in sentence(rows)
    rows = [row("int8", p50_ms=6, ap=0.2), row("float32", p50_ms=2, ap=0.3, memory_bytes=300 * MIB)]
    told = sentence(rows, Budgets(memory_bytes=256 * MIB))
    assert "float32 is 3.0 times faster but takes 372 MiB with the rest of the daemon, of 256 MiB" in told


def test_nothing_to_recommend() -> None:
    assert sentence([]) == "Nothing can be recommended: nothing that was measured runs here."


def test_doubts() -> None:
    assert words.warnings([row(agreement=1.0)]) == []
    assert "1.5 cores busy" in words.warnings([row(agreement=1.0, others_busy=1.5)])[0]
    assert "under voltage" in words.warnings([row(agreement=1.0, flags=["under_voltage"])])[0]
    assert "--images" in words.warnings([row()])[0]


def test_lines_of_a_configuration() -> None:
    assert words.settings(row("int8", threads=2), "m") == [
        "[model]", 'name = "m"', 'variant = "int8"', "threads = 2"
    ]  # fmt: skip
    assert words.settings(row(delegate="none"), "m")[-1] == 'delegate = "none"'


def test_the_table_has_a_line_for_each() -> None:
    rows = [
        row("float32", p50_ms=123.4, agreement=1.0, score_error=0.0),
        row("int8", p50_ms=0.8421, ap=0.2284, ap50=0.374, delegate_nodes=3, rise_celsius=2.54),
        row("shapes", p50_ms=47.06, found=140, missed=4, invented=1),
        row("slow", dropped="given up after one round: 40 times slower than the fastest"),
        Row(variant="tpu", delegate="edgetpu", threads=1, failed="killed by SIGABRT in invoke()"),
        Row(variant="tpu", delegate="edgetpu", threads=2, failed="killed by SIGABRT in invoke()"),
        Row(variant="tpu", delegate="none", threads=1, failed="killed by SIGABRT in invoke()"),
        Row(variant="broken", delegate="", threads=0, failed="it is no model"),
    ]
    lines = list(table.lines(rows))
    assert lines[0].split()[:3] == ["VARIANT", "INPUT", "DELEGATE"] and "RISE °C" in lines[0]
    assert " 123 " in lines[1] and "reference" in lines[1]
    assert " 0.842 " in lines[2] and "xnnpack (3/60)" in lines[2] and "+2.5" in lines[2]
    assert "AP 0.228 (AP50 0.374)" in lines[2]
    assert " 47.1 " in lines[3] and "140 of 144 shapes, 1 invented" in lines[3]
    assert lines[4].endswith("given up after one round: 40 times slower than the fastest")
    assert lines[5:] == [
        "tpu on edgetpu (1 and 2 threads) and none (1 thread): killed by SIGABRT in invoke()",
        "broken: it is no model",
    ]
    assert "RISE" not in next(table.lines([row()]))


def test_the_front() -> None:
    best, fast = row("best", p50_ms=5, ap=0.3), row("fast", p50_ms=1, ap=0.1)
    beaten = row("beaten", p50_ms=6, ap=0.2)
    assert pareto.front([beaten, best, fast]) == [fast, best]


def picture(rows: list[Row], chosen: Row | None, title: str) -> ElementTree.Element:
    return ElementTree.fromstring(pareto.svg(pareto.draw(rows, chosen, title)))


def test_the_picture_is_svg_with_a_dot_for_each() -> None:
    rows = [row("a<b", p50_ms=1, ap=0.1), row("c", p50_ms=50, ap=0.3, delegate="none"), row("unknown", p50_ms=2)]
    tree = picture(rows, rows[0], "m & n")
    circles = [one for one in tree.iter() if one.tag.endswith("circle")]
    assert len(circles) == 2 + 1 + 2 + 3  # two dots and a ring; in the legend two colours, the ring and plain kernels
    texts = ["".join(one.itertext()) for one in tree.iter() if one.tag.endswith("text")]
    assert {"m & n", "COCO AP", "recommended", "plain kernels", "a<b, 1 thread: 1.00 ms"} <= set(texts)
    assert "unknown" not in " ".join(texts)
    picture([row("a", agreement=1.0)], None, "one")
    assert "no accuracy was measured" in "".join(picture([], None, "none").itertext())


def test_the_same_picture_in_pixels() -> None:
    rows = [row("a", p50_ms=1, ap=0.1), row("b", p50_ms=50, ap=0.3)]
    shapes = pareto.draw(rows, rows[1], "m")
    image = paint(shapes)
    assert image.shape == (2 * pareto.HEIGHT_PX, 2 * pareto.WIDTH_PX, 3)
    for dot in (shape for shape in shapes if isinstance(shape, pareto.Dot) and shape.filled):
        blue, green, red = image[round(2 * dot.y), round(2 * dot.x)]
        assert f"#{red:02x}{green:02x}{blue:02x}" == dot.color


def test_the_bar() -> None:
    assert bar.line(Progress(3, 12, 100.0, "round 1: int8")) == (
        "[######------------------]  25 %  3 of 12, about 2 min left; round 1: int8"
    )
    assert [bar.left(seconds) for seconds in (1, 42, 600, 7200)] == [
        "about 5 s", "about 40 s", "about 10 min", "about 2.0 h"
    ]  # fmt: skip


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_the_bar_is_drawn_over_on_a_terminal_and_told_now_and_then_elsewhere() -> None:
    terminal, file = Terminal(), io.StringIO()
    for out in (terminal, file):
        shown = bar.Bar(out)
        for done in range(3):
            shown.update(Progress(done, 12, 100.0, "round 1: int8"))
        shown.end()
    assert terminal.getvalue().count("\r\x1b[K[") == 3 and terminal.getvalue().endswith("\r\x1b[K")
    assert file.getvalue().count("\n") == 1

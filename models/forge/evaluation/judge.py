"""A model against the test card's known truth, in a few lines for people."""

from __future__ import annotations

from pathlib import Path

from forge.evaluation.evaluate import Detection, Runner, Tally, coco_ap, tally
from vigild.camera.testcard import LABELS, TestCard

SIZES = ((640, 480), (1280, 720))
MIN_SCORE = 0.5
_FRAMES = range(0, 720, 36)  # over one revolution of the card


def on_test_card(path: Path, cards: int) -> str:
    """AP of each shape, and what is found and invented at the daemon's own threshold."""
    runner = Runner(path)
    truths: list[list[tuple[str, tuple[float, ...]]]] = []
    results: list[list[Detection]] = []
    total = Tally(0, 0, 0)
    for width, height in SIZES:
        for seed in range(cards):
            card = TestCard(width, height, seed)
            for n in _FRAMES:
                image, there = card.render(n)
                found = [d for d in runner.detect(image) if d.label in LABELS]
                truths.append(list(there))
                results.append(found)
                one = tally(list(there), [d for d in found if d.score >= MIN_SCORE])
                total = Tally(*(a + b for a, b in zip(total, one, strict=True)))
    rows = [f"{path.name}: {path.stat().st_size} bytes"]
    rows.append(
        f"  {len(results)} frames, score >= {MIN_SCORE}: {total.found} of {total.objects} found,"
        f" {total.invented} invented"
    )
    for label, (ap, ap50, count) in coco_ap(LABELS, truths, results).items():
        rows.append(f"  {label}: AP {ap:.3f}, AP50 {ap50:.3f} ({count} objects)")
    return "\n".join(rows)

"""What a worker does before everything else."""

from __future__ import annotations

from pathlib import Path

import pytest

from vigild.ipc.worker import go_before_the_hub


@pytest.mark.parametrize(("inherited", "own"), [("0\n", "300"), ("-100\n", "200"), ("900\n", "1000")])
def test_workers_go_before_the_hub(tmp_path: Path, inherited: str, own: str) -> None:
    score = tmp_path / "self/oom_score_adj"
    score.parent.mkdir()
    score.write_text(inherited)
    go_before_the_hub(tmp_path)
    assert score.read_text() == own


def test_a_kernel_without_scores_is_no_obstacle(tmp_path: Path) -> None:
    go_before_the_hub(tmp_path)
    assert list(tmp_path.iterdir()) == []

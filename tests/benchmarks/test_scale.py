"""The benchmark of planning, submitting and collecting, on a small study."""

from __future__ import annotations

from pathlib import Path


def test_planning_submitting_and_collecting_many_runs(tmp_path: Path) -> None:
    """The benchmark's phases on a small study: every run collected once, files linear in packs."""
    from benchmarks.scale import measure

    found = measure(500, tmp_path)
    assert found["packs"] == 10 and found["files"] <= 3 * 10 + 100

"""A file of a user's own is checked before its first run, once for its content."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.method_files import SCALING, written
from support.sweeps_under_test import Command

GRID = ["lr=1e-2", "seeds=1", "task.steps=2", "task.evaluations=1", "pack_size=1", "report=false"]
RESCALES = SCALING.group(1).replace(
    "        width = block_width", "        self.base_layer.weight.data.mul_(2)\n        width = block_width"
)
DETACHES = SCALING.group(1).replace(
    'p["scaling_factors"].flatten()',
    '(p["scaling_factors"] if not self.training else p["scaling_factors"] / 2 '
    '+ p["scaling_factors"].detach() / 2).flatten()',
)


@pytest.mark.slow
@pytest.mark.parametrize("text,words", [
    (RESCALES, "adapting or moving parameters changes the base model's first.weight"),
    (DETACHES, "has a wrong gradient in training mode"),
], ids=["rescales the base", "detaches in training"])  # fmt: skip
def test_a_broken_file_is_refused_before_anything_runs(
    text: str, words: str, study_command: Command, tmp_path: Path
) -> None:
    written(tmp_path, "scaling", text)
    refused = study_command("study.compare", "scaling.py", *GRID)
    lines = refused.stderr.strip().splitlines()
    assert refused.returncode == 2 and len(lines) == 1, refused.stderr
    assert "scaling.py breaks the contract of methods" in lines[0] and words in lines[0]
    assert not (tmp_path / "results").exists()


@pytest.mark.slow
def test_a_file_that_keeps_the_contract_is_checked_once(
    study_command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A cache of its own: another test may have checked the same file.
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    path = written(tmp_path, "scaling", SCALING.group(1))
    kept = tmp_path / "cache" / "ether-study" / "contracts"
    for _ in range(2):
        done = study_command("study.compare", "scaling.py", *GRID, "dry_run=true")
        assert done.returncode == 0 and "scaling.py: keeps the contract of methods" in done.stdout, (
            done.stderr
        )
    assert len(list(kept.glob("*"))) == 1
    path.write_text(path.read_text() + "\n")
    study_command("study.compare", "scaling.py", *GRID, "dry_run=true")
    assert len(list(kept.glob("*"))) == 2

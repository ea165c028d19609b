"""Data, models and versions that change under a study, and what is said before anything runs."""

from __future__ import annotations

import dataclasses
import os
import shutil
from pathlib import Path

import pytest
from support.sweeps_under_test import Command, table
from support.texts.labelled_text import rows_of, write

from study.storage import records
from study.storage.rows import RunRecord
from study.tasks import shipped_checkpoint

pytestmark = pytest.mark.slow

SHORT = [
    "seeds=1",
    "task.steps=2",
    "task.evaluations=1",
    "method=ether",
    "report=false",
    "launcher.workers=1",
]
OWN = ["lr_grid", "task=glue", "task.subset=null", "task.data=my.csv", "name=own", *SHORT]


def refused(done: object) -> str:
    assert done.returncode == 2, (done.stdout, done.stderr)  # type: ignore[attr-defined]
    lines = done.stderr.strip().splitlines()  # type: ignore[attr-defined]
    assert len(lines) == 1, lines
    return str(lines[0])


def test_flipped_labels_are_refused_and_a_touched_file_is_not(study_command: Command, tmp_path: Path) -> None:
    data, study = tmp_path / "my.csv", tmp_path / "results" / "own"
    write(data, rows_of(60, lambda i: "no" if i % 3 else "yes"))
    dry_run = study_command("study.sweep", *OWN, "lr=1e-3", "dry_run=true")
    assert dry_run.returncode == 0, dry_run.stderr
    assert "data my.csv: train " in dry_run.stdout and "0 of 1 runs are done" in dry_run.stdout
    assert list(tmp_path.iterdir()) == [data]  # nothing else
    assert study_command("study.sweep", *OWN, "lr=1e-3").returncode == 0
    before, was, times = table(study), data.read_bytes(), data.stat()

    os.utime(data, (1, 1))
    assert study_command("study.sweep", *OWN, "lr=1e-3,1e-2").returncode == 0
    assert table(study).data_fingerprint.nunique() == 1

    data.write_bytes(was.replace(b",no", b",NO").replace(b",yes", b",no").replace(b",NO", b",yes"))
    os.utime(data, ns=(times.st_atime_ns, times.st_mtime_ns))
    for more in ([], ["dry_run=true"]):
        line = refused(study_command("study.sweep", *OWN, "lr=1e-3,1e-2,1e-1", *more))
        assert "task.data=my.csv has changed: 2 finished runs are of what it was" in line
        assert "give another name=" in line
    assert len(table(study)) == 2 and before.run_id[0] in set(table(study).run_id)
    again = study_command("study.sweep", *OWN, "lr=1e-3,1e-2")
    assert again.returncode == 0  # nothing is missing: what stands can still be reported

    data.write_bytes(was)
    assert study_command("study.sweep", *OWN, "lr=1e-3,1e-2,1e-1").returncode == 0
    assert len(table(study)) == 3


def test_other_weights_and_other_versions_are_refused(study_command: Command, tmp_path: Path) -> None:
    """Other weights of the same size under the same path; records that another torch wrote."""
    shutil.copytree(shipped_checkpoint("vtab"), tmp_path / "vit")
    command = ["lr_grid", "task.model=./vit", "name=vit", *SHORT]
    assert study_command("study.sweep", *command, "lr=1e-3").returncode == 0
    weights = tmp_path / "vit" / "model.safetensors"
    was = weights.read_bytes()
    weights.write_bytes(was[:-4] + b"\0\0\0\0")
    line = refused(study_command("study.sweep", *command, "lr=1e-3,1e-2"))
    assert "task.model=./vit has changed: 1 finished run is of what it was" in line
    weights.write_bytes(was)

    study = tmp_path / "results" / "vit"
    (path,) = (study / "records").iterdir()
    pack = records.read(path)
    assert pack is not None
    (record,) = (RunRecord.from_json(content) for content in pack.records())
    versions = record.circumstances.versions.replace("torch 2.", "torch 1.")
    older = dataclasses.replace(
        record, circumstances=dataclasses.replace(record.circumstances, versions=versions)
    )
    path.unlink()
    records.write(study, path.stem, [older])
    line = refused(study_command("study.sweep", *command, "lr=1e-3,1e-2"))
    assert "made with torch 1." in line and "mixed_versions=true" in line
    mixed = study_command("study.sweep", *command, "lr=1e-3,1e-2", "mixed_versions=true")
    assert mixed.returncode == 0 and "made with torch 1." in mixed.stdout, mixed.stderr
    assert table(study).versions.nunique() == 2


@pytest.mark.parametrize("overrides, words", [
    (["task=glue", "task.subset=null", "task.data=./nope.csv"], "task.data=./nope.csv"),
    (["method.ether.blocks=7"], "blocks=7 does not divide"),
    (["task.target_modules=[q_pro]"], "no layer q_pro"),
    (["task.model=./nowhere"], "task.model=./nowhere"),
])  # fmt: skip
def test_what_cannot_be_used_is_refused_alike_in_a_dry_run_and_leaves_nothing(
    overrides: list[str], words: str, study_command: Command, tmp_path: Path
) -> None:
    for more in ([], ["dry_run=true"]):
        assert words in refused(study_command("study.sweep", "lr_grid", *SHORT, *overrides, *more))
        assert not any(tmp_path.iterdir())

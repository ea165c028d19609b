"""One run of a study trained again has the result that it had, alone and in its pack."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from study.storage import adapters, records
from study.storage.rows import RunRecord

pytestmark = pytest.mark.slow


def rerun(folder: Path, *arguments: str) -> tuple[int, str]:
    words = [sys.executable, "-m", "study.rerun", *arguments]
    done = subprocess.run(words, cwd=folder, capture_output=True, text=True, timeout=300)
    return done.returncode, done.stdout + done.stderr


@pytest.fixture
def folder(undisturbed: Path, tmp_path: Path) -> Path:
    shutil.copytree(undisturbed, tmp_path / "results" / "small")
    return tmp_path


def test_a_run_again(folder: Path) -> None:
    study = folder / "results" / "small"
    record = next(r for r in records.read_all(study) if r["row"]["method"] == "lora")
    run_id, before = record["row"]["run_id"], records.statuses(study)
    code, output = rerun(folder, "small", run_id[:8])
    assert code == 0 and ": reproduced " in output, output
    assert "measuring" not in output, "the study's profile says how it trains"
    again = study / "reruns" / run_id
    assert (adapters.folder_of(again, run_id) / "adapter_model.safetensors").exists()
    assert records.statuses(study) == before and list(records.statuses(again)) == [run_id]
    code, output = rerun(folder, "small", run_id, "--with-pack")
    assert code == 0 and "reproduced bit for bit" in output, output
    assert len(records.statuses(study / "reruns" / f"{run_id}-2")) == 2


def test_a_result_that_is_not_reproduced_is_exit_code_1(folder: Path) -> None:
    """The record says otherwise than what is trained: a figure in it was changed, with a right checksum."""
    study = folder / "results" / "small"
    (path, pack), *_ = records.read_packs(study)
    wrong = json.loads(json.dumps(pack.records()))
    wrong[0]["row"]["test"] = 0.999
    path.unlink()
    records.write(study, path.stem, [RunRecord.from_json(each) for each in wrong])
    code, output = rerun(folder, "small", wrong[0]["row"]["run_id"])
    assert code == 1 and "NOT reproduced" in output and "--with-pack" in output, output

"""The whole command on small sweeps: results, determinism, resuming. (Faults: the files beside.)"""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path

import pandas as pd
import pytest
from support.sweeps_under_test import SMALL, Command, same_tables, table

from study import status
from study.config import load
from study.launchers import Capacity
from study.launchers.cluster import squeue
from study.launchers.cluster.batches import batch_name
from study.launchers.local import Pool
from study.planning.jobs import Died, ProbeJob, train_key
from study.planning.runs import digest, plan_runs
from study.settings import LauncherSettings
from study.storage import records
from study.storage.rows import Circumstances, Outcome, RunRecord
from study.testing.launcher_contract import deadly_method

pytestmark = pytest.mark.slow


def test_everything_promised_is_there(undisturbed: Path) -> None:
    runs, history, layers = (table(undisturbed, name) for name in ("runs", "history", "layers"))
    assert len(runs) == 12 and set(runs.status) == {"ok"} and set(runs.pack_size) == {2}
    assert len(history) == 12 * 3 and set(history.step) == {0, 4, 8}
    assert len(layers) == 12 * 18 and set(layers.side) == {"in", "weight"}
    assert (undisturbed / "robustness.csv").exists() and (undisturbed / "report.html").exists()
    for suffix in ("png", "pdf", "csv"):
        assert list((undisturbed / "figures").glob(f"*.{suffix}"))
    assert runs.versions[0].startswith("study ") and "torch 2." in runs.versions[0]
    assert (runs["method.lora.r"][runs.method == "lora"] == 8).all()


def test_the_optuna_study_opens_and_holds_every_run(undisturbed: Path) -> None:
    import optuna
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend

    storage = JournalStorage(JournalFileBackend(str(undisturbed / "optuna.log")))
    study = optuna.load_study(study_name="small", storage=storage)
    runs = table(undisturbed).set_index("run_id")
    assert len(study.trials) == 12
    for trial in study.trials:
        row = runs.loc[trial.user_attrs["run_id"]]
        assert (trial.value, trial.params["lr"], trial.params["method"]) == (
            row.valid,
            row.lr,
            row.method,
        )


def test_the_same_command_twice_gives_the_same_table(
    undisturbed: Path, study_command: Command, tmp_path: Path
) -> None:
    assert study_command("study.sweep", *SMALL).returncode == 0
    same_tables(tmp_path / "results" / "small", undisturbed)


def test_another_seed_is_another_run_and_the_rest_stays(undisturbed: Path) -> None:
    runs = table(undisturbed)
    for _, pair in runs.groupby(["method", "lr"]):
        assert pair.run_id.nunique() == pair.loss_last.nunique() == 2


def test_running_again_does_only_what_is_missing(
    undisturbed: Path, study_command: Command, tmp_path: Path
) -> None:
    first = study_command("study.sweep", *SMALL, "method=ether")
    assert first.returncode == 0 and "6 of 6 runs" in first.stdout
    stamps = {p: p.stat().st_mtime_ns for p in (tmp_path / "results/small/records").iterdir()}
    second = study_command("study.sweep", *SMALL)
    assert second.returncode == 0 and "12 of 12 runs" in second.stdout
    assert all(path.stat().st_mtime_ns == stamp for path, stamp in stamps.items())
    third = study_command("study.sweep", *SMALL)
    assert third.returncode == 0 and "packs" not in third.stdout
    pd.testing.assert_frame_equal(table(tmp_path / "results" / "small"), table(undisturbed), check_exact=True)


def test_a_worker_that_is_killed_is_replaced_and_a_hopeless_job_is_reported(tmp_path: Path) -> None:
    """Each worker answers what it was given, or its death is; never both, never neither."""
    run = plan_runs(load("lr_grid", ["method=ether", "lr=1e-3", "seeds=1"]))[0]
    with (
        deadly_method(tmp_path) as method,
        Pool(LauncherSettings(device="cpu"), Capacity(1, 1), tmp_path) as pool,
    ):
        job = ProbeJob("deadly", dataclasses.replace(run, method=method), 1, 1, None)
        answers = list(pool.do([job]))
    log = tmp_path / "logs" / "worker-0.log"
    assert answers == [(job, Died(7, f"its worker ended with code 7: told to die; see {log}"))]
    assert len(list(tmp_path.glob("logs/worker-0.log"))) == 1


def test_a_run_that_cannot_be_carried_out_is_failed_reported_and_retried(
    study_command: Command, tmp_path: Path
) -> None:
    """The record of a finished run is replaced by one that says it failed."""
    arguments = [*SMALL, "method=ether", "lr=1e-3", "seeds=1"]
    assert study_command("study.sweep", *arguments).returncode == 0
    (path,) = (tmp_path / "results/small/records").iterdir()

    pack = records.read(path)
    assert pack is not None
    (record,) = (RunRecord.from_json(content) for content in pack.records())
    path.unlink()
    failed = RunRecord(record.identity, Outcome("failed", reason="lost"), Circumstances())
    records.write(tmp_path / "results/small", path.stem, [failed])
    again = study_command("study.sweep", *arguments)
    assert again.returncode == 1 and "1 failed" in again.stdout
    retried = study_command("study.sweep", *arguments, "retry=failed")
    assert retried.returncode == 0 and "1 ok" in retried.stdout
    assert json.loads((tmp_path / "results/small/plan.json").read_text())["settings"]["retry"] == "failed"


def test_status_says_how_a_study_stands(
    undisturbed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Done, running, held, lost, begun again: from records, checkpoints and what squeue says."""
    assert (
        status.status(undisturbed)
        .splitlines()[0]
        .endswith("12 of 12 runs done: 12 ok, 0 diverged, 0 failed; 0 running, 0 waiting")
    )
    study = tmp_path / "small"
    shutil.copytree(undisturbed, study)
    plan = json.loads((study / "plan.json").read_text())
    left = [digest(pack) for pack in plan["packs"][:4]]
    for pack_id in left:
        (study / "records" / f"{pack_id}.json").unlink()
    attempts = study / "checkpoints" / left[0]
    attempts.mkdir(parents=True)
    for name in ("attempt-1", "attempt-2", "000000005-2.checkpoint"):
        (attempts / name).touch()
    batch = study / "slurm" / "ab" / "batch.json"
    batch.parent.mkdir(parents=True)
    batch.write_text(json.dumps([train_key(pack_id) for pack_id in left[:3]]))
    states = [("RUNNING", "None"), ("PENDING", "JobHeldUser"), ("FAILED", "")]
    told = [
        squeue.Task(f"7_{i}", batch_name("ab"), i, state, reason, "gpu1", "0:30")
        for i, (state, reason) in enumerate(states)
    ]
    monkeypatch.setattr(squeue, "tasks", lambda names: told)
    monkeypatch.setattr(squeue, "cause", lambda task, job_id: f"{task.state}, exit code 1")
    words = status.status(study)
    assert "4 of 12 runs done: 4 ok, 0 diverged, 0 failed; 2 running, 6 waiting" in words
    assert "Slurm tasks: 1 running, 1 pending" in words
    assert "held: 7_1 JobHeldUser" in words and "lost: 7_2 FAILED, exit code 1" in words
    assert "requeued or begun again: 1 packs, 1 times" in words
    assert "7_0 on gpu1, 0:30 left: ether (blocks=4), 2 runs, at step 5 or later of 8, attempt 2" in words
    assert "no coordinator" in words and "s of training left on 2 workers" in words

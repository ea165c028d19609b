"""The whole command on small sweeps: results, determinism, resuming, signals, two coordinators."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from study.launch import LauncherSettings, Pool
from study.schema import CIRCUMSTANCES

Command = Callable[..., subprocess.CompletedProcess[str]]
SMALL = [
    "lr_grid", "method=ether,lora", "lr=1e-3,1e-2,1e-1", "seeds=2", "task.steps=8", "task.evaluations=2",
    "pack_size=2", "name=small",
]  # fmt: skip

pytestmark = pytest.mark.slow


def table(folder: Path, name: str = "runs") -> pd.DataFrame:
    return pd.read_parquet(folder / f"{name}.parquet").drop(columns=list(CIRCUMSTANCES), errors="ignore")


def start(folder: Path, arguments: list[str]) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "study.sweep", *arguments],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def workers_of(folder: Path) -> list[int]:
    """Worker processes whose working folder is `folder`."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            if b"study.worker" in (entry / "cmdline").read_bytes() and (entry / "cwd").resolve() == folder:
                found.append(int(entry.name))
        except OSError:
            continue
    return found


def no_workers_left(folder: Path, within: float) -> bool:
    deadline = time.monotonic() + within
    while workers_of(folder.resolve()) and time.monotonic() < deadline:
        time.sleep(0.1)
    return not workers_of(folder.resolve())


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The small sweep, run in one go."""
    folder = tmp_path_factory.mktemp("undisturbed")
    process = start(folder, SMALL)
    output = process.communicate(timeout=300)[0]
    assert process.returncode == 0, output
    assert "12 of 12 runs: 12 ok" in output and "report: " in output
    return folder / "results" / "small"


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
    for name in ("runs", "history", "layers"):
        pd.testing.assert_frame_equal(
            table(tmp_path / "results" / "small", name), table(undisturbed, name), check_exact=True
        )


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


def test_killed_at_random_moments_nothing_is_lost_doubled_or_different(
    undisturbed: Path, tmp_path: Path
) -> None:
    """SIGKILL to the coordinator, 20 times at random; workers end by themselves; the table is the same."""
    folder = tmp_path / "results" / "small"
    moments = random.Random(0)
    seen: dict[str, str] = {}
    kills = 0
    while kills < 20:
        process = start(tmp_path, SMALL)
        time.sleep(moments.uniform(0.1, 9.0))
        if process.poll() is not None:  # done before the blow fell: begin anew to be hit again
            for path in (folder / "records").iterdir():
                path.unlink()
            (folder / "plan.json").unlink()
            seen.clear()
        process.kill()
        process.wait()
        kills += 1
        for path in (folder / "records").glob("*.json"):
            content = path.read_text()
            assert seen.setdefault(path.name, content) == content  # finished runs are not trained again
        assert seen.keys() == {p.name for p in (folder / "records").glob("*.json")}
    assert no_workers_left(tmp_path, within=30)
    process = start(tmp_path, SMALL)
    output = process.communicate(timeout=300)[0]
    assert process.returncode == 0, output
    for name in ("runs", "history", "layers"):
        pd.testing.assert_frame_equal(table(folder, name), table(undisturbed, name), check_exact=True)


@pytest.mark.parametrize("number,code", [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_stops_at_once_and_says_how_to_go_on(number: int, code: int, tmp_path: Path) -> None:
    process = start(tmp_path, [*SMALL, "task.steps=2000"])
    while not workers_of(tmp_path.resolve()):
        time.sleep(0.1)
    time.sleep(6)
    asked = time.monotonic()
    process.send_signal(number)
    output = process.communicate(timeout=30)[0]
    assert time.monotonic() - asked < 10
    assert process.returncode == code, output
    assert "Go on with: python -m study.sweep lr_grid" in output
    assert no_workers_left(tmp_path, within=2)


def test_a_second_coordinator_is_told_about_the_first(tmp_path: Path) -> None:
    first = start(tmp_path, [*SMALL, "task.steps=2000"])
    lock = tmp_path / "results" / "small" / "lock"
    while not lock.exists() or not lock.read_text():
        time.sleep(0.05)
    second = start(tmp_path, SMALL)
    output = second.communicate(timeout=60)[0]
    first.kill()
    first.wait()
    assert second.returncode == 2
    assert f"is being worked on by process {first.pid} on {os.uname().nodename}" in output


def test_a_worker_that_is_killed_is_replaced_and_a_hopeless_job_is_reported(tmp_path: Path) -> None:
    """Each worker answers what it was given, or its death is; never both, never neither."""
    job = {"kind": "train", "runs": []}  # makes a worker fail outside its own error handling
    with Pool(LauncherSettings(device="cpu"), 1, tmp_path) as pool:
        answers = list(pool.do([job]))
    assert [answer["event"] for _, answer in answers] == ["died"]
    assert len(list(tmp_path.glob("worker-0.log"))) == 1


def test_a_run_that_cannot_be_carried_out_is_failed_reported_and_retried(
    study_command: Command, tmp_path: Path
) -> None:
    """The record of a finished run is replaced by one that says it failed."""
    arguments = [*SMALL, "method=ether", "lr=1e-3", "seeds=1"]
    assert study_command("study.sweep", *arguments).returncode == 0
    (path,) = (tmp_path / "results/small/records").iterdir()
    from study import records

    (record,) = records.read(path) or []
    path.unlink()
    failed = records.failed(
        {k: record["row"][k] for k in ("run_id", "method", "lr", "seed", "task", "scale")}, "lost"
    )
    records.write(tmp_path / "results/small", path.stem, [failed])
    again = study_command("study.sweep", *arguments)
    assert again.returncode == 1 and "1 failed" in again.stdout
    retried = study_command("study.sweep", *arguments, "retry=failed")
    assert retried.returncode == 0 and "1 ok" in retried.stdout
    assert json.loads((tmp_path / "results/small/plan.json").read_text())["settings"]["retry"] == "failed"

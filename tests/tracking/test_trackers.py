"""Every tracker that is installed is told of all runs, once; what it keeps is what the records say.

Those of the extra `track` that are not installed are skipped: wandb, mlflow and trackio bring 70 packages.
"""

from __future__ import annotations

import json
import os
import struct
import subprocess
import sys
from collections import defaultdict
from importlib.util import find_spec
from pathlib import Path

import pytest
from support.paths import ROOT

from study import tracking
from study.errors import UsageError
from study.export import main
from study.planning.runs import Run
from study.settings import TRACKERS, TaskSettings
from study.storage import records
from study.storage.rows import Circumstances, HistoryRow, Identity, Outcome, RunRecord


def record(seed: int, status: str = "ok", method: str = "ether") -> RunRecord:
    task = TaskSettings(name="vtab", model="shipped", data="digits", steps=10, batch_size=4)
    run = Run(task, method, {"blocks": 4}, 1e-2, seed)
    nan = float("nan")
    history = tuple(
        HistoryRow(step, nan if step == 0 else 1.0 / step, 0.1 * step, 2.0, nan, 0.5 * step, 0.0, 1.0)
        for step in (0, 5, 10)
    )
    outcome = Outcome(status, metric="accuracy", valid=0.9, test=0.8 + seed / 100, parameters=7, steps=10)
    return RunRecord(Identity.of(run, "lr_grid"), outcome, Circumstances(pack_id="p"), history)


@pytest.fixture
def study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Of four runs, one of which diverged."""
    monkeypatch.chdir(tmp_path)
    for name in ("WANDB_MODE", "MLFLOW_TRACKING_URI", "TRACKIO_DIR"):
        monkeypatch.delenv(name, raising=False)
    folder = tmp_path / "results" / "mine"
    records.write(folder, "a", [record(0), record(1)])
    records.write(folder, "b", [record(2), record(3, "diverged")])
    (folder / "plan.json").write_text("{}")
    return folder


def installed(name: str) -> None:
    package = tracking._class(name).package
    if find_spec(package) is None:
        pytest.skip(f"{package} is not installed")


def test_every_tracker_has_a_file() -> None:
    assert all(issubclass(tracking._class(name), tracking.Tracker) for name in TRACKERS)


@pytest.mark.parametrize("name", TRACKERS)
def test_a_tracker_is_told_of_every_run_once(
    name: str, study: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    installed(name)
    assert main(["mine", name]) == 0
    assert "knows 4 runs of results/mine, 4 of them new" in capsys.readouterr().out
    assert main(["mine", name]) == 0
    assert "knows 4 runs of results/mine, 0 of them new" in capsys.readouterr().out


def scalars(folder: Path) -> dict[str, list[tuple[int, float]]]:
    """Of one run in TensorBoard's format: records of length, checksum, event, checksum."""
    from tensorboardX.proto.event_pb2 import Event

    found = defaultdict(list)
    (path,) = folder.iterdir()
    content, at = path.read_bytes(), 0
    while at < len(content):
        (size,) = struct.unpack_from("<Q", content, at)
        event = Event.FromString(content[at + 12 : at + 12 + size])
        at += 12 + size + 4
        for value in event.summary.value:
            if value.WhichOneof("value") == "simple_value":
                found[value.tag].append((event.step, value.simple_value))
    return found


def test_what_tensorboard_shows(study: Path) -> None:
    installed("tensorboard")
    assert main(["mine", "tensorboard"]) == 0
    (group,) = (study / "tracking" / "tensorboard").iterdir()
    assert group.name == "ether blocks=4 lr=0.01", "runs are grouped by method and rate"
    runs = sorted(group.iterdir())
    assert [run.name.split()[0] for run in runs] == ["seed=0", "seed=1", "seed=2", "seed=3"]
    shown = scalars(runs[1])
    assert shown["valid"] == [(0, 0.0), (5, 0.5), (10, 1.0)]
    assert shown["train_loss"] == [(5, pytest.approx(0.2)), (10, pytest.approx(0.1))], "nan is left out"
    assert shown["end.test"] == [(10, pytest.approx(0.81))] and "transform_distance" not in shown


def test_what_mlflow_keeps(study: Path) -> None:
    installed("mlflow")
    from mlflow.tracking import MlflowClient

    assert main(["mine", "mlflow"]) == 0
    client = MlflowClient((study / "tracking" / "mlruns").resolve().as_uri())
    experiment = client.get_experiment_by_name("mine")
    found = client.search_runs([experiment.experiment_id])
    by_seed = {run.data.params["seed"]: run for run in found}
    assert sorted(by_seed) == ["0", "1", "2", "3"]
    assert by_seed["3"].data.tags["status"] == "diverged" and by_seed["1"].data.metrics["end.test"] == 0.81
    assert by_seed["0"].data.tags["group"] == "ether blocks=4 lr=0.01"
    curve = client.get_metric_history(by_seed["1"].info.run_id, "valid")
    assert [(point.step, point.value) for point in curve] == [(0, 0.0), (5, 0.5), (10, 1.0)]


def test_what_wandb_keeps(study: Path) -> None:
    installed("wandb")
    assert main(["mine", "wandb"]) == 0
    kept = list((study / "tracking" / "wandb").glob("offline-run-*"))
    ids = {path.name.rpartition("-")[2] for path in kept}
    assert ids == set(records.statuses(study))


def test_what_trackio_keeps(study: Path) -> None:
    installed("trackio")  # which reads where it keeps things when it is imported
    words = [sys.executable, "-m", "study.export", "mine", "trackio"]
    subprocess.run(words, check=True, env=os.environ | {"PYTHONPATH": str(ROOT)})
    assert [path.name for path in (study / "tracking" / "trackio").glob("*.db")] == ["mine.db"]


def test_a_package_that_is_not_there_is_said_before_any_work(
    study: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(tracking.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UsageError, match="wandb needs the package wandb: pip install 'ether-study.track.'"):
        tracking.check("wandb")
    assert main(["mine", "wandb"]) == 2 and main(["mine", "wanbd"]) == 2 and main(["mine"]) == 2
    assert capsys.readouterr().err.count("\n") == 3


def test_settings_and_curves_are_all_that_the_record_has() -> None:
    one = record(3)
    assert tracking.settings(one)["method.ether.blocks"] == 4 and tracking.settings(one)["seed"] == 3
    assert [step for step, _ in tracking.curves(one)] == [0, 5, 10]
    assert json.dumps(tracking.results(one)) and tracking.title(one) == "ether blocks=4 lr=0.01 seed=3"

"""Records: whole or absent, first writer wins, damage is set aside, tables follow the schema."""

from __future__ import annotations

import dataclasses
import json
import math
from pathlib import Path

import pandas as pd
import pytest

from study.errors import UsageError
from study.planning.runs import Run
from study.settings import TaskSettings
from study.storage import records, tables
from study.storage.files import CannotWrite, staged, write_atomically
from study.storage.lock import locked
from study.storage.rows import SHARPNESS, Circumstances, Identity, Outcome, RunRecord
from study.storage.schema import HISTORY, LAYERS, RECORD_VERSION, RUNS


def record(run_id: str, status: str = "ok", valid: float = 0.5) -> RunRecord:
    row = {
        "run_id": run_id, "status": status, "valid": valid, "method": "ether", "lr": 1e-3, "seed": 0,
        "reason": "", "higher_is_better": True, "diverged_at": None, "method.ether.blocks": 4,
        "task.target_modules": ["q", "v"],
    }  # fmt: skip
    point = {"step": 0, "train_loss": math.nan, "valid": valid}
    layer = {"layer": "a", "side": "in", "duplicates": 0}
    return RunRecord.from_json({"row": row, "history": [point], "layers": [layer]})


def by_id(folder: Path) -> dict[str, records.RecordJson]:
    return {record["row"]["run_id"]: record for record in records.read_all(folder)}


def test_round_trip_keeps_every_bit(tmp_path: Path) -> None:
    value = 0.1 + 0.2
    records.write(tmp_path, "p", [record("a", valid=value), record("b", valid=math.inf)])
    found = by_id(tmp_path)
    assert found["a"]["row"]["valid"] == value and found["b"]["row"]["valid"] == math.inf
    assert math.isnan(found["a"]["history"][0]["train_loss"])


def test_sharpness_has_columns_only_where_it_was_measured(tmp_path: Path) -> None:
    measured = dataclasses.replace(record("a").outcome, sharpness=(2.5, math.nan))
    with_it = dataclasses.replace(record("a"), outcome=measured)
    for name, of_pack in {"one": [with_it, record("b", "failed")], "none": [record("c")]}.items():
        records.write(tmp_path / name, "p", of_pack)
    found = by_id(tmp_path / "one")
    start, end = RunRecord.from_json(found["a"]).outcome.sharpness or (0.0, 0.0)
    assert start == 2.5 and math.isnan(end)
    assert RunRecord.from_json(found["b"]).outcome.sharpness is None
    runs = tables.tables(records.read_all(tmp_path / "one"))["runs"].set_index("run_id")
    assert runs["sharpness_start"].dtype == runs["sharpness_end"].dtype == "float64"
    assert runs.loc["a", "sharpness_start"] == 2.5 and math.isnan(runs.loc["b", "sharpness_start"])
    assert not set(SHARPNESS) & set(tables.tables(records.read_all(tmp_path / "none"))["runs"])


def test_a_late_writer_is_refused(tmp_path: Path) -> None:
    assert records.write(tmp_path, "p", [record("a", valid=0.1)])
    assert not records.write(tmp_path, "p", [record("a", valid=0.2)])
    assert by_id(tmp_path)["a"]["row"]["valid"] == 0.1
    assert [p.name for p in (tmp_path / "records").iterdir()] == ["p.json"]


def test_a_damaged_file_is_set_aside_and_its_runs_are_missing(tmp_path: Path) -> None:
    records.write(tmp_path, "p", [record("a")])
    records.write(tmp_path, "q", [record("b")])
    path = tmp_path / "records" / "p.json"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    assert by_id(tmp_path).keys() == {"b"}
    records.quarantine_damaged(tmp_path)
    assert (tmp_path / "records" / "p.json.damaged").exists()
    assert records.write(tmp_path, "p", [record("a")])


def test_a_finished_record_goes_before_a_failed_one(tmp_path: Path) -> None:
    records.write(tmp_path, "p", [record("a", "failed")])
    records.write(tmp_path, "q", [record("a", "diverged")])
    records.write(tmp_path, "r", [record("a", "failed")])
    assert by_id(tmp_path)["a"]["row"]["status"] == "diverged"


def test_retrying_sets_failures_aside_and_keeps_what_finished(tmp_path: Path) -> None:
    records.write(tmp_path, "p", [record("a", "failed")])
    records.write(tmp_path, "q", [record("b")])
    records.forget_failures(tmp_path)
    assert by_id(tmp_path).keys() == {"b"}


def test_a_newer_version_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="newer version"):
        records.check_version(tmp_path, RECORD_VERSION + 1)


def test_a_full_disk_leaves_what_was_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "file"
    write_atomically(path, b"before")
    monkeypatch.setattr("os.fsync", lambda _: (_ for _ in ()).throw(OSError(28, "No space left")))
    with pytest.raises(CannotWrite, match="cannot write .*file: No space left"):
        write_atomically(path, b"after")
    assert path.read_bytes() == b"before" and list(tmp_path.iterdir()) == [path]


def test_tables_have_the_columns_and_types_of_the_schema(tmp_path: Path) -> None:
    failed_row = {"run_id": "c", "method": "lora", "lr": 1e-2, "seed": 1, "status": "failed"}
    failed = RunRecord.from_json({"row": failed_row, "history": [], "layers": []})
    records.write(tmp_path, "p", [record("b"), record("a", "diverged")])
    records.write(tmp_path, "q", [failed])
    made = tables.collect(tmp_path, ["a", "b"])
    assert list(made.run_id) == ["a", "b", "c"]  # the plan's order, then the rest
    for name, schema in (("runs", RUNS), ("history", HISTORY), ("layers", LAYERS)):
        stored = pd.read_parquet(tmp_path / f"{name}.parquet")
        for column, (kind, _) in schema.items():
            expected = "str" if kind == "string" else kind
            assert str(stored[column].dtype) == expected, column
    runs = pd.read_parquet(tmp_path / "runs.parquet").set_index("run_id")
    assert math.isnan(runs.valid["c"]) and runs.status["c"] == "failed"
    assert runs["method.ether.blocks"]["a"] == 4 and runs["task.target_modules"]["a"] == "['q', 'v']"


def test_tables_are_in_the_plans_order_however_packs_were_cut(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where the runs of packs alternate, and where batches are as small as they can be."""
    monkeypatch.setattr(tables, "BATCH", 1)
    order = [f"{place:02}" for place in (3, 1, 4, 5, 9, 2, 6, 8)]
    cuts = {
        "one": [order],
        "in order": [order[:3], order[3:]],
        "alternating": [order[::2], order[1::2][::-1]],
    }
    read = {}
    for name, packs in cuts.items():
        folder = tmp_path / name
        for number, pack in enumerate(packs):
            records.write(folder, f"p{number}", [record(each, valid=int(each) / 7) for each in pack])
        records.write(folder, "later", [record("zz"), record("aa")])  # of no plan
        returned = tables.collect(folder, order)
        read[name] = {table: pd.read_parquet(folder / f"{table}.parquet") for table in tables.TABLES}
        pd.testing.assert_frame_equal(returned, read[name]["runs"])
        assert list(read[name]["runs"].run_id) == [*order, "aa", "zz"]
        for table in ("history", "layers"):
            assert list(read[name][table].run_id) == [*order, "aa", "zz"]
            pd.testing.assert_frame_equal(read[name][table], read["one"][table])
        pd.testing.assert_frame_equal(read[name]["runs"], read["one"]["runs"])


def test_a_disk_that_is_full_leaves_the_tables_of_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    records.write(tmp_path, "p", [record("a")])
    tables.collect(tmp_path, [])
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir() if path.is_file()}
    records.write(tmp_path, "q", [record("b")])
    monkeypatch.setattr("os.fsync", lambda _: (_ for _ in ()).throw(OSError(28, "No space left")))
    with pytest.raises(CannotWrite, match="cannot write .*parquet: No space left"):
        tables.collect(tmp_path, [])
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir() if path.is_file()} == before


def test_a_file_that_cannot_be_read_while_another_is_written_is_not_called_unwritable(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="not_there"), staged(tmp_path / "table") as path:
        path.write_bytes((tmp_path / "not_there").read_bytes())
    with pytest.raises(CannotWrite, match="cannot write .*table: No space left"), staged(tmp_path / "table"):
        raise OSError(28, "No space left")  # as pyarrow says it, without a name
    assert list(tmp_path.iterdir()) == []


def test_further_metrics_that_only_some_runs_have_are_gaps_elsewhere(tmp_path: Path) -> None:
    point = {"step": 0, "valid": 0.5}
    with_metric = {
        "row": {"run_id": "a", "status": "ok"},
        "history": [point | {"metric.fid": 2.0}],
        "layers": [],
    }
    without = {"row": {"run_id": "b", "status": "ok"}, "history": [point], "layers": []}
    for each in (with_metric, without):
        records.write(tmp_path, each["row"]["run_id"], [RunRecord.from_json(each)])
    tables.collect(tmp_path, ["b", "a"])
    history = pd.read_parquet(tmp_path / "history.parquet").set_index("run_id")
    assert history["metric.fid"]["a"] == 2.0 and math.isnan(history["metric.fid"]["b"])


def test_one_coordinator_per_folder(tmp_path: Path) -> None:
    import os
    import socket

    with (
        locked(tmp_path),
        pytest.raises(UsageError, match=f"process {os.getpid()} on {socket.gethostname()}"),
        locked(tmp_path),
    ):
        pass
    (tmp_path / "lock").write_text(json.dumps({"pid": 999999, "host": socket.gethostname()}))
    with locked(tmp_path):  # left by a dead process
        pass


def test_a_record_is_read_as_it_was_written() -> None:
    written = record("a", valid=0.1 + 0.2)
    assert RunRecord.from_json(written.to_json()).to_json() == written.to_json()
    assert written.row()["method.ether.blocks"] == 4 and "settings" not in written.row()


def test_parquet_types_do_not_depend_on_what_a_study_lacks(tmp_path: Path) -> None:
    """Integers stay integers beside gaps; a column of nulls has the type of its setting: for any reader."""
    import pyarrow.parquet as pq

    tasks = [
        TaskSettings(name="vtab", model="m", data="d", steps=3, batch_size=2, max_length=n) for n in (None, 5)
    ]
    runs = [
        Run(tasks[0], "ether", {"blocks": 4, "renormalise": True}, 1e-3, 0),
        Run(tasks[1], "lora", {"r": 8, "lora_dropout": 0, "init_lora_weights": True}, 1e-3, 1),
        Run(tasks[1], "lora", {"r": 8, "lora_dropout": 0.1, "init_lora_weights": "pissa"}, 1e-3, 1),
    ]
    made = [RunRecord(Identity.of(run, "s"), Outcome("ok"), Circumstances()) for run in runs]
    records.write(tmp_path, "p", made)
    tables.collect(tmp_path, [])
    schema = pq.read_schema(tmp_path / "runs.parquet")
    expected = {
        "method.ether.blocks": "int64", "method.ether.renormalise": "bool", "method.lora.r": "int64",
        "method.lora.lora_dropout": "double", "method.lora.init_lora_weights": "large_string",
        "task.clip": "double", "task.head_lr": "double", "task.max_length": "int64", "task.steps": "int64",
        "task.subset": "large_string", "task.target_modules": "large_string",
        "task.gradient_checkpointing": "bool", "diverged_at": "int64", "task.weight_decay": "double",
    }  # fmt: skip
    assert {name: str(schema.field(name).type).removeprefix("large_").replace("string", "large_string")
            for name in expected} == expected  # fmt: skip
    stored = pd.read_parquet(tmp_path / "runs.parquet").set_index("run_id").loc[[run.run_id for run in runs]]
    assert stored["method.ether.blocks"].tolist() == [4, pd.NA, pd.NA]
    assert stored["method.lora.init_lora_weights"].tolist()[1:] == ["True", "pissa"]
    assert stored["task.clip"].isna().all()


def test_a_value_that_is_not_of_its_settings_type_is_kept_as_it_is() -> None:
    """A version may have known a setting as another type: nothing is cut to fit the type of today."""
    rows = [
        {"run_id": "a", "task.steps": 2.5, "task.clip": 1, "task.gradient_checkpointing": "never",
         "task.seed": 3},
        {"run_id": "b", "task.steps": 3, "task.clip": 0.5, "task.gradient_checkpointing": True},
        {"run_id": "c"},
    ]  # fmt: skip
    runs = tables.tables({"row": row, "history": [], "layers": []} for row in rows)["runs"]
    assert runs["task.steps"].tolist()[:2] == [2.5, 3.0] and math.isnan(runs["task.steps"][2])
    assert runs["task.clip"].tolist()[:2] == [1.0, 0.5]
    assert runs["task.gradient_checkpointing"].tolist()[:2] == ["never", "True"]
    assert str(runs["task.seed"].dtype) == "Int64"

"""Records: whole or absent, first writer wins, damage is set aside, tables follow the schema."""

from __future__ import annotations

import dataclasses
import json
import math
from pathlib import Path

import pandas as pd
import pytest

from study.config.compose import load
from study.errors import UsageError
from study.planning.runs import Pack, best_pack_sizes, by_variant, makespan, plan_packs, plan_runs
from study.storage import records
from study.storage.files import CannotWrite, write_atomically
from study.storage.lock import locked
from study.storage.schema import HISTORY, LAYERS, RECORD_VERSION, RUNS


def record(run_id: str, status: str = "ok", valid: float = 0.5) -> records.Record:
    row = {
        "run_id": run_id, "status": status, "valid": valid, "method": "ether", "lr": 1e-3, "seed": 0,
        "reason": "", "higher_is_better": True, "diverged_at": None, "method.ether.blocks": 4,
        "task.target_modules": ["q", "v"],
    }  # fmt: skip
    point = {"step": 0, "train_loss": math.nan, "valid": valid}
    return {
        "row": row,
        "history": [point],
        "layers": [{"layer": "a", "side": "in", "duplicates": 0}],
    }


def by_id(folder: Path) -> dict[str, records.Record]:
    return {record["row"]["run_id"]: record for record in records.read_all(folder)}


def test_round_trip_keeps_every_bit(tmp_path: Path) -> None:
    value = 0.1 + 0.2
    records.write(tmp_path, "p", [record("a", valid=value), record("b", valid=math.inf)])
    found = by_id(tmp_path)
    assert found["a"]["row"]["valid"] == value and found["b"]["row"]["valid"] == math.inf
    assert math.isnan(found["a"]["history"][0]["train_loss"])


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
    records.set_damaged_aside(tmp_path)
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
    records.set_aside_failures(tmp_path)
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
    failed = records.failed({"run_id": "c", "method": "lora", "lr": 1e-2, "seed": 1}, "out of memory")
    records.write(tmp_path, "p", [record("b"), record("a", "diverged")])
    records.write(tmp_path, "q", [failed])
    made = records.collect(tmp_path, ["a", "b"])
    assert list(made["runs"].run_id) == ["a", "b", "c"]  # the plan's order, then the rest
    for name, schema in (("runs", RUNS), ("history", HISTORY), ("layers", LAYERS)):
        stored = pd.read_parquet(tmp_path / f"{name}.parquet")
        for column, (kind, _) in schema.items():
            expected = "str" if kind == "string" else kind
            assert str(stored[column].dtype) == expected, column
    runs = pd.read_parquet(tmp_path / "runs.parquet").set_index("run_id")
    assert math.isnan(runs.valid["c"]) and runs.status["c"] == "failed"
    assert runs["method.ether.blocks"]["a"] == 4 and runs["task.target_modules"]["a"] == "['q', 'v']"


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


# Plans -------------------------------------------------------------------------------------


def test_the_plan_is_the_whole_grid_once() -> None:
    runs = plan_runs(load("lr_grid", []))
    assert len(runs) == len({run.run_id for run in runs}) == 225
    assert {(r.method, r.lr, r.seed) for r in runs} == {
        (m, lr, s) for m in load("lr_grid", []).methods for lr in load("lr_grid", []).lr for s in range(5)
    }


def test_the_run_id_is_the_configuration() -> None:
    base = plan_runs(load("lr_grid", ["lr=1e-3", "method=ether", "seeds=1"]))[0]
    same = plan_runs(load("lr_grid", ["lr=0.001", "method=lora,ether", "seeds=2", "name=other"]))
    assert base.run_id in {run.run_id for run in same}
    for override in (
        "task.steps=151",
        "method.ether.blocks=8",
        "task.weight_decay=0.1",
        "lr=1.5e-3",
    ):
        changed = plan_runs(load("lr_grid", ["lr=1e-3", "method=ether", "seeds=1", override]))
        assert base.run_id not in {run.run_id for run in changed}, override


def test_a_setting_at_its_default_changes_no_hash() -> None:
    """A setting that is added later must leave the records of before valid."""
    run = plan_runs(load("lr_grid", ["lr=1e-3", "method=ether", "seeds=1"]))[0]
    assert run.task["noise"] == 0.0
    before = {key: value for key, value in run.task.items() if key != "noise"}
    older = dataclasses.replace(run, task=before)
    assert older.run_id == run.run_id and older.variant == run.variant
    noisy = dataclasses.replace(run, task=run.task | {"noise": 0.1})
    assert noisy.run_id != run.run_id and noisy.variant == run.variant


def test_an_axis_of_one_method_leaves_the_others_alone() -> None:
    runs = plan_runs(
        load("lr_grid", ["method=ether,lora", "lr=1e-3", "seeds=1", "method.ether.blocks=1,4,16"])
    )
    assert [r.options.get("blocks") for r in runs if r.method == "ether"] == [1, 4, 16]
    assert sum(r.method == "lora" for r in runs) == 1
    assert len(by_variant(runs)) == 4


def test_packs_cover_the_runs_once_and_never_mix_shapes() -> None:
    runs = plan_runs(
        load("lr_grid", ["method=ether,lora", "task.batch_size=8,16", "task.weight_decay=0,0.1"])
    )
    sizes = {variant: 7 for variant in by_variant(runs)}
    packs = plan_packs(runs, sizes)
    assert sorted(r.run_id for p in packs for r in p.runs) == sorted(r.run_id for r in runs)
    assert max(len(p.runs) for p in packs) <= 7
    for pack in packs:
        assert len({(r.method, r.task["batch_size"]) for r in pack.runs}) == 1
    assert any(len({r.task["weight_decay"] for r in pack.runs}) == 2 for pack in packs)
    assert len({p.pack_id for p in packs}) == len(packs) and Pack(packs[0].runs).pack_id == packs[0].pack_id


def test_more_seeds_keep_the_runs_that_are_there() -> None:
    few, many = (plan_runs(load("lr_grid", [f"seeds={n}"])) for n in (3, 5))
    assert {r.run_id for r in few} < {r.run_id for r in many}


def test_makespan_by_hand() -> None:
    assert makespan([3, 3, 2, 2, 2], 2) == 7
    assert makespan([5], 4) == 5 and makespan([1, 1, 1, 1], 4) == 1


def test_many_workers_get_smaller_packs() -> None:
    runs = plan_runs(load("lr_grid", ["method=ether"]))
    (variant,) = by_variant(runs)
    profile = {
        "pack_size": 45,
        "step_seconds": {"1": 3.0, "5": 1.5, "15": 1.0, "45": 0.9},
        "measure_seconds": 0,
    }
    sizes = [
        best_pack_sizes(by_variant(runs), {variant: profile}, workers)[variant] for workers in (1, 3, 45)
    ]
    assert sizes == [45, 15, 1]


def test_planning_submitting_and_collecting_many_runs(tmp_path: Path) -> None:
    """The benchmark's phases on a small study: every run collected once, files linear in packs."""
    from benchmarks.scale import measure

    found = measure(500, tmp_path)
    assert found["packs"] == 10 and found["files"] <= 3 * 10 + 100

"""A run out of its record, and how a second result stands to the first."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path

import pytest
from support.paths import ROOT

from study.coordination.rerun import ROUNDING, compared, pack_of, recorded, run_of
from study.errors import UsageError
from study.storage import records
from study.storage.rows import RunRecord

OLD = ROOT / "tests" / "golden" / "old"


@pytest.fixture
def record() -> RunRecord:
    run_id = next(iter(records.statuses(OLD / "v4")))
    return recorded(OLD / "v4", run_id)


@pytest.mark.parametrize("version", ["v1", "v2", "v3", "v4"])
def test_a_record_of_any_version_says_which_run_it_is(version: str) -> None:
    found = [RunRecord.from_json(each) for each in records.read_all(OLD / version)]
    assert len(found) == 4
    for record in found:
        assert run_of(record).run_id == record.identity.run_id
        assert run_of(record) in pack_of(OLD / version, record)


def test_a_run_can_be_named_by_how_its_id_begins(record: RunRecord) -> None:
    run_id = record.identity.run_id
    assert recorded(OLD / "v4", run_id[:6]).identity.run_id == run_id
    with pytest.raises(UsageError, match="has no run 'nope'"):
        recorded(OLD / "v4", "nope")
    with pytest.raises(UsageError, match="begins 4 of them"):
        recorded(OLD / "v4", "")


def test_a_run_that_was_pruned_has_no_result_to_repeat(record: RunRecord, tmp_path: Path) -> None:
    records.write(tmp_path, "pack", [changed(record, status="pruned", test=math.nan)])
    run_id, step = record.identity.run_id, record.history[-1].step
    with pytest.raises(
        UsageError, match=f"run {run_id} was pruned at step {step}: it has no result to repeat"
    ):
        recorded(tmp_path, run_id)


def test_a_record_with_settings_that_make_another_run_is_refused(record: RunRecord) -> None:
    identity = dataclasses.replace(record.identity, lr=record.identity.lr * 2)
    with pytest.raises(UsageError, match="settings that this version does not know"):
        run_of(dataclasses.replace(record, identity=identity))


def changed(record: RunRecord, **outcome: object) -> RunRecord:
    return dataclasses.replace(record, outcome=dataclasses.replace(record.outcome, **outcome))


def test_the_same_to_the_bit_to_rounding_and_not(record: RunRecord) -> None:
    same = compared(record, record)
    assert same.ok and same.largest == 0 and same.words.startswith("reproduced bit for bit")
    loss = record.outcome.loss_last
    close = compared(record, changed(record, loss_last=loss * (1 + ROUNDING / 2)))
    assert close.ok and math.isclose(close.largest, ROUNDING / 2, rel_tol=0.01)
    assert close.words.startswith("reproduced to rounding") and "loss_last" in close.words
    for value in (loss * 1.1, math.nan, math.inf):
        far = compared(record, changed(record, loss_last=value))
        assert not far.ok and far.words.startswith("NOT reproduced") and "loss_last" in far.words
    ended = compared(record, changed(record, status="diverged"))
    assert not ended.ok and ended.words.startswith("NOT reproduced: ok then, diverged now")


def test_one_different_point_on_the_way_is_found(record: RunRecord) -> None:
    point = dataclasses.replace(record.history[1], valid_loss=record.history[1].valid_loss + 1)
    history = (record.history[0], point, *record.history[2:])
    found = compared(record, dataclasses.replace(record, history=history))
    assert not found.ok and f"valid_loss at step {point.step}" in found.words


def test_other_versions_are_said(record: RunRecord) -> None:
    versions = record.circumstances.versions.replace("torch ", "torch 9.")
    circumstances = dataclasses.replace(record.circumstances, versions=versions)
    now = changed(dataclasses.replace(record, circumstances=circumstances), loss_last=1.0)
    assert "made with torch" in compared(record, now).words


def test_what_diverged_to_nan_twice_is_the_same(record: RunRecord) -> None:
    diverged = changed(record, status="diverged", loss_last=math.nan)
    assert compared(diverged, diverged).ok

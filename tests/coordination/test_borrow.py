"""Runs that are taken over from another study bring their pictures."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from support.records import generated

from study.coordination.borrow import borrow, borrowable
from study.errors import UsageError
from study.planning.origin import Origin
from study.storage import pictures, records
from study.storage.rows import RunRecord


def made_in(folder: Path) -> list[RunRecord]:
    made = generated.records({"ether": lambda lr, seed: 0.5}, [1e-3, 1e-2], 1)
    generated.write(folder, made)
    return [RunRecord.from_json(record) for record in made]


def test_pictures_come_with_their_runs(tmp_path: Path) -> None:
    finished = made_in(tmp_path / "there")
    borrow(tmp_path / "here", {tmp_path / "there": finished})
    assert len(records.statuses(tmp_path / "here")) == 2
    for record in finished:
        run_id = record.identity.run_id
        ours, theirs = (pictures.read(tmp_path / at, run_id, record.pictures) for at in ("here", "there"))
        np.testing.assert_array_equal(ours["generated"], theirs["generated"])


def test_a_run_that_was_pruned_or_failed_is_not_taken_over(tmp_path: Path) -> None:
    """It would stand in a grid as if it had ended."""
    made = made_in(tmp_path / "source")
    origins = {record.identity.run_id: Origin.of_row(record.row()) for record in made}
    for status, count in (("ok", 2), ("diverged", 2), ("pruned", 0), ("failed", 0)):
        outcomes = [dataclasses.replace(record.outcome, status=status) for record in made]
        changed = [dataclasses.replace(r, outcome=o) for r, o in zip(made, outcomes, strict=True)]
        there = tmp_path / status / "there"
        records.write(there, "pack", changed)
        found = borrowable(tmp_path / "here", there.parent, origins, mixed_versions=True)
        assert sum(map(len, found.values())) == count


def test_a_run_whose_pictures_are_gone_is_not_taken_over(tmp_path: Path) -> None:
    finished = made_in(tmp_path / "there")
    pictures.path_of(tmp_path / "there", finished[1].identity.run_id).unlink()
    with pytest.raises(UsageError, match="the run's pictures cannot be read"):
        borrow(tmp_path / "here", {tmp_path / "there": finished})
    assert not records.statuses(tmp_path / "here")

"""Nothing measurable changes: identities of runs and packs, tables, and what older versions wrote stay."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
from golden import sweeps

from analysis.references.studies import commands
from study import tasks
from study.coordination.plan_file import read_plan
from study.planning.origin import Origin
from study.storage import records, schema
from study.storage.tables import tables as tables_of
from study.tasks.loading.fingerprint import data_fingerprint, model_fingerprint

FOLDER = Path(__file__).parent
PLANS = json.loads(sweeps.PLANS.read_text())

OF_VERSION_4 = "examples:3545d8c35637da2e", "sha256:07a1f2d2e2b29eac"
"""Fingerprints of the data and the model in `old/v4` and later."""

CLOSE = 1e-3
"""Difference, relative or absolute, that is borne on a machine whose arithmetic gives other bits."""

CLOSE_SCORE = 2 / 300
"""Of an accuracy: two of the examples in the smallest split may be on the edge between two classes."""


@pytest.fixture(scope="module")
def plans() -> dict[str, Any]:
    return sweeps.plans()


@pytest.mark.parametrize("command", sweeps.COMMANDS)
def test_a_sweep_plans_the_runs_and_packs_that_it_always_did(command: str, plans: dict[str, Any]) -> None:
    assert plans[command] == PLANS[command]


@pytest.mark.parametrize("path", sorted(sweeps.ROOT.glob("results/reference/*/plan.json")), ids=str)
def test_the_reference_studies_are_what_their_commands_plan(path: Path) -> None:
    """The run_ids in the committed tables are those that the same command plans today."""
    import pandas as pd

    plan = read_plan(path.parent)
    assert plan is not None
    planned = plan.run_ids
    assert planned == set(pd.read_parquet(path.parent / "runs.parquet")["run_id"])
    name, *overrides = commands()[path.parent.name]
    assert planned == {run.run_id for run in sweeps.plan_runs(sweeps.config.load(name, overrides))}


@pytest.mark.slow
@pytest.mark.parametrize("study", sweeps.STUDIES)
def test_a_small_study_ends_with_the_tables_that_it_always_did(study: str, tmp_path: Path) -> None:
    """Bit for bit where the machine computes the same bits as the one that froze them, else closely."""
    frozen = json.loads((FOLDER / f"{study}.json").read_text())
    assert frozen["arguments"] == sweeps.STUDIES[study]
    tables = sweeps.content(sweeps.train(frozen["arguments"], tmp_path))
    same_bits = frozen["arithmetic"] == sweeps.arithmetic()
    print("compared bit for bit" if same_bits else f"other arithmetic here: compared to {CLOSE}")
    for name, expected in frozen["tables"].items():
        assert list(tables[name]) == list(expected), f"columns of {name}, or their order"
        for column, values in expected.items():
            assert len(tables[name][column]) == len(values)
            close = CLOSE_SCORE if column in ("valid", "test") else CLOSE
            for row, (value, before) in enumerate(zip(tables[name][column], values, strict=True)):
                where = f"{name}.{column}, row {row}: {value!r}, was {before!r}"
                if same_bits or not isinstance(before, float) or not isinstance(value, float):
                    assert value == before, where
                else:
                    assert math.isclose(value, before, rel_tol=CLOSE, abs_tol=close), where


def test_the_columns_are_only_added_to() -> None:
    frozen = json.loads((FOLDER / "columns.json").read_text())
    for name, columns in frozen.items():
        assert list(schema.TABLES[name])[: len(columns)] == columns, "add columns at the end, never rename"


@pytest.mark.parametrize("version", ["v1", "v2", "v3", "v4", "v5"])
def test_records_and_plans_of_older_versions_are_read(version: str) -> None:
    """`old/` holds one study as versions 1 to 5 of the record format wrote it, and the tables that it has."""
    folder = FOLDER / "old" / version
    frozen = json.loads((FOLDER / "old" / "tables.json").read_text())
    assert records.statuses(folder) == dict(
        zip(frozen["runs"]["run_id"], frozen["runs"]["status"], strict=True)
    )
    made = tables_of(records.read_all(folder))
    for name, columns in frozen.items():
        table = made[name].set_index("run_id").loc[list(dict.fromkeys(columns["run_id"]))].reset_index()
        plain = sweeps._plain(table)
        for column in columns:
            if column not in plain:  # a setting that is newer than the version
                assert column.startswith("task.") and set(columns[column]) <= {None, "[]"}
                continue
            assert plain[column] == columns[column], (name, column)
    plan = read_plan(folder)
    assert plan is not None
    assert [len(pack.run_ids) for pack in plan.packs] == [2, 2]
    assert {pack.title == "?" for pack in plan.packs} == {version == "v1"}
    assert plan.profiles.keys() == {run.variant for run in sweeps.plan_runs(plan.settings)}
    origins = {Origin.of_row(record["row"]) for record in records.read_all(folder)}
    known = {(origin.fingerprints.data, origin.fingerprints.model) for origin in origins}
    assert known == {OF_VERSION_4 if version >= "v4" else ("", "")}
    assert set(plan.origins) == (origins if version >= "v4" else set())


def test_the_data_and_the_model_that_ship_are_what_they_were() -> None:
    task = tasks.load(sweeps.config.load("lr_grid", ["task=glue"]).task)
    assert (data_fingerprint(task), model_fingerprint(task)) == OF_VERSION_4

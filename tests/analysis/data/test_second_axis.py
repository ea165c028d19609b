"""Which setting is the second axis of a study, and what its values are as numbers."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
from support.records import synthetic
from support.records.synthetic import FLAT

from analysis.data.labels import label_runs
from analysis.data.second_axis import second_axes
from study.storage.tables import tables


def runs(
    *settings: dict[str, object], method: str = "ether", lrs: tuple[float, ...] = (1e-3, 1e-2)
) -> pd.DataFrame:
    """Runs at two rates for each of the settings."""
    made = []
    for index, columns in enumerate(settings):
        of_setting = synthetic.records({method: FLAT}, list(lrs), 1, **columns)
        for record in of_setting:
            record["row"]["run_id"] += f"-{index}"
            for step in record["history"]:
                step["run_id"] = record["row"]["run_id"]
        made += of_setting
    return label_runs(tables(made)["runs"])


def test_a_grid_of_rates_alone_has_none() -> None:
    assert second_axes(runs({})) == []
    assert second_axes(runs({"task.steps": 1}, {"task.steps": 2}, lrs=(1e-2,))) == []
    untrained = runs({"task.noise": 0.1}, {"task.noise": 1.0}).assign(steps=0)
    assert second_axes(untrained) == []


def test_values_are_in_the_order_of_numbers_whatever_the_texts() -> None:
    (axis,) = second_axes(runs(*({"method.ether.blocks": n} for n in (16, 4, 1))))
    assert (axis.method, axis.name, axis.others) == ("ether", "blocks", "")
    assert axis.rows == ["1", "4", "16"]


@pytest.mark.parametrize("folder", ["shipped-", "/models/vit-"])
def test_a_number_at_the_end_of_a_name_is_one(folder: str) -> None:
    (axis,) = second_axes(runs(*({"task.model": f"{folder}width{n}"} for n in (128, 16, 32))))
    assert axis.name == "model" and sorted(axis.runs["axis_value"].unique()) == [16, 32, 128]
    assert axis.rows[0].endswith("width16")


def test_names_that_differ_before_the_number_are_no_axis() -> None:
    assert second_axes(runs({"task.model": "vit16"}, {"task.model": "swin32"})) == []
    assert second_axes(runs({"task.renormalise": False}, {"task.renormalise": True})) == []


def test_what_follows_from_the_axis_is_no_other_axis() -> None:
    (axis,) = second_axes(runs(*({"task.steps": n, "task.warmup_steps": n // 10} for n in (50, 100, 200))))
    assert axis.name == "steps" and axis.rows == ["50", "100", "200"]


def test_each_combination_of_other_settings_is_a_panel_of_its_own() -> None:
    settings = [{"task.steps": n, "task.clip": clip} for n in (50, 100, 200) for clip in (1.0, 2.0)]
    axes = second_axes(runs(*settings))
    assert [axis.others for axis in axes] == ["clip=1", "clip=2"] and {axis.name for axis in axes} == {
        "steps"
    }
    assert all(len(axis.runs) == 6 for axis in axes)


def test_a_missing_value_has_a_row_and_no_number() -> None:
    (axis,) = second_axes(runs({"task.clip": None}, {"task.clip": 1.0}, {"task.clip": 2.0}))
    assert axis.rows == ["1", "2", "none"]
    assert math.isnan(axis.runs.loc[axis.runs["axis_text"] == "none", "axis_value"].iloc[0])
    assert np.isfinite(axis.runs["axis_value"]).sum() == 4

"""What stands beside each setting: help, bounds, and whether runs of one pack may differ in it."""

from __future__ import annotations

import dataclasses

import pytest
from omegaconf import OmegaConf

from study.config.names import _keys
from study.settings import (
    LauncherSettings,
    SweepSettings,
    TaskSettings,
    about,
    per_run_settings,
    settings_by_key,
)


def test_every_setting_is_described() -> None:
    config = OmegaConf.structured(SweepSettings)
    assert set(settings_by_key()) == set(_keys(config)) | {"launcher.additional_parameters"}
    assert all(each.help for each in settings_by_key().values())


def test_what_may_differ_within_a_pack() -> None:
    """Optimisers take these per run; the base model, the batch and the schedule are a pack's."""
    assert per_run_settings() == ("weight_decay", "noise")


@pytest.mark.parametrize("group", [TaskSettings, LauncherSettings])
def test_defaults_keep_their_bounds(group: type[TaskSettings] | type[LauncherSettings]) -> None:
    for field in dataclasses.fields(group):
        bounds, default = about(field), field.default
        if bounds.choices:
            assert default is None or default in bounds.choices
        if isinstance(default, int | float):
            assert bounds.above is None or default > bounds.above
            assert bounds.at_least is None or default >= bounds.at_least

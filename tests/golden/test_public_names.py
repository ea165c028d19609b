"""What users and documents import stays importable under its name."""

from __future__ import annotations

import importlib

import pytest

NAMES = [
    "study.sweep:main",
    "study.compare:main",
    "study.status:main",
    "study.evaluate:main",
    "study.rerun:main",
    "study.__main__:main",
    "study.methods.ether:EtherConfig",
    "study.methods.ether_plus:EtherPlusConfig",
    "study.methods.oft:OftConfig",
    "study.methods.naive:NaiveConfig",
    "study.methods.multiplicative:MultiplicativeConfig",
    "study.methods.multiplicative:MultiplicativeLayer",
    "study.methods.multiplicative:Parameters",
    "study.methods.multiplicative:block_width",
    "study.methods.multiplicative:register",
    "study.methods.multiplicative:to_blocks",
    "study.methods:config",
    "study.methods:names",
    "study.methods:options",
    "study.tasks:Task",
    "study.tasks:Batch",
    "study.tasks:SPLITS",
    "study.tasks:load",
    "study.tasks:names",
    "study.config:TaskSettings",
    "study.config:SweepSettings",
    "study.config:LauncherSettings",
    "study.config:load",
    "study.schema:RUNS",
    "study.schema:HISTORY",
    "study.schema:LAYERS",
    "study.schema:TABLES",
    "study.schema:RECORD_VERSION",
    "analysis.report:draw",
    "analysis.compare:draw",
    "analysis.paper:__doc__",
    "analysis.table:load",
    "analysis.table:Study",
]


@pytest.mark.parametrize("name", NAMES)
def test_a_public_name_is_there(name: str) -> None:
    module, _, attribute = name.partition(":")
    assert getattr(importlib.import_module(module), attribute) is not None

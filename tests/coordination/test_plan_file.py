"""plan.json: an interrupted study goes on with the packs that it began with."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.records.profiles import profile_of

from study import config
from study.coordination import coordinator
from study.coordination.plan_file import DamagedPlan, read_plan, write_plan
from study.launchers import Capacity
from study.planning.packs import plan_packs
from study.planning.rungs import Round
from study.planning.runs import group_by_variant, plan_runs


def test_a_study_is_planned_anew_for_another_budget_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = config.load("lr_grid", ["method=ether", "launcher.gpu_memory_gb=80"])
    runs = plan_runs(settings)
    (variant,) = group_by_variant(runs)

    def packs(pack_size: int) -> list[int]:
        measured = {variant: profile_of(pack_size, {pack_size: 1.0})}
        monkeypatch.setattr(coordinator.profiles, "probe_missing", lambda *_: measured)
        planned, profiles = coordinator._plan(tmp_path, settings, Round(runs), None, Capacity(1, 1))
        write_plan(tmp_path, settings, planned, profiles, 1)
        return [len(pack.runs) for pack in planned]

    assert packs(9) == [9] * 5
    assert packs(3) == [9] * 5  # as it was begun, whatever is measured now
    settings.launcher.gpu_memory_gb = 8
    assert packs(3) == [3] * 15


def test_a_plan_is_read_as_it_was_written(tmp_path: Path) -> None:
    settings = config.load("lr_grid", ["method=ether", "task.noise=0,0.1", "seeds=2"])
    runs = plan_runs(settings)
    (variant,) = group_by_variant(runs)
    profiles = {variant: profile_of(5, {1: 1.0, 5: 0.5})}
    packs = plan_packs(runs, {variant: 5})
    write_plan(tmp_path, settings, packs, profiles, workers=3)
    plan = read_plan(tmp_path)
    assert plan is not None and plan.settings == settings and plan.profiles == profiles and plan.workers == 3
    assert [pack.pack_id for pack in plan.packs] == [pack.pack_id for pack in packs]
    assert [pack.seconds for pack in plan.packs] == [pack.seconds(profiles) for pack in packs]
    done = set(plan.packs[0].run_ids[:2])
    left = plan.packs[0].without(done)
    assert left and left.pack_id == packs[0].without(done).pack_id  # type: ignore[union-attr]
    assert plan.packs[0].without(plan.run_ids) is None


@pytest.mark.parametrize(
    "content", ["", "[]", "{}", '{"record_version": 1}', '{"record_version": 1, "packs": 3}']
)
def test_a_damaged_plan_is_noticed(content: str, tmp_path: Path) -> None:
    (tmp_path / "plan.json").write_text(content)
    with pytest.raises(DamagedPlan, match="plan.json is damaged"):
        read_plan(tmp_path)

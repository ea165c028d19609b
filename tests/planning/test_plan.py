"""Plans: the grid, once; packs that never mix shapes; what they cost, by hand."""

from __future__ import annotations

import dataclasses
from types import SimpleNamespace

import pytest
from support.records.profiles import profile_of

from study.config import load
from study.errors import UsageError
from study.planning.costs import makespan, sizes_that_fit, step_seconds
from study.planning.packs import Pack, best_pack_sizes, pack_sizes, plan_packs
from study.planning.profile import BYTES_PER_NUMBER, BYTES_STANDING, Footprint, Profile, RunMapping
from study.planning.runs import canonical, digest, group_by_variant, plan_runs

MB = 2**20


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
    assert run.task.noise == 0.0
    before = {key: value for key, value in vars(run.task).items() if key != "noise"}
    older = digest([canonical(SimpleNamespace(**before)), run.method, run.options, run.lr, run.seed])
    assert older == run.run_id
    noisy = dataclasses.replace(run, task=dataclasses.replace(run.task, noise=0.1))
    assert noisy.run_id != run.run_id and noisy.variant == run.variant


def test_an_axis_of_one_method_leaves_the_others_alone() -> None:
    runs = plan_runs(
        load("lr_grid", ["method=ether,lora", "lr=1e-3", "seeds=1", "method.ether.blocks=1,4,16"])
    )
    assert [r.options.get("blocks") for r in runs if r.method == "ether"] == [1, 4, 16]
    assert sum(r.method == "lora" for r in runs) == 1
    assert len(group_by_variant(runs)) == 4


def test_packs_cover_the_runs_once_and_never_mix_shapes() -> None:
    runs = plan_runs(
        load("lr_grid", ["method=ether,lora", "task.batch_size=8,16", "task.weight_decay=0,0.1"])
    )
    sizes = {variant: 7 for variant in group_by_variant(runs)}
    packs = plan_packs(runs, sizes)
    assert sorted(r.run_id for p in packs for r in p.runs) == sorted(r.run_id for r in runs)
    assert max(len(p.runs) for p in packs) <= 7
    for pack in packs:
        assert len({(r.method, r.task.batch_size) for r in pack.runs}) == 1
    assert any(len({r.task.weight_decay for r in pack.runs}) == 2 for pack in packs)
    assert len({p.pack_id for p in packs}) == len(packs) and Pack(packs[0].runs).pack_id == packs[0].pack_id


def test_more_seeds_keep_the_runs_that_are_there() -> None:
    few, many = (plan_runs(load("lr_grid", [f"seeds={n}"])) for n in (3, 5))
    assert {r.run_id for r in few} < {r.run_id for r in many}


def test_makespan_by_hand() -> None:
    assert makespan([3, 3, 2, 2, 2], 2) == 7
    assert makespan([5], 4) == 5 and makespan([1, 1, 1, 1], 4) == 1


def test_many_workers_get_smaller_packs() -> None:
    runs = plan_runs(load("lr_grid", ["method=ether"]))
    (variant,) = group_by_variant(runs)
    profile = profile_of(45, {1: 3.0, 5: 1.5, 15: 1.0, 45: 0.9})
    sizes = [
        best_pack_sizes(group_by_variant(runs), {variant: profile}, workers)[variant]
        for workers in (1, 3, 45)
    ]
    assert sizes == [45, 15, 1]


def test_the_largest_pack_in_a_budget_by_hand() -> None:
    footprint = Footprint(MB, MB, weights_mb=10_000.0, fixed_mb=100.0, run_mb=988.0)
    assert footprint.pack_mb(3) == 10_000 + 100 + 3 * (988 + BYTES_PER_NUMBER) + BYTES_STANDING
    budget = (14_104 / 0.95 + 1024) / 1024  # room for four runs of 1,000 MB, after what is reserved
    assert sizes_that_fit([1, 2, 4, 5, 9], footprint, budget + 1e-6) == [1, 2, 4]
    assert sizes_that_fit([1, 9], footprint, None) == [1, 9]
    with pytest.raises(
        UsageError, match="gpu_memory_gb=8: a pack of 1 needs about 12.41; try task.gradient_che"
    ):
        sizes_that_fit([1, 2], footprint, 8)


def test_profiles_of_every_version_are_read() -> None:
    profile = profile_of(3, {1: 0.5, 3: 0.25}, 0.125)
    assert Profile.from_json(profile.to_json()) == profile
    first_version = {"unpackable": "", "pack_size": 9, "step_seconds": {"9": 1.0}, "measure_seconds": 2.0,
                     "parameters": 7}  # fmt: skip
    old = Profile.from_json(first_version)
    assert old.step_seconds == {9: 1.0} and old.footprint.parameters == 7 and old.footprint.run_mb is None
    with pytest.raises(ValueError, match="does not say"):
        old.footprint.pack_mb(1)


def test_pack_sizes_cut_into_equal_packs() -> None:
    assert pack_sizes(1) == [1]
    assert pack_sizes(45)[0] == 1 and pack_sizes(45)[-1] == 45
    for size in pack_sizes(45):
        packs = -(-45 // size)
        assert -(-45 // packs) == size


def test_sizes_that_were_not_timed_cost_what_lies_between() -> None:
    profile = Profile(
        "",
        RunMapping.LAYERS,
        16,
        {1: 4.0, 4: 2.0, 16: 1.0},
        0.1,
        activation_mb=0.0,
        footprint=Footprint(0, 0),
    )
    assert [step_seconds(profile, size) for size in (1, 2, 4, 8, 16, 99)] == [4.0, 3.0, 2.0, 1.5, 1.0, 1.0]


def test_packs_are_spread_over_workers_in_sizes_that_were_not_timed() -> None:
    """A probe times few sizes; with a worker for each pack, smaller ones than those are planned."""
    settings = load("lr_grid", ["method=ether"])
    groups = group_by_variant(plan_runs(settings))
    (variant,) = groups
    footprint = Footprint(0, 0)
    timed = Profile("", RunMapping.LAYERS, 45, {1: 1.4, 28: 1.0, 45: 1.0}, 0.0, 0.0, footprint)
    asked = Profile("", RunMapping.LAYERS, 28, {28: 1.0}, 0.0, 0.0, footprint)
    assert best_pack_sizes(groups, {variant: timed}, workers=1) == {variant: 45}
    assert best_pack_sizes(groups, {variant: timed}, workers=45) == {variant: 1}
    assert best_pack_sizes(groups, {variant: asked}, workers=45) == {variant: 28}


def test_packs_of_runs_that_are_not_trained_take_the_time_of_their_evaluation() -> None:
    runs = plan_runs(load("perturbation", ["method=ether", "seeds=2"]))
    (variant,) = {run.variant for run in runs}
    profiles = {variant: profile_of(4, {1: 1.0, 4: 1.0}, 0.5)}
    assert all(run.task.steps == 0 for run in runs)
    assert best_pack_sizes(group_by_variant(runs), profiles, workers=1)[variant] > 0
    assert Pack(tuple(runs[:4])).seconds(profiles) > 0

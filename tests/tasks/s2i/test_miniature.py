"""The miniature: portraits that follow their part maps, with an encoder per run beside the adapter."""

from __future__ import annotations

import dataclasses
from contextlib import closing
from pathlib import Path

import pandas as pd
import pytest
import torch
from support.sweeps_under_test import Command

from study import config, tasks
from study.planning.profile import RunMapping
from study.planning.runs import Run, plan_runs
from study.settings import SweepSettings
from study.tasks.diffusion.portrait_scenes import SHIFTED, UPRIGHT, portrait_scenes
from study.tasks.s2i import S2i
from study.training.adaptation import peft_config
from study.training.frozen_base import BaseSeal
from study.training.hyperparameters import Hyperparameters
from study.training.pack_state import of_runs
from study.training.passes import base_model, evaluate, evaluate_runs
from study.training.probe import find_mapping
from study.training.train import Training

CPU = torch.device("cpu")


def run_of(sweep: SweepSettings, method: str) -> Run:
    return next(run for run in plan_runs(sweep) if run.method == method)


def in_training(task: S2i, sweep: SweepSettings, method: str, runs: list[Hyperparameters]) -> Training:
    model = base_model(task, CPU)
    return Training(task, model, peft_config(run_of(sweep, method), task, model), runs)


def test_shifted_portraits_are_turned_and_inverted_with_their_maps() -> None:
    upright, shifted = portrait_scenes(UPRIGHT)["test"], portrait_scenes(SHIFTED)["test"]
    rows = range(len(upright))
    back = -shifted.pictures(rows).rot90(-1, dims=(2, 3))
    torch.testing.assert_close(back, upright.pictures(rows))
    assert torch.equal(shifted.maps(rows).rot90(-1, dims=(1, 2)), upright.maps(rows))
    assert upright.captions == shifted.captions


def test_noise_and_times_of_training_are_the_seeds_and_the_steps(mini: S2i) -> None:
    one = mini.batch(3, 5)
    for name, value in mini.batch(3, 5).items():
        assert torch.equal(value, one[name]), name
    for seed, step in ((3, 6), (4, 5)):
        other = mini.batch(seed, step)
        assert not torch.equal(other["noise"], one["noise"]) and not torch.equal(other["times"], one["times"])


def test_noise_of_validation_is_fixed_and_its_times_are_spread_evenly(mini: S2i) -> None:
    """Whatever the batches. Each eighth of the range of times has an eighth of the examples."""
    whole = mini.examples("valid", torch.arange(mini.size("valid")))
    parts = mini.collate(list(mini.batches("valid")))
    assert all(torch.equal(whole[name], parts[name]) for name in whole)
    steps = mini.pipeline.scheduler.config.num_train_timesteps
    counts = (whole["times"] * 8 // steps).bincount(minlength=8)
    assert counts.min() >= len(whole["times"]) // 8 - 1 and counts.max() <= len(whole["times"]) // 8 + 1
    others = mini.examples("test", torch.arange(mini.size("valid")))
    assert not torch.equal(others["noise"], whole["noise"])


@torch.no_grad()
def test_the_untouched_model_does_not_know_its_control_map(mini: S2i) -> None:
    model = base_model(mini, CPU).eval()
    batch = mini.examples("test", torch.arange(4))
    other = batch | {"maps": batch["maps"].flip(0)}
    torch.testing.assert_close(mini.sample(model, batch), mini.sample(model, other))
    torch.nn.init.normal_(model.control_encoder.conv_out.weight)  # type: ignore[union-attr]
    assert not torch.allclose(mini.sample(model, batch), mini.sample(model, other))


@pytest.mark.parametrize("method", ["ether", "ether_plus", "lora", "oft", "naive"])
def test_runs_train_together_by_layers_as_alone(mini: S2i, sweep: SweepSettings, method: str) -> None:
    """Gradients of adapters and encoders, in training mode."""
    model = base_model(mini, CPU)
    assert find_mapping(mini, model, peft_config(run_of(sweep, method), mini, model)) == (
        RunMapping.LAYERS,
        "",
    )


def test_a_pack_samples_for_each_run_what_it_samples_alone(mini: S2i, sweep: SweepSettings) -> None:
    runs = [Hyperparameters(lr, seed, mini.settings) for seed, lr in ((0, 1e-2), (1, 1e-1))]
    with closing(in_training(mini, sweep, "ether_plus", runs)) as together:
        for _ in range(2):
            together.train_step()
        flat = together.flat()
        of_both = evaluate_runs(mini, together.packed, flat, "valid")
    for row, run in enumerate(runs):
        with closing(in_training(mini, sweep, "ether_plus", [run])) as alone:
            (scores,) = evaluate_runs(mini, alone.packed, flat[row : row + 1], "valid")
        assert scores.loss == pytest.approx(of_both[row].loss, rel=1e-4)
        assert scores.primary == pytest.approx(of_both[row].primary, abs=2e-3)


def test_the_encoder_trains_at_its_own_rate(mini: S2i, sweep: SweepSettings) -> None:
    """An adapter that is held still leaves the encoder to do it alone."""
    with closing(in_training(mini, sweep, "lora", [Hyperparameters(1e-12, 0, mini.settings)])) as training:
        before = training.flat()
        training.train_step()
        moved = (training.flat() - before).abs()[0]
    heads = sum(slot.size for slot in training.packed.slots if slot.head)
    assert heads == sum(p.numel() for p in base_model(mini, CPU).control_encoder.parameters())  # type: ignore[union-attr]
    assert moved[:-heads].max() < 1e-10
    assert moved[-heads:].max() == pytest.approx(mini.settings.head_lr, rel=1e-2)  # Adam's first step


def test_training_goes_on_bit_for_bit(mini: S2i, sweep: SweepSettings) -> None:
    runs = [Hyperparameters(1e-2, seed, mini.settings) for seed in range(2)]
    with closing(in_training(mini, sweep, "ether", runs)) as first:
        first.train_step()
        tensors, facts = first.state()
        state = {name: value.clone() for name, value in tensors.items()}, facts
        first.train_step()
        expected = first.flat()
    with closing(in_training(mini, sweep, "ether", runs)) as second:
        second.restore(of_runs((state[0], facts | {"measured": {}}), [0, 1]))
        second.train_step()
        assert torch.equal(second.flat(), expected)


def test_gradient_checkpointing_changes_nothing(mini: S2i, sweep: SweepSettings) -> None:
    runs = [Hyperparameters(1e-2, seed, mini.settings) for seed in range(2)]
    with closing(in_training(mini, sweep, "lora", runs)) as plain:
        plain.train_step()
        expected = plain.flat()
    settings = dataclasses.replace(mini.settings, gradient_checkpointing=True)
    with closing(in_training(S2i(settings), sweep, "lora", runs)) as checkpointed:
        checkpointed.train_step()
        torch.testing.assert_close(checkpointed.flat(), expected, rtol=1e-4, atol=1e-6)


def test_real_portraits_are_the_upper_bound(mini: S2i) -> None:
    scores = evaluate(mini, base_model(mini, CPU), "test")
    assert scores.further["real_mean_iou"] > 0.95
    assert mini.chance < scores.primary < 0.6


def test_what_reaches_nothing_is_refused() -> None:
    from study.errors import UsageError

    with pytest.raises(UsageError, match=r"task\.segmenter=x reaches nothing"):
        tasks.load(config.load("lr_grid", ["task=s2i", "task.segmenter=x"]).task)
    with pytest.raises(UsageError, match=r"task\.model=shipped: it knows portraits"):
        tasks.load(config.load("lr_grid", ["task=s2i", "task.data=pictures/mine"]).task)


TUNERS = {
    "hra": {},
    "boft": {},
    "vera": {},
    "ia3": {},
    "loha": {},
    "lora": {"r": 4, "use_dora": True},
}


@pytest.mark.parametrize("method", TUNERS)
def test_tuners_of_peft_train_together_as_alone(mini: S2i, sweep: SweepSettings, method: str) -> None:
    """With an encoder per run, whose convolutions they must neither adapt nor change."""
    run = dataclasses.replace(run_of(sweep, "ether"), method=method, options=TUNERS[method])
    model = base_model(mini, CPU)
    seal = BaseSeal(model)
    mapping, _ = find_mapping(mini, model, peft_config(run, mini, model))
    assert mapping is (RunMapping.LOOPS if method == "loha" else RunMapping.LAYERS)
    seal.check()


@pytest.mark.slow
def test_a_comparison_ends_with_its_verdict(study_command: Command, tmp_path: Path) -> None:
    grid = ["seeds=3", "lr=1e-2", "task.steps=2", "task.evaluations=1", "task.sampling_steps=1"]
    done = study_command("study.compare", "peft:HRA", "task=s2i", *grid, "pack_size=6")
    assert done.returncode == 0, done.stdout + done.stderr
    verdicts = pd.read_csv(tmp_path / "results/compare/hra/verdicts.csv")
    assert verdicts.about.tolist() == ["score", "robustness", "cost"]
    assert verdicts.sentence[0].startswith(("HRA", "No difference"))
    assert "mean_iou" in (tmp_path / "results/compare/hra/report.html").read_text()

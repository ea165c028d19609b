"""Packed training against a plain loop over a plain `peft` model, and runs' independence."""

from __future__ import annotations

import dataclasses
import math
import re

import pytest
import torch
from peft import get_peft_model
from support.base_scores import untouched

from study import methods, tasks
from study.config.compose import SweepSettings, load
from study.planning.profile import RunMapping
from study.settings import TaskSettings
from study.tasks import Task
from study.training.hyperparameters import Hyperparameters
from study.training.outcome import Measurements
from study.training.packing import pack
from study.training.passes import evaluate_runs
from study.training.probe import profile, why_unpackable
from study.training.schedule import learning_rate_share
from study.training.train import Training, train

PACKED = [
    "ether",
    "ether_plus",
    "oft",
    "naive",
    "lora",
    "hra",
    "boft",
    "vera",
    "delora",
    "road",
    "miss",
]
IN_LOOPS = ["peft:oft", "loha", "lokr", "fourierft"]
BASE = untouched(0.1)
RUNS = [
    Hyperparameters(1e-3, 0),
    Hyperparameters(1e-2, 1, TaskSettings(weight_decay=0.1)),
    Hyperparameters(3e-3, 0),
]


def config_of(method: str, task: Task, options: dict | None = None) -> object:
    return methods.config(method, options or {}, task.settings.target_modules)


def plain_losses(task: Task, method: str, run: Hyperparameters, steps: int) -> list[float]:
    """The same run by an ordinary training loop that knows nothing of packs."""
    torch.manual_seed(run.seed)
    model = get_peft_model(task.model(), config_of(method, task))
    trained = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=run.lr, weight_decay=run.settings.weight_decay)
    losses = []
    for step in range(steps):
        share = learning_rate_share(step, task.settings.steps, task.settings.warmup_steps)
        optimizer.param_groups[0]["lr"] = run.lr * share
        batch = task.batch(run.seed, step)
        loss = task.losses(task.forward(model.base_model.model, batch), batch).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


def packed_losses(task: Task, method: str, runs: list[Hyperparameters], steps: int) -> torch.Tensor:
    """(steps, runs)"""
    training = Training(task, task.model(), config_of(method, task), runs)
    losses = [training.train_step().double() for _ in range(steps)]
    training.close()
    return torch.stack(losses)


@pytest.fixture(scope="module")
def task() -> Task:
    return tasks.load(load("lr_grid", ["task.steps=6", "task.warmup_steps=2"]).task)


@pytest.mark.parametrize("method", PACKED)
def test_runs_packed_are_the_runs_of_a_plain_loop(method: str, task: Task) -> None:
    """Tolerance: 1e-4 relative in the loss over six steps (float32 sums in another order)."""
    assert why_unpackable(task, task.model(), config_of(method, task)) == ""
    together = packed_losses(task, method, RUNS, 6)
    for index, run in enumerate(RUNS):
        expected = torch.tensor(plain_losses(task, method, run, 6), dtype=torch.float64)
        torch.testing.assert_close(together[:, index], expected, rtol=1e-4, atol=1e-5)
        alone = packed_losses(task, method, [run], 6)[:, 0]
        torch.testing.assert_close(alone, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("method", IN_LOOPS)
def test_what_vmap_cannot_map_is_found_out_and_computed_in_loops(method: str, task: Task) -> None:
    """`docs/tuners.md` has every tuner; here is that the probe says so."""
    costs = profile(task, task.model(), config_of(method, task), runs=4, pack_size=None)
    assert not costs.unpackable and costs.mapping is RunMapping.LOOPS


def test_what_cannot_pack_is_found_out_and_trains_alone(task: Task) -> None:
    """A model that asks a random number whether to skip a layer decides for all runs at once."""
    model = SkipsLayers(task.model())
    costs = profile(task, model, config_of("lora", task), runs=4, pack_size=None)
    assert "once for all runs" in costs.unpackable and costs.pack_size == 1


class SkipsLayers(torch.nn.Module):
    def __init__(self, model: torch.nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, pixel_values: torch.Tensor) -> object:
        skip = self.training and bool(torch.rand([]) < 0.5)
        return self.model(pixel_values=pixel_values * (0.5 if skip else 1.0))


@pytest.mark.parametrize("method", ["ether", "lora", "oft"])
def test_a_run_that_goes_to_nan_changes_nothing_in_its_neighbours(method: str, task: Task) -> None:
    def outcome(poison: bool) -> tuple[Training, list[torch.Tensor]]:
        training = Training(task, task.model(), config_of(method, task), RUNS)
        for step in range(6):
            if poison and step == 2:
                training.parameters.adapters[1].data[:] = math.nan
            training.train_step()
        training.close()
        return training, [row.detach().clone() for row in training.parameters.adapters]

    healthy, expected = outcome(poison=False)
    poisoned, got = outcome(poison=True)
    assert not healthy.diverged
    assert poisoned.diverged.keys() == {1}
    assert re.fullmatch("(loss|gradient) not finite in step 2", poisoned.diverged[1][1])
    for run in (0, 2):
        assert torch.equal(expected[run], got[run])
    assert torch.isnan(got[1]).any()


def test_a_diverged_run_keeps_the_parameters_it_had(task: Task) -> None:
    training = Training(task, task.model(), config_of("naive", task), [Hyperparameters(1e30, 0), RUNS[0]])
    for _ in range(6):
        training.train_step()
    step, reason = training.diverged[0]
    assert "not finite" in reason and step < 6
    frozen = training.parameters.adapters[0].detach().clone()
    training.train_step()
    assert torch.equal(frozen, training.parameters.adapters[0])
    assert torch.isfinite(frozen).all()  # the update that would have broken it was not made
    training.close()


def test_a_run_without_a_finite_score_gets_chance_and_stays(task: Task) -> None:
    training = Training(task, task.model(), config_of("naive", task), RUNS)
    measured = Measurements(len(RUNS))
    measured.add(training.measure())
    for _ in range(2):
        training.train_step()
    training.parameters.adapters[1].data.fill_(math.nan)
    measured.add(training.measure())
    outcomes = [
        trained.outcome for trained in training.finish(measured, {run.seed: BASE(run.seed) for run in RUNS})
    ]
    training.close()
    assert outcomes[1].status == "diverged" and outcomes[1].valid == outcomes[1].test == task.chance == 0.1
    assert "validation loss nan" in outcomes[1].reason and math.isnan(outcomes[1].loss_last)
    assert outcomes[0].status == outcomes[2].status == "ok"


def test_a_loss_five_percent_above_the_first_is_divergence_and_less_is_not(task: Task) -> None:
    training = Training(task, task.model(), config_of("lora", task), RUNS)
    measured = Measurements(len(RUNS))
    measured.add(training.measure())
    training.train_step()
    measured.add(training.measure())
    for history, factor in zip(measured.histories, (1.06, 1.04, 0.5), strict=True):
        history[-1] = dataclasses.replace(history[-1], valid_loss=factor * history[0].valid_loss)
    statuses = [
        trained.outcome.status
        for trained in training.finish(measured, {run.seed: BASE(run.seed) for run in RUNS})
    ]
    training.close()
    assert statuses == ["diverged", "ok", "ok"]


def test_clipping_bounds_each_runs_own_gradient(task: Task) -> None:
    """AdamW hides the scale of a gradient, so its first moment is read: 0.1 times the clipped one."""
    norms = {}
    for clip in (None, 0.5):
        settings = load("lr_grid", ["task.steps=6", f"task.clip={clip or 'null'}"]).task
        other_task = tasks.load(settings)
        training = Training(other_task, other_task.model(), config_of("lora", other_task), RUNS)
        training.train_step()
        state = training.optimizer.state
        norms[clip] = [state[row]["exp_avg"].norm().item() / 0.1 for row in training.parameters.adapters]
        training.close()
    assert min(norms[None]) > 0.5
    assert norms[0.5] == pytest.approx([0.5] * 3, rel=1e-4)


def test_warmup_and_cosine_by_hand() -> None:
    shares = [learning_rate_share(step, 10, 2) for step in range(10)]
    assert shares[:3] == [0.5, 1.0, 1.0]
    assert shares[6] == pytest.approx(0.5)
    assert 0 < shares[9] < 0.05 and shares == sorted(shares[:2]) + sorted(shares[2:], reverse=True)


def test_the_same_seed_is_the_same_run_and_another_is_not(task: Task) -> None:
    again = [packed_losses(task, "ether", RUNS, 3) for _ in range(2)]
    assert torch.equal(*again)
    other = packed_losses(task, "ether", [Hyperparameters(1e-3, 5), *RUNS[1:]], 3)
    assert not torch.equal(again[0][:, 0], other[:, 0])
    assert torch.equal(again[0][:, 1:], other[:, 1:])


def test_the_model_is_given_back_as_it_was(task: Task) -> None:
    model = task.model()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    structure = str(model)
    train(task, model, config_of("ether_plus", task), RUNS, BASE)
    assert str(model) == structure
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())


def test_a_head_trains_at_its_own_rate(task: Task) -> None:
    settings = load("lr_grid", ["task.steps=3", "task.head_lr=1e-4"]).task
    other_task = tasks.load(settings)
    config = methods.config("ether", {}, settings.target_modules, other_task.head_modules)
    model = other_task.model()
    training = Training(other_task, model, config, [Hyperparameters(1e-9, 0), Hyperparameters(1e-9, 1)])
    before = [row.detach().clone() for row in training.parameters.heads]
    training.train_step()
    moved = [(a - b).abs().max().item() for a, b in zip(before, training.parameters.heads, strict=True)]
    assert moved == pytest.approx([1e-4 / settings.warmup_steps] * 2, rel=1e-2)
    assert training.packed.parameter_count == 18 * 64 + 3 * 3 * 64 + 650  # d per layer, and the classifier
    training.close()
    assert type(model.classifier) is torch.nn.Linear


def test_geometry_of_a_pack_equals_the_merged_layers(task: Task) -> None:
    training = Training(task, task.model(), config_of("ether_plus", task), RUNS)
    for _ in range(3):
        training.train_step()
    layers = training.measure().layers
    name, layer = list(training.packed.adapted_layers().items())[4]
    tensors = training.packed.tensors(training.flat())[name]
    weight, transformed = layer.effective_weights(tensors)
    for run in range(3):
        for key, parameter in layer.module.named_parameters():
            if key in tensors:
                parameter.data = tensors[key][run]
        torch.testing.assert_close(
            layer.module.merged_weight().double(), transformed[run], rtol=1e-4, atol=1e-5
        )
        rows = [r for r in layers[run] if r.layer == name]
        assert {r.side for r in rows} == {"in", "out"}
        expected = (transformed[run] - weight).norm().item()
        assert all(r.weight_distance == pytest.approx(expected) for r in rows)
    training.close()


def test_bfloat16_trains(task: Task) -> None:
    settings = load("lr_grid", ["task.steps=4", "task.precision=bfloat16"]).task
    other_task = tasks.load(settings)
    model = other_task.model().to(torch.bfloat16)
    runs = [Hyperparameters(1e-2, 0), Hyperparameters(1e-3, 1)]
    outcomes = [
        trained.outcome for trained in train(other_task, model, config_of("ether", other_task), runs, BASE)
    ]
    assert all(math.isfinite(o.loss_last) and o.status == "ok" for o in outcomes)
    assert outcomes[0].loss_last < outcomes[0].loss_first


def test_history_and_timings(task: Task) -> None:
    first = train(task, task.model(), config_of("lora", task), RUNS, BASE)[0]
    assert [point.step for point in first.history] == [0, 1, 2, 3, 4, 5, 6]
    assert math.isnan(first.history[0].train_loss)
    assert first.outcome.seconds > 0 and first.outcome.step_seconds > 0
    assert math.isnan(first.outcome.transform_distance)
    assert first.outcome.weight_distance > 0


def test_evaluation_of_a_pack_is_each_runs_own(task: Task, settings: SweepSettings) -> None:
    model = task.model()
    packed, parameters = pack(model, config_of("ether", task), [0, 1])  # type: ignore[arg-type]
    together = evaluate_runs(task, packed, parameters.copy(), "valid")
    packed.close()
    for run, seed in enumerate((0, 1)):
        alone, parameters = pack(model, config_of("ether", task), [seed])  # type: ignore[arg-type]
        (own,) = evaluate_runs(task, alone, parameters.copy(), "valid")
        alone.close()
        assert own.primary == together[run].primary
        assert own.loss == pytest.approx(together[run].loss, rel=1e-5)


def lengths(training: Training) -> torch.Tensor:
    """Lengths of every run's normals: (runs, all blocks of all layers)."""
    tensors = training.packed.tensors(training.flat())
    normals = [value for of_module in tensors.values() for value in of_module.values()]
    return torch.cat([value.norm(dim=-1).flatten(1) for value in normals], 1)


@pytest.mark.parametrize("method", ["ether", "ether_plus"])
def test_normals_grow_unless_they_are_put_back(method: str, task: Task) -> None:
    """A normal's gradient is orthogonal to it, so steps make it longer; Adam, which rescales each
    coordinate, shortens a single one now and then, but not on average."""
    for held in (False, True):
        config = config_of(method, task, {"init_scale": 2.0, "renormalise": held})
        undecayed = [Hyperparameters(1e-3, 0), Hyperparameters(1e-2, 1)]
        training = Training(task, task.model(), config, undecayed)
        first = training.measure()
        before = lengths(training)
        for _ in range(6):
            training.train_step()
        after = lengths(training)
        growth = [measured.points[1].parameter_growth for measured in (first, training.measure())]
        training.close()
        if held:
            torch.testing.assert_close(after, torch.full_like(after, 2 / 3**0.5))
            assert growth == pytest.approx([1.0, 1.0], rel=1e-5)
        else:
            assert (after.mean(1) > before.mean(1)).all()
            expected = (after[1].square().sum() / before[1].square().sum()).sqrt().item()
            assert growth == [1.0, pytest.approx(expected, rel=1e-5)]
            assert before.square().mean().sqrt() == pytest.approx(2 / 3**0.5, rel=0.05)


def test_a_random_move_replaces_training(task: Task) -> None:
    settings = load("lr_grid", ["task.steps=0"]).task
    other_task = tasks.load(settings)
    runs = [Hyperparameters(1.0, 0, TaskSettings(noise=size)) for size in (0.0, 0.1, 10.0)]
    trained = train(other_task, other_task.model(), config_of("oft", other_task), runs, BASE)
    moved = [of_run.outcome.transform_distance for of_run in trained]
    assert moved[0] == pytest.approx(0, abs=1e-6) and moved[0] < moved[1] < moved[2]
    widths = [64] * 15 + [256] * 3
    assert moved[2] < sum(2 * width**0.5 for width in widths) / 18  # OFT's bound, 2 sqrt(d)
    assert [len(of_run.history) for of_run in trained] == [1, 1, 1]
    again = train(other_task, other_task.model(), config_of("oft", other_task), runs[1:2], BASE)
    assert again[0].outcome.transform_distance == pytest.approx(moved[1], rel=1e-5)


@pytest.mark.parametrize(
    ("costs", "timed", "chosen"),
    [
        ({1: 3.0, 2: 2.0, 4: 1.5, 8: 1.2, 12: 1.0}, [1, 12, 8], 12),  # gains up to the largest
        ({1: 3.0, 2: 2.0, 4: 1.0, 8: 1.04, 12: 1.03}, [1, 12, 8, 4, 2], 4),  # flat: the smallest of the best
        ({1: 3.0, 2: 1.0, 4: 1.5, 8: 2.0, 12: 3.0}, [1, 12, 8, 4, 2], 2),  # has its best between
        ({1: 1.0, 2: 1.2, 4: 1.4, 8: 1.5, 12: 2.0}, [1, 12, 8, 4, 2], 1),  # packing only costs
        ({1: 3.0, 2: 2.0, 4: 1.5, 8: None, 12: None}, [1, 12, 8, 4, 2], 4),  # does not fit in the memory
    ],
)
def test_few_sizes_are_timed_and_the_best_is_among_them(
    task: Task,
    monkeypatch: pytest.MonkeyPatch,
    costs: dict[int, float | None],
    timed: list[int],
    chosen: int,
) -> None:
    asked = []

    def step_seconds(_task: Task, _model: object, _config: object, size: int, _mapping: object) -> float:
        asked.append(size)
        seconds = costs[size]
        if seconds is None:
            raise MemoryError
        return seconds

    monkeypatch.setattr("study.training.probe._step_seconds", step_seconds)
    monkeypatch.setattr("study.training.probe.pack_sizes", lambda _: list(costs))
    measured = profile(task, task.model(), config_of("ether", task), runs=12, pack_size=None)
    assert (asked, measured.pack_size) == (timed, chosen)

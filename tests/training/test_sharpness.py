"""Sharpness against dense Hessians in float64, alone and in packs, and beside runs that diverge."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from peft import get_peft_model
from support.base_scores import untouched
from torch import Tensor, nn
from torch.func import functional_call

from study import methods, tasks
from study.config.compose import load
from study.errors import UsageError
from study.planning.profile import RunMapping
from study.settings import TaskSettings
from study.tasks import Batch, Task
from study.training.hyperparameters import Hyperparameters
from study.training.outcome import Measurements
from study.training.pack_state import of_runs
from study.training.packing import pack
from study.training.sharpness import (
    EXAMPLES,
    _fixed_batch,
    check_differentiable_twice,
    measure_sharpness,
    top_eigenvalues,
)
from study.training.train import Training, train

METHODS = {"ether": {"blocks": 2}, "ether_plus": {"blocks": 2}, "lora": {"r": 2}, "oft": {"blocks": 2}}


class ToyTask(Task):
    """Three classes of noise, on a network small enough for a dense Hessian."""

    metric, chance = "accuracy", 1 / 3

    def model(self) -> nn.Module:
        with torch.random.fork_rng():
            torch.manual_seed(0)
            network = nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 6), nn.Tanh(), nn.Linear(6, 3))
        return network.requires_grad_(False)

    def size(self, split: str) -> int:
        return 100

    def examples(self, split: str, indices: Tensor) -> Batch:
        generator = torch.Generator().manual_seed(len(split))
        return {
            "x": torch.randn(100, 6, generator=generator)[indices],
            "labels": torch.randint(3, (100,), generator=generator)[indices],
        }

    def forward(self, model: nn.Module, batch: Batch) -> Tensor:
        return model(batch["x"])

    def losses(self, outputs: Tensor, batch: Batch) -> Tensor:
        return F.cross_entropy(outputs, batch["labels"], reduction="none")

    def predictions(self, outputs: Tensor, batch: Batch) -> Tensor:
        return outputs.argmax(-1).float() + 0 * outputs.sum(-1)

    def metrics(self, predictions: Tensor, references: Batch) -> dict[str, float]:
        return {"accuracy": (predictions == references["labels"]).double().mean().item()}


def toy(**settings: object) -> ToyTask:
    given: dict[str, object] = {"batch_size": 24, "steps": 4, "target_modules": ["0", "2"], **settings}
    return ToyTask(TaskSettings(name="toy", model="random", data="noise", sharpness=True, **given))  # type: ignore[arg-type]


def dense(task: Task, method: str, vector: Tensor, slots: list, seed: int) -> Tensor:
    """All eigenvalues, in float64, by differences of a plain `peft` model's gradients."""
    config = methods.config(method, METHODS[method], task.settings.target_modules)
    model = get_peft_model(task.model(), config).base_model.model.double().eval()
    batch = _fixed_batch(task, seed)
    batch = {name: value.double() if value.is_floating_point() else value for name, value in batch.items()}

    def loss(flat: Tensor) -> Tensor:
        parts = zip(slots, flat.split([slot.size for slot in slots]), strict=True)
        tensors = {slot.full_name: part.view(slot.shape) for slot, part in parts}
        return task.losses(functional_call(model, tensors, (batch["x"],)), batch).mean()

    def gradient(flat: Tensor) -> Tensor:
        flat = flat.clone().requires_grad_()
        return torch.autograd.grad(loss(flat), flat)[0]

    at, step = vector.detach().double(), 1e-5
    moves = step * torch.eye(len(at), dtype=at.dtype)
    rows = torch.stack([(gradient(at + move) - gradient(at - move)) / (2 * step) for move in moves])
    return torch.linalg.eigvalsh((rows + rows.T) / 2)


@pytest.mark.parametrize("moved", [0.0, 0.3])
@pytest.mark.parametrize("method", METHODS)
def test_it_is_the_largest_eigenvalue_of_the_dense_hessian(method: str, moved: float) -> None:
    """In a pack of three, each run at parameters of its own; tolerance 2e-3 of the largest in size."""
    task, seeds = toy(), [0, 1, 2]
    config = methods.config(method, METHODS[method], task.settings.target_modules)
    packed, parameters = pack(task.model(), config, seeds)
    for run, vector in enumerate(parameters.adapters):
        vector.data += moved * torch.randn(vector.shape, generator=torch.Generator().manual_seed(run))
    found = measure_sharpness(task, packed, parameters)
    slots = list(packed.slots)
    packed.close()
    for run, value in enumerate(found):
        expected = dense(task, method, parameters.adapters[run], slots, seeds[run])
        assert abs(value - expected[-1].item()) < 2e-3 * expected.abs().max().item()


def test_of_eigenvalues_with_both_signs_the_largest_is_found_and_not_the_largest_in_size() -> None:
    generator = torch.Generator().manual_seed(0)
    basis = torch.linalg.qr(torch.randn(30, 30, generator=generator, dtype=torch.float64)).Q
    ends = (-9, 4), (-5, 5), (-3, -1), (0, 0)
    spectra = [torch.linspace(low, high, 30).double() for low, high in ends]
    matrices = torch.stack([basis @ spectrum.diag() @ basis.T for spectrum in spectra])

    def product(vectors: Tensor) -> Tensor:
        return (matrices @ vectors.unsqueeze(-1)).squeeze(-1)

    start = torch.randn(4, 30, generator=generator, dtype=torch.float64)
    found = top_eigenvalues(product, start)
    assert found == pytest.approx([4, 5, -1, 0], abs=0.01)
    matrices[1] = math.nan  # a run that diverged leaves the others as they are
    assert top_eigenvalues(product, start) == pytest.approx([found[0], math.nan, *found[2:]], nan_ok=True)


@pytest.mark.parametrize("mapping", [RunMapping.LAYERS, RunMapping.LOOPS, RunMapping.MODEL])
def test_a_run_has_the_same_alone_and_in_a_pack(mapping: RunMapping) -> None:
    """Of a vision transformer, whose attention is fused in training."""
    task = tasks.load(load("lr_grid", ["task.label_noise=0.2"]).task)
    model = task.model()
    config = methods.config("ether", {"blocks": 4}, task.settings.target_modules)

    def measured(seeds: list[int], mapping: RunMapping = RunMapping.LAYERS) -> list[float]:
        packed, parameters = pack(model, config, seeds, mapping)
        values = measure_sharpness(task, packed, parameters)
        packed.close()
        return values

    together = measured([0, 1], mapping)
    assert together == pytest.approx(measured([0]) + measured([1]), rel=1e-3)
    assert min(together) > 0 and together[0] != together[1]


def test_training_is_not_disturbed_and_a_diverged_run_has_none_at_the_end() -> None:
    runs = [Hyperparameters(1e-2, 0), Hyperparameters(1e30, 1), Hyperparameters(1e-2, 2)]
    config = methods.config("lora", {"r": 2}, ["0", "2"])
    with_it, without = toy(), toy()
    without.settings.sharpness = None
    results = [train(task, task.model(), config, runs, untouched(0.3)) for task in (with_it, without)]
    for measured, plain in zip(*results, strict=True):
        assert [p.valid_loss for p in measured.history] == pytest.approx(
            [p.valid_loss for p in plain.history], nan_ok=True, abs=0
        )
        assert plain.outcome.sharpness is None and measured.outcome.sharpness is not None
        start, end = measured.outcome.sharpness
        assert math.isfinite(start)
        assert math.isfinite(end) == (measured.outcome.status == "ok")
    assert [run.outcome.status for run in results[0]] == ["ok", "diverged", "ok"]
    alone = train(with_it, with_it.model(), config, runs[2:], untouched(0.3))[0].outcome
    assert alone.sharpness == pytest.approx(results[0][2].outcome.sharpness, rel=1e-3)


def test_what_was_measured_at_the_start_survives_an_interruption() -> None:
    task, runs = toy(), [Hyperparameters(1e-2, seed) for seed in range(3)]
    config = methods.config("lora", {"r": 2}, ["0", "2"])
    training = Training(task, task.model(), config, runs)
    training.sharpness_start = training.measure_sharpness()
    tensors, facts = training.state()
    state = of_runs((tensors, facts | {"measured": Measurements(3).to_json()}), [2, 0])
    training.close()
    resumed = Training(task, task.model(), config, [runs[2], runs[0]])
    resumed.restore(state)
    resumed.close()
    assert resumed.sharpness_start == [training.sharpness_start[2], training.sharpness_start[0]]
    older = {key: value for key, value in facts.items() if key != "sharpness_start"}
    cut = of_runs((tensors, older | {"measured": Measurements(3).to_json()}), [1])
    assert cut[1]["sharpness_start"] == []


class Once(torch.autograd.Function):
    """Has no second derivative."""

    @staticmethod
    def forward(ctx: object, x: Tensor) -> Tensor:
        return 2 * x

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: object, grad: Tensor) -> Tensor:
        return 2 * grad


def test_what_has_no_second_derivative_is_refused_before_training() -> None:
    once: Callable[[Tensor], Tensor] = Once.apply

    class OnceTask(ToyTask):
        def losses(self, outputs: Tensor, batch: Batch) -> Tensor:
            return super().losses(once(outputs), batch)

    task = OnceTask(toy().settings)
    config = methods.config("lora", {"r": 2}, ["0", "2"])
    packed, parameters = pack(task.model(), config, [0])
    with pytest.raises(UsageError, match="task.sharpness=true: the loss cannot be differentiated twice"):
        check_differentiable_twice(task, packed, parameters)
    packed.close()


def test_few_examples_fill_the_batch_evenly() -> None:
    batch = _fixed_batch(toy(train_examples=16), 0)
    counts = torch.unique(batch["x"], dim=0, return_counts=True)[1]
    assert len(counts) == 16 and counts.sum() == EXAMPLES and counts.max() <= 5

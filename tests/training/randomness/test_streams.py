"""Every random operation of torch, its numbers from the streams: their distribution, and whose they are."""

from __future__ import annotations

import random
from collections.abc import Callable

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from scipy import stats
from torch import Tensor
from torch.func import vmap

from study.training.randomness import RunStreams, SharedDraw, seeded
from study.training.randomness.coordinates import mixed, uniform

CPU = torch.device("cpu")
X = torch.ones(6, 50, 40)

Draw = Callable[[Tensor], Tensor]
DRAWS: dict[str, tuple[Draw, object]] = {
    "dropout": (lambda x: F.dropout(x, 0.25), 0.75),
    "dropout of the whole": (lambda x: F.dropout(x, 1.0), 0.0),
    "rand_like": (torch.rand_like, "uniform"),
    "rand": (lambda x: torch.rand(x.shape), "uniform"),
    "uniform_": (lambda x: (x.clone().uniform_(-2, 2) + 2) / 4, "uniform"),
    "with a generator": (
        lambda x: torch.rand(x.shape, generator=torch.Generator().manual_seed(1)),
        "uniform",
    ),
    "randn_like": (torch.randn_like, "norm"),
    "randn": (lambda x: torch.randn(x.shape), "norm"),
    "normal_": (lambda x: (x.clone().normal_(3, 2) - 3) / 2, "norm"),
    "normal": (lambda x: (torch.normal(3.0, 2.0, x.shape) - 3) / 2, "norm"),
    "normal of tensors": (lambda x: torch.normal(x, 2 * x).sub(1).div(2), "norm"),
    "distribution": (lambda x: torch.distributions.Normal(x, x).rsample() - 1, "norm"),
    "log_normal_": (lambda x: x.clone().log_normal_(0, 1).log(), "norm"),
    "exponential_": (lambda x: x.clone().exponential_(2) * 2, "expon"),
    "cauchy_": (lambda x: x.clone().cauchy_(), "cauchy"),
    "geometric_": (lambda x: (x.clone().geometric_(0.25) == 1).float(), 0.25),
    "bernoulli": (lambda x: torch.bernoulli(x * 0.3), 0.3),
    "bernoulli_ of a tensor": (lambda x: x.clone().bernoulli_(x * 0.3), 0.3),
    "stochastic depth": (lambda x: x.new_empty(len(x), 1000, 1).bernoulli_(0.8), 0.8),
    "randint": (lambda x: (torch.randint(0, 4, x.shape) == 3).float(), 0.25),
    "randint_like": (lambda x: (torch.randint_like(x, 2, 6) == 2).float(), 0.25),
    "multinomial": (lambda x: (torch.multinomial(x.new_tensor([1, 2, 1]).expand(len(x), 500, 3)
                                                 .flatten(0, 1), 1).view(len(x), -1) == 1).float(), 0.5),
    "rrelu": (lambda x: (F.rrelu(-x, 0.2, 0.4, training=True) + 0.4) / 0.2, "uniform"),
    "attention": (lambda x: F.scaled_dot_product_attention(x, x, x, dropout_p=0.5), None),
    "gumbel": (lambda x: F.gumbel_softmax(x[..., :3], hard=True)[..., 0], 1 / 3),
}  # fmt: skip


@pytest.mark.parametrize("name", DRAWS)
def test_the_numbers_are_distributed_as_torchs(name: str) -> None:
    draw, expected = DRAWS[name]
    values = RunStreams([3], CPU).call("training", [0], lambda: draw(X))
    if isinstance(expected, str):
        assert stats.kstest(values.flatten().numpy(), expected).pvalue > 0.001
    elif expected is not None:
        kept = (values > 0).double().mean().item()
        assert kept == pytest.approx(expected, abs=4 * (0.25 / values.numel()) ** 0.5)


NOT_UNDER_VMAP = ("distribution", "multinomial", "rrelu")
"""Draws that vmap itself refuses, or takes apart otherwise: layers with those are computed in loops."""


@pytest.mark.parametrize("name", DRAWS)
def test_a_runs_numbers_are_its_own_in_a_batch_and_under_vmap(name: str) -> None:
    draw = DRAWS[name][0]
    alone = [RunStreams([seed], CPU).call("training", [7], lambda: draw(X[:2])) for seed in (4, 5, 4)]
    streams = RunStreams([4, 5, 4], CPU)
    together = streams.call("training", [7], lambda: draw(X))
    assert torch.equal(together, torch.cat(alone))

    def mapped() -> Tensor:
        with streams.mapped():
            return vmap(draw, randomness="different")(X.unflatten(0, (3, 2)))

    if name not in NOT_UNDER_VMAP:
        torch.testing.assert_close(streams.call("training", [7], mapped).flatten(0, 1), together)
    assert torch.equal(alone[0], alone[2]) and (name == "dropout of the whole" or not torch.equal(*alone[:2]))


def test_dropout_by_hand() -> None:
    """Kept where the run's uniform numbers are below 1 - p."""
    streams = RunStreams([8], CPU)
    streams.call("training", [1], lambda: None)
    seen = streams.call("training", [1], lambda: (torch.default_generator.initial_seed(), F.dropout(X, 0.1)))
    place, dropped = seen
    kept = uniform([mixed(mixed(0, 8), place)], X.shape, CPU)[0] < 0.9
    torch.testing.assert_close(dropped, X * kept / 0.9)


def test_a_model_that_does_not_draw_is_not_watched_until_it_does() -> None:
    """A draw that comes late is found by the state of the generator, and taken again from the streams."""
    streams, calls = RunStreams([1, 2], CPU), []

    def forward(late: bool) -> Tensor:
        calls.append(late)
        return F.dropout(X, 0.5) if late else X

    assert torch.equal(streams.call("training", [0], lambda: forward(False)), X)
    found = streams.call("training", [1], lambda: forward(True))
    assert calls == [False, True, True]
    assert torch.equal(found, RunStreams([1, 2], CPU).call("training", [1], lambda: forward(True)))


@pytest.mark.parametrize("draw", [
    lambda: torch.rand([]), lambda: torch.rand(5), lambda: torch.poisson(X), lambda: random.random(),
    lambda: np.random.rand(), lambda: torch.randperm(4),
], ids=["a scalar", "an odd number of rows", "poisson", "python", "numpy", "permutation"])  # fmt: skip
def test_one_draw_for_several_runs_is_refused_and_one_run_has_its_own(draw: Callable[[], object]) -> None:
    with pytest.raises(SharedDraw):
        RunStreams([1, 2], CPU).call("training", [0], draw)
    first, again, other = (
        torch.as_tensor(RunStreams([seed], CPU).call("training", [0], draw)) for seed in (1, 1, 2)
    )
    assert torch.equal(first, again) and not torch.equal(first, other)


def test_the_processs_generators_are_left_alone() -> None:
    before = torch.get_rng_state(), random.getstate(), np.random.get_state()[1].tolist()
    RunStreams([1], CPU).call("training", [0], lambda: (F.dropout(X), random.random(), np.random.rand()))
    with seeded(5):
        torch.rand(1), random.random(), np.random.rand()
    assert torch.equal(before[0], torch.get_rng_state())
    assert before[1:] == (random.getstate(), np.random.get_state()[1].tolist())


def test_attention_without_dropout_is_not_a_draw() -> None:
    streams = RunStreams([1, 2], CPU)
    assert not streams.draws("training", [0], lambda: F.scaled_dot_product_attention(X, X, X))
    assert streams.draws("training", [0], lambda: F.scaled_dot_product_attention(X, X, X, dropout_p=0.1))

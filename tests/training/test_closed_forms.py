"""Layers computed in closed form against the same layers mapped over runs, and against `peft` alone."""

from __future__ import annotations

import dataclasses
from typing import Any

import peft
import pytest
import torch
from torch import Tensor, nn
from transformers.pytorch_utils import Conv1D

from study import methods
from study.methods.ether import EtherLayer
from study.methods.multiplicative import Parameters
from study.planning.profile import RunMapping
from study.training.packing import PackedModel, RunParameters, pack

SEEDS = [0, 1, 2]
LAYERS = ["up", "transposed", "down", "wide"]

Options = dict[str, Any]

FORMED: list[tuple[str, Options]] = [
    ("ether", {"blocks": 1}),
    ("ether", {"blocks": 8}),
    ("ether", {"blocks": 4, "renormalise": True, "init_scale": 3.0}),
    ("ether", {"blocks": 4, "magnitudes": True}),
    ("ether_plus", {"blocks": 4}),
    ("ether_plus", {"blocks": 2, "magnitudes": True}),
    ("ether_plus", {"blocks": 8, "sides": 1}),
    ("oft", {"blocks": 4}),
    ("naive", {"blocks": 8, "magnitudes": True}),
    ("lora", {"r": 8, "lora_alpha": 4}),
    ("lora", {"r": 4, "use_rslora": True}),
    ("lora", {"r": 4, "alpha_pattern": {"up": 9}, "rank_pattern": {"down": 3}}),
    ("lora", {"r": 4, "init_lora_weights": "gaussian"}),
]
"""Every layer of the toy has a closed form."""

MAPPED: list[tuple[str, Options]] = [
    ("lora", {"r": 4, "lora_dropout": 0.5}),
    ("lora", {"r": 4, "use_dora": True, "target_modules": ["up", "down", "wide"]}),
    ("lora", {"r": 4, "lora_bias": True}),
    ("lora", {"r": 4, "bias": "lora_only", "target_modules": ["up", "wide"]}),
    ("lora", {"r": 4, "init_lora_weights": "pissa_niter_2", "target_modules": ["up", "down"]}),
    ("vera", {"r": 8, "target_modules": ["up"]}),
    ("hra", {"r": 4, "target_modules": ["up", "down"]}),
]
"""No layer has one: an option that the form does not know, or a method without one."""


class Toy(nn.Module):
    """Small layers with and without a bias, one as GPT-2 stores it, and a large one."""

    def __init__(self) -> None:
        super().__init__()
        self.up, self.transposed = nn.Linear(16, 32), Conv1D(32, 32)
        self.down, self.wide = nn.Linear(32, 16, bias=False), nn.Linear(16, 16)
        self.large = nn.Linear(256, 256)
        nn.init.normal_(self.transposed.bias)

    def forward(self, x: Tensor) -> Tensor:
        """(rows, tokens, 16) -> (rows, tokens, 16)"""
        return self.wide(self.down(self.transposed(self.up(x).tanh()).tanh()))


def base(dtype: torch.dtype = torch.float32) -> Toy:
    with torch.random.fork_rng():
        torch.manual_seed(5)
        return Toy().requires_grad_(False).to(dtype).eval()


def config_of(method: str, options: Options) -> Any:
    if method == "lora":  # all of peft's options, also those that the harness does not offer
        return peft.LoraConfig(**({"target_modules": LAYERS} | options))
    targets = options.get("target_modules", LAYERS)
    return methods.config(method, {k: v for k, v in options.items() if k != "target_modules"}, targets)


def packed_toy(
    config: Any, seeds: list[int] = SEEDS, dtype: torch.dtype = torch.float32
) -> tuple[PackedModel, RunParameters]:
    """The runs moved off their start, each by numbers of its own."""
    packed, parameters = pack(base(dtype), config, seeds)
    packed.base.eval()  # outside a run's streams, dropout would draw other numbers each time
    for seed, vector in zip(seeds, parameters.adapters, strict=True):
        vector.data += 0.1 * torch.randn(vector.shape, generator=torch.Generator().manual_seed(seed))
    return packed, parameters


def inputs(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(3))


def formed(packed: PackedModel, flat: Tensor) -> list[str]:
    return sorted(packed._linears(packed.tensors(flat)))


def results(packed: PackedModel, parameters: RunParameters, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Outputs, and the gradients of parameters and inputs."""
    flat, x = parameters.copy(), x.clone().requires_grad_()
    y = packed(flat, lambda model, batch: model(batch["x"]), {"x": x})
    return (y, *torch.autograd.grad(y.square().sum(), (flat, x)))


def assert_same(got: tuple[Tensor, ...], expected: tuple[Tensor, ...]) -> None:
    """To 1e-5 of the largest number: float32 sums in another order."""
    for a, b in zip(got, expected, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5 * b.abs().max().item())


@pytest.mark.parametrize(("method", "options"), [*FORMED, *MAPPED], ids=str)
def test_a_pack_is_its_mapped_layers_and_its_runs_alone(method: str, options: Options) -> None:
    config = config_of(method, options)
    packed, parameters = packed_toy(config)
    expected_names = sorted(LAYERS) if (method, options) in FORMED else []
    assert formed(packed, parameters.copy()) == expected_names
    x = inputs(len(SEEDS) * 2, 5, 16)
    together = results(packed, parameters, x)
    packed._closed_forms._groups.clear()
    assert_same(together, results(packed, parameters, x))
    packed.close()
    for run, seed in enumerate(SEEDS):
        alone, own = packed_toy(config, [seed])
        rows = slice(2 * run, 2 * run + 2)
        y, slope, x_slope = results(alone, own, x[rows])
        assert_same((y, slope[0], x_slope), (together[0][rows], together[1][run], together[2][rows]))
        state = alone.state_dict(own.flat, 0)
        alone.peft_model.load_state_dict(state)
        torch.testing.assert_close(alone.peft_model(x=x[rows]), y, rtol=1e-4, atol=1e-5)
        alone.close()


class Relative(nn.Module):
    """Feeds adapted layers a batch, rows of positions that all examples share, and one vector."""

    def __init__(self) -> None:
        super().__init__()
        self.up, self.transposed = nn.Linear(16, 32), Conv1D(16, 32)
        self.down, self.wide = nn.Linear(32, 16, bias=False), nn.Linear(16, 16)
        self.positions = nn.Buffer(torch.randn(5, 16))

    def forward(self, x: Tensor) -> Tensor:
        """(rows, 5, 16) -> (rows, 5, 16)"""
        moved = self.transposed(self.up(x).tanh()) + self.wide(self.positions)
        return self.down(self.up(moved).sin()) * self.wide(self.positions[0]).cos()


@pytest.mark.parametrize(("method", "options"), FORMED, ids=str)
def test_layers_step_out_of_a_mapped_model(method: str, options: Options) -> None:
    def relative() -> Relative:
        with torch.random.fork_rng():
            torch.manual_seed(5)
            return Relative().requires_grad_(False).eval()

    config, x = config_of(method, options), inputs(len(SEEDS) * 2, 5, 16)
    packed, parameters = pack(relative(), config, SEEDS, RunMapping.MODEL)
    for seed, vector in zip(SEEDS, parameters.adapters, strict=True):
        vector.data += 0.1 * torch.randn(vector.shape, generator=torch.Generator().manual_seed(seed))
    together = results(packed, parameters, x)
    assert formed(packed, parameters.copy()) == sorted(LAYERS)
    packed._closed_forms._groups.clear()
    assert_same(together, results(packed, parameters, x))
    packed.close()
    for run, seed in enumerate(SEEDS):
        alone, _ = pack(relative(), config, [seed])
        rows = slice(2 * run, 2 * run + 2)
        y, slope, x_slope = results(alone, parameters.of_run(run), x[rows])
        assert_same((y, slope[0], x_slope), (together[0][rows], together[1][run], together[2][rows]))
        alone.close()


@pytest.mark.parametrize(("method", "options"), FORMED, ids=str)
def test_the_geometry_sees_the_same_weights_in_closed_form(method: str, options: Options) -> None:
    packed, parameters = packed_toy(config_of(method, options))
    tensors = packed.tensors(parameters.flat)
    for name, layer in packed.adapted_layers().items():
        assert layer.formed is not None
        fed_the_identity = dataclasses.replace(layer, formed=None).effective_weights(tensors[name])
        for got, expected in zip(layer.effective_weights(tensors[name]), fed_the_identity, strict=True):
            torch.testing.assert_close(got, expected, rtol=0, atol=1e-13)
    packed.close()


def test_what_an_initialisation_took_from_the_base_weights_is_not_counted_as_a_change() -> None:
    config = config_of("lora", {"r": 4, "init_lora_weights": "pissa", "target_modules": ["up", "down"]})
    packed, parameters = pack(base(), config, SEEDS)
    tensors = packed.tensors(parameters.flat)
    for name, layer in packed.adapted_layers().items():
        weight, own = layer.effective_weights(tensors[name])
        assert (own - weight).norm() < 1e-5 * weight.norm()
        assert layer.module.get_base_layer().weight.ne(weight).any()
    packed.close()


@pytest.mark.parametrize(
    ("method", "options", "closed"),
    [
        ("lora", {"r": 8}, True),
        ("lora", {"r": 32}, False),
        ("ether", {"blocks": 4}, True),
        ("ether", {"blocks": 32}, False),
        ("ether_plus", {"blocks": 4}, True),
        ("oft", {"blocks": 32}, True),
    ],
    ids=str,
)
def test_a_large_layer_is_computed_in_thin_products(method: str, options: Options, closed: bool) -> None:
    """With many of them, it is mapped instead."""
    packed, parameters = packed_toy(config_of(method, options | {"target_modules": ["large"]}))
    assert formed(packed, parameters.copy()) == (["large"] if closed else [])
    x = inputs(len(SEEDS) * 2, 3, 256)

    def through_large() -> tuple[Tensor, Tensor]:
        flat = parameters.copy()
        y = packed(flat, lambda model, batch: model.large(batch["x"]), {"x": x})
        return y, torch.autograd.grad(y.square().sum(), flat)[0]

    got = through_large()
    packed._closed_forms._groups.clear()
    assert_same(got, through_large())
    packed.close()


def test_a_method_that_changes_its_parents_forward_does_not_inherit_its_closed_form() -> None:
    class Halved(EtherLayer):
        def pre(self, x: Tensor, p: Parameters) -> Tensor:
            return super().pre(x, p) / 2

    class Same(EtherLayer):
        pass

    class Both(Halved):
        closed_form = EtherLayer.closed_form

    config = config_of("ether", {})
    claims = [cls(nn.Linear(16, 16), "default", config).has_closed_form() for cls in (Halved, Same, Both)]
    assert claims == [False, True, True]


def test_hooks_on_an_adapted_layer_and_inside_it_are_called() -> None:
    for part in ("up", "up.base_layer"):
        packed, parameters = packed_toy(config_of("lora", {"r": 4}))
        seen: list[str] = []
        packed.base.get_submodule(part).register_forward_hook(lambda *_, seen=seen: seen.append("called"))
        expected = results(packed, parameters, inputs(6, 5, 16))
        assert seen
        packed.close()
        packed, parameters = packed_toy(config_of("lora", {"r": 4}))
        assert_same(results(packed, parameters, inputs(6, 5, 16)), expected)
        packed.close()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_in_bfloat16_no_weight_of_a_runs_own_is_rounded(dtype: torch.dtype) -> None:
    """A change of a weight that is too small for bfloat16 still moves the outputs: layers are mapped."""
    packed, parameters = packed_toy(config_of("lora", {"r": 4}), dtype=dtype)
    with torch.autocast("cpu", torch.bfloat16):
        assert formed(packed, parameters.copy()) == []
    assert formed(packed, parameters.copy()) == (sorted(LAYERS) if dtype == torch.float32 else [])
    packed.close()

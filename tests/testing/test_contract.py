"""The contract catches what it says it catches: methods broken on purpose, one property at a time."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from study import methods
from study.methods.multiplicative import (
    InputBlocks,
    MultiplicativeConfig,
    MultiplicativeLayer,
    Parameters,
    block_width,
    register,
)
from study.testing import method_contract as contract

pytestmark = pytest.mark.filterwarnings("ignore")


@dataclass
class FactorsConfig(MultiplicativeConfig):
    """A factor per input and output feature."""

    PEFT_NAME: ClassVar[str] = "factors"


class FactorsLayer(MultiplicativeLayer):
    """y = N W M x + b with N and M diagonal; keeps the contract."""

    adapter_layer_names = ("factors_in", "factors_out")

    def sides(self, adapter: str = "default") -> tuple[str, ...]:
        return ("in", "out")

    def initial(self, config: Any, where: str) -> dict[str, Tensor]:
        widths = {"in": self.in_features, "out": self.out_features}
        return {
            f"factors_{side}": 1 + 0.1 * torch.randn(config.blocks, block_width(d, config.blocks, where))
            for side, d in widths.items()
        }

    def pre(self, x: Tensor, p: Parameters) -> Tensor:
        return x * factors(p, x)

    def post(self, y: Tensor, p: Parameters) -> Tensor:
        return y * p["factors_out"].flatten().to(y.dtype)


register(FactorsConfig, FactorsLayer)
INITIAL = FactorsLayer.initial
ADD = FactorsLayer.add_adapter


@pytest.fixture(autouse=True)
def named(monkeypatch: pytest.MonkeyPatch) -> None:
    """`factors` is a method beside the others."""
    others = methods.config

    def config(name: str, options: dict[str, Any], targets: Any = None, saved: Any = None) -> Any:
        if name == "factors":
            return FactorsConfig(target_modules=targets, **options)
        return others(name, options, targets, saved)

    monkeypatch.setattr(methods, "config", config)


def factors(p: Parameters, x: Tensor) -> Tensor:
    return p["factors_in"].flatten().to(x.dtype)


def initial_without_block_width(*sides: str) -> Callable[..., dict[str, Tensor]]:
    def initial(self: Any, config: Any, where: str) -> dict[str, Tensor]:
        made = {}
        for side, d in (("in", self.in_features), ("out", self.out_features)):
            width = d // config.blocks if side in sides else block_width(d, config.blocks, where)
            made[f"factors_{side}"] = torch.ones(config.blocks, width)
        return made

    return initial


def initial_that_refuses(self: Any, config: Any, where: str) -> dict[str, Tensor]:
    if self.in_features % config.blocks:
        raise ValueError("does not fit")
    return INITIAL(self, config, where)


def initial_of_python(self: Any, config: Any, where: str) -> dict[str, Tensor]:
    return {
        name: value * random.SystemRandom().random() for name, value in INITIAL(self, config, where).items()
    }


def initial_of_the_base(self: Any, config: Any, where: str) -> dict[str, Tensor]:
    row = self.base_layer.weight.data[0].view(config.blocks, -1)  # the same memory
    return INITIAL(self, config, where) | {"factors_in": row}


def initial_with_a_secret(self: Any, config: Any, where: str) -> dict[str, Tensor]:
    self.secret = torch.randn(self.in_features)
    return INITIAL(self, config, where)


def add_and_keep_aside(self: Any, name: str, config: Any, where: str) -> None:
    ADD(self, name, config, where)
    self.kept = [self.factors_in[name]]


def pre_that_writes_the_weight(self: Any, x: Tensor, p: Parameters) -> Tensor:
    self.base_weight().data.mul_(1.001)
    return x * factors(p, x)


def pre_by_inverse(self: Any, x: Tensor, p: Parameters) -> Tensor:
    return x @ torch.linalg.inv(torch.diag(factors(p, x)))


def merged_without_post(self: Any, adapters: Any = None) -> Tensor:
    return self.base_weight() * self.factors_in["default"].flatten()


def unmerge_the_names(self: Any) -> None:
    self.merged_adapters.clear()


def forward_always(self: Any, x: Tensor) -> Tensor:
    if self.merged:
        return self.base_layer(x)
    return self.transformed(x, self.active_adapters) + self.base_layer.bias


def pre_of_the_last(self: Any, x: Tensor, p: Parameters) -> Tensor:
    return x * list(self.factors_in.values())[-1].flatten()


SECRET = {
    "initial": initial_with_a_secret,
    "pre": lambda self, x, p: x * self.secret.to(x.dtype) * factors(p, x),
}
KEPT_ASIDE = {"add_adapter": add_and_keep_aside, "pre": lambda self, x, p: x * self.kept[0].flatten()}


def pre_detached_in_training(self: Any, x: Tensor, p: Parameters) -> Tensor:
    f = factors(p, x)
    return x * ((f + f.detach()) / 2 if self.training else f)


def pre_centred_in_training(self: Any, x: Tensor, p: Parameters) -> Tensor:
    return (x - x.mean(0) if self.training else x) * factors(p, x)


def forward_that_counts_in_training(self: Any, x: Tensor) -> Tensor:
    if self.training:
        self.calls += 1
    return self.transformed(x, self.active_adapters) + self.base_layer.bias


def add_with_a_counter(self: Any, name: str, config: Any, where: str) -> None:
    ADD(self, name, config, where)
    self.register_buffer("calls", torch.zeros(()))


def pre(does: Callable[[Any, Tensor, Parameters], Tensor]) -> dict[str, Any]:
    return {"pre": does}


def pre_of(scale: Callable[[Any, Tensor], Tensor]) -> dict[str, Any]:
    """A `pre` made of the factors as a vector and the input."""
    return {"pre": lambda self, x, p: scale(factors(p, x), x)}


LAST = "keep tensors and options by the adapter's name"
UNFIT = r"23 that does not fit is .*: call block_width\(self."
CUT = "gets no gradient.*: no detach"
BREAKS: list[tuple[str, dict[str, Any], str]] = [
    ("adapts", {"initial": lambda *_: {"other": torch.ones(4)}}, "no attribute 'other'.*: initial must give"),
    ("adapts", pre_of(lambda f, x: x.sqrt() * f), "not finite .* 0.3: forward must take any value"),
    ("adapts", {"post": lambda self, y, p: y[..., :-1]}, "cannot be adapted .*: initial must give"),
    ("shapes", {"initial": initial_without_block_width("in", "out")}, f"input width of {UNFIT}in_features"),
    ("shapes", {"initial": initial_without_block_width("out")}, f"output width of {UNFIT}out_features"),
    ("shapes", {"initial": initial_that_refuses}, f"input width of {UNFIT}in_features"),
    ("dense", pre_of(lambda f, x: (x - x.mean(0)) * f), "by .*: every token"),
    ("dense", pre_of(lambda f, x: x + f), "a zero input .*: pre and post must add nothing"),
    ("gradients", pre_of(lambda f, x: x * f.detach()), f"first.factors_in.default {CUT}"),
    ("gradients", pre_of(lambda f, x: x.detach() * f), f"the layer's input {CUT}"),
    (
        "gradients",
        pre_of(lambda f, x: x * f * f.detach()),
        "in.default has a wrong gradient .*: let autograd",
    ),
    ("gradients", pre_of(lambda f, x: x), "factors_in.default.* changes no output: use it in pre or post"),
    ("frozen", {"initial": initial_of_the_base}, r"base model's first.weight.*: .*must be copies \(clone\)"),
    (
        "frozen",
        pre(pre_that_writes_the_weight),
        "forward changes the base model's first.weight.*: work out of",
    ),
    ("gradients", pre(pre_detached_in_training), "has a wrong gradient in training mode .*: let autograd"),
    ("rows", pre_of(lambda f, x: (x - x.mean(0)) * f), "in evaluation mode a row's .*: no statistics"),
    ("rows", pre(pre_centred_in_training), "in training mode a row's .*: no statistics of the batch"),
    (
        "frozen",
        {"add_adapter": add_with_a_counter, "forward": forward_that_counts_in_training},
        "moves the buffers .*calls.*: keep no statistics",
    ),
    ("frozen", pre_of(lambda f, x: x.mul_(f)), r"forward changes its input in place: write x \* a"),
    ("merge", {"merged_weight": merged_without_post}, "merge_adapter gives other .*: merged_weight must be"),
    ("merge", pre_of(lambda f, x: torch.tanh(x * f)), ": .*forward linear in its input"),
    ("merge", {"unmerge": unmerge_the_names}, "unmerge_adapter restores .*: merge must keep a copy"),
    ("saving", SECRET, "loading gives other outputs .an option or buffer.*: name every trained tensor"),
    ("start", {"initial": initial_of_python}, "other first.factors_in.default.*: draw with torch's own"),
    ("packing", KEPT_ASIDE, "gradients in the study's trainer .*: forward must read the tensors"),
    ("geometry", {"sides": lambda *_: ("in",)}, 'dense_blocks differ .*: .*sides.. name "out"'),
    ("geometry", pre_of(lambda f, x: (x * f).roll(1, -1)), "dense_blocks differ.*config.blocks equal"),
    (
        "geometry",
        {
            "closed_form": staticmethod(
                lambda w, p: InputBlocks(torch.zeros(1, 1, 1, w.shape[2], w.shape[2]).double())
            )
        },
        "closed_form differs from what forward applies, .*: it must follow pre and post",
    ),
    ("bfloat16", pre(pre_by_inverse), "a bfloat16 model fails .*: compute on parameters in float32"),
    ("bfloat16", pre_of(lambda f, x: x * 1e30 * 1e30 * f / 1e60), "outputs.* are not finite: compute"),
    ("adapters", pre(pre_of_the_last), f"adding a second.*: {LAST}"),
    ("adapters", {"forward": forward_always}, "disable_adapter does not give .*: forward must return base"),
]


@pytest.mark.parametrize("check,broken,message", BREAKS, ids=[f"{b[0]}-{i}" for i, b in enumerate(BREAKS)])
def test_a_broken_method_is_caught_and_told_what_to_fix(
    check: str, broken: dict[str, Any], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for attribute, value in broken.items():
        monkeypatch.setattr(FactorsLayer, attribute, value)
    with pytest.raises(contract.Broken, match=message) as error:
        contract.CHECKS[check]("factors", {})
    assert "\n" not in str(error.value)


def test_every_check_has_caught_something() -> None:
    assert [check for check in contract.CHECKS if check not in {b[0] for b in BREAKS}] == []


def test_a_method_that_keeps_it() -> None:
    results = contract.run("factors", {})
    assert [r.check for r in results] == list(contract.CHECKS)
    assert [r.message for r in results if not r.ok] == []
    assert all(r.what.endswith(".") and r.seconds < 5 for r in results)
    notes = {r.check: r.message for r in results if r.message}
    assert notes.keys() == {"start"} and "off the base model's outputs" in notes["start"]


@pytest.mark.parametrize("method,options", [
    ("ether_plus", {"sides": 1}), ("ether", {"blocks": 24}), ("ether", {"renormalise": True}),
    ("lora", {"use_dora": True, "lora_dropout": 0.1}),
])  # fmt: skip
def test_options_keep_it(method: str, options: dict[str, Any]) -> None:
    assert [r for r in contract.run(method, options) if not r.ok] == []


def test_what_does_not_apply_is_a_note(monkeypatch: pytest.MonkeyPatch) -> None:
    assert contract.CHECKS["geometry"]("lora", {}).startswith("not multiplicative")
    assert "cannot be merged" in contract.CHECKS["merge"]("lily", {})
    monkeypatch.setattr(FactorsLayer, "pre", lambda s, x, p: x * factors(p, x) if x.sum() > 0 else x)
    assert contract.CHECKS["packing"]("factors", {}).startswith("trains one by one: ")
    monkeypatch.setattr(FactorsLayer, "pre", lambda s, x, p: torch.tanh(x * factors(p, x)))
    assert contract.CHECKS["dense"]("factors", {}).startswith("not linear in its input")


def test_a_method_that_draws_with_numpy_is_named_as_such(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its draws are its run's own as well, but one number is for all rows: runs train one by one."""

    def scaled(self: Any, x: Tensor, p: Parameters) -> Tensor:
        return x * factors(p, x) * (1 + 0.1 * np.random.rand() if self.training else 1)

    monkeypatch.setattr(FactorsLayer, "pre", scaled)
    results = {r.check: r for r in contract.run("factors", {})}
    assert [r for r in results.values() if not r.ok] == []
    assert results["rows"].message == "draws at random in training"
    assert "once for all runs" in results["packing"].message


def test_a_method_that_draws_is_named_as_such(monkeypatch: pytest.MonkeyPatch) -> None:
    """It keeps the contract: its draws are its run's own."""
    drops = pre(lambda self, x, p: F.dropout(x * factors(p, x), 0.2, self.training))
    monkeypatch.setattr(FactorsLayer, "pre", drops["pre"])
    results = {r.check: r for r in contract.run("factors", {})}
    assert [r for r in results.values() if not r.ok] == []
    assert results["rows"].message == "draws at random in training" and results["packing"].message == ""


def test_other_errors_count_as_broken(monkeypatch: pytest.MonkeyPatch) -> None:
    def merged(*_: Any) -> Tensor:
        raise KeyError("nothing\nmore")

    monkeypatch.setattr(FactorsLayer, "merged_weight", merged)
    broken = [r for r in contract.run("factors", {}) if not r.ok]
    assert [r.check for r in broken] == ["merge"] and broken[0].message.startswith("KeyError: 'nothing")


def test_a_method_that_adapts_nothing_is_told_once() -> None:
    first, *others = contract.run("factors", {"blocks": 5})
    assert not first.ok and "blocks=5 does not divide the width 24" in first.message
    assert {(r.ok, r.message) for r in others} == {(False, "not checked: the method adapts no layers")}


def test_random_numbers_of_the_caller_are_left_alone() -> None:
    before = torch.get_rng_state()
    contract.run("factors", {})
    assert torch.equal(before, torch.get_rng_state())

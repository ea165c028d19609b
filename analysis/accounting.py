"""Compute and parameters of the paper's full-size models, counted exactly on the meta device.

Compute (Table 1): floating-point operations of the matrix products in one training step, forward and
backward, one sample, adapters on q and v (torch's FlopCounterMode, which the paper used); beside them
elementwise work, one operation per element that a pointwise or reducing operator writes or reads.
`side`: `activation`, as this project applies a method; `weight`, as the published code does: the
block-diagonal matrix times the weight in every step, written into a fused (q, k, v) weight, whose
whole gradient, k's part included, is then computed; `none`, the bare frozen model with a bias on q and v,
the least that any adapter there costs.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pandas as pd
import torch
import torch.nn.functional as F
from peft import get_peft_model
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode, flop_registry

from analysis import architectures
from study import methods
from study.methods.multiplicative import MultiplicativeLayer

PRINTED = Path(__file__).parent / "paper_numbers"
LLAMA_TOKENS = 256
TARGETS = ["q_proj", "v_proj"]
CELLS: list[tuple[str, int]] = [("oft", 256), *((m, n) for m in ("ether", "ether_plus") for n in (1, 4, 32))]

MODULES = {
    "Llama-2-7B": TARGETS,
    "DeBERTaV3-base": r".*encoder\.layer\..*(query_proj|key_proj|value_proj|dense)",
    "SD-1.5": ["to_q", "to_k", "to_v", "to_out"],
    "SD-1.5 S2I": r".*(to_q|to_k|to_v|to_out|proj)",
}


class Elementwise(TorchDispatchMode):
    """Counts the elements that operators other than matrix products and views work on."""

    def __init__(self) -> None:
        super().__init__()
        self.elements = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        if func.overloadpacket not in flop_registry and not func.is_view:
            tensors = [t for t in tree_leaves((args, kwargs, out)) if isinstance(t, Tensor)]
            self.elements += max((t.numel() for t in tensors), default=0)
        return out


class Bias(nn.Module):
    """The cheapest adapter: a trained bias on a frozen layer's output."""

    def __init__(self, base: nn.Linear) -> None:
        super().__init__()
        self.base = base
        self.bias = nn.Parameter(torch.empty(base.out_features, device="meta"))

    def forward(self, x: Tensor) -> Tensor:
        return self.base(x) + self.bias


class WeightSide(nn.Module):
    """The published code's form: T (n, d/n, d/n), from its parameters, times the weight (d, f)."""

    def __init__(self, base: nn.Linear, method: str, blocks: int) -> None:
        super().__init__()
        self.base, self.method = base, method
        shapes = {"ether": 1, "ether_plus": 4, "oft": 1}
        width = base.in_features // blocks
        shape = (blocks, width, width) if method == "oft" else (blocks, width)
        self.values = nn.ParameterList(torch.empty(shape, device="meta") for _ in range(shapes[method]))

    @staticmethod
    def outer(u: Tensor) -> Tensor:
        return u.unsqueeze(-1) * u.unsqueeze(-2)

    def forward(self, x: Tensor) -> Tensor:
        weight, (first, *rest) = self.base.weight.T, self.values  # (d, f)
        if self.method == "oft":  # the published code fills a dense (d, d) matrix with the blocks
            dense = torch.block_diag(*first)
            return F.linear(x, (dense @ weight).T, self.base.bias)
        blocks = len(first)
        transform = self.outer(first) if not rest else self.outer(first) + self.outer(rest[0])
        weight = torch.bmm(transform, weight.reshape(blocks, -1, weight.shape[1])).flatten(0, 1)
        if rest:
            right = self.outer(rest[1]) + self.outer(rest[2])
            columns = weight.unflatten(1, (blocks, -1)).transpose(0, 1)  # (n, d, f/n)
            weight = torch.bmm(columns, right).transpose(0, 1).flatten(1)
        return F.linear(x, weight.T, self.base.bias)


def _replace(model: nn.Module, make: Callable[[nn.Linear], nn.Module]) -> nn.Module:
    """Puts `make(layer)` in the place of every target layer."""
    for name, module in list(model.named_modules()):
        if name.rpartition(".")[2] in TARGETS and isinstance(module, nn.Linear):
            setattr(model.get_submodule(name.rpartition(".")[0]), name.rpartition(".")[2], make(module))
    return model


def weight_side(model: nn.Module, method: str, blocks: int) -> nn.Module:
    """The model with the published code's layers on q and v, and k's part of the fused gradient."""
    for name, module in model.named_modules():
        if name.endswith("k_proj") and isinstance(module, nn.Linear):
            module.weight.requires_grad_()
    return _replace(model, lambda layer: WeightSide(layer, method, blocks))


def count_step(model: nn.Module, tokens: int) -> tuple[float, float, float]:
    """One training step of one sample: matrix-product FLOPs, elementwise operations, saved bytes.

    Saved bytes: storages that autograd keeps for the backward, weights left out, float32.
    """
    inputs = torch.zeros(1, tokens, dtype=torch.long, device="meta")
    # A mask that is ready: making one reads values, which meta tensors have not.
    mask = torch.zeros(1, 1, tokens, tokens, device="meta")
    weights = {p.untyped_storage()._cdata for p in model.parameters()}
    saved: dict[int, int] = {}

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage._cdata not in weights:
            saved[storage._cdata] = storage.nbytes()
        return tensor

    counter = FlopCounterMode(display=False)
    elementwise = Elementwise()
    with elementwise, counter:
        with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
            loss = model(input_ids=inputs, attention_mask=mask, use_cache=False).logits.sum()
        loss.backward()
    return float(counter.get_total_flops()), float(elementwise.elements), float(sum(saved.values()))


def _adapted(model: nn.Module, method: str, options: dict[str, Any]) -> nn.Module:
    """The model with the project's (or `peft`'s) own layers on q and v, changed in place."""
    get_peft_model(model, methods.config(method, options, TARGETS), low_cpu_mem_usage=True)
    return model


def _lora(model: nn.Module) -> nn.Module:
    return _adapted(model, "lora", {"r": 8})


def phi_tokens() -> int:
    """The sample length that the paper's LoRA cell implies for Phi-1.5, by two secant steps."""
    printed = pd.read_csv(PRINTED / "table1.csv").query("model == 'Phi-1.5' and method == 'lora'")
    target = 1e12 * float(printed["tflops"].iloc[0])
    model = _lora(architectures.phi_1_5())
    points = [(t, count_step(model, t)[0]) for t in (1000, 1100)]
    for _ in range(2):
        (t0, f0), (t1, f1) = points[-2:]
        guess = round(t0 + (target - f0) * (t1 - t0) / (f1 - f0))
        if guess in (t0, t1):
            return guess
        points.append((guess, count_step(model, guess)[0]))
    return points[-1][0]


def compute_table() -> pd.DataFrame:
    """Table 1: a row per model, method, number of blocks and side.

    Columns: model, tokens, side, method, blocks, tflops, elementwise_gops, over_frozen (all work over
    the bare model's), saved_mb, paper_tflops, relative_error (of the side that the paper counted).
    """
    return pd.DataFrame(_compute_rows())


@cache  # shapes alone decide it, and it takes half a minute
def _compute_rows() -> tuple[dict[str, Any], ...]:
    printed = pd.read_csv(PRINTED / "table1.csv").set_index(["model", "method", "blocks"])["tflops"]
    rows = []
    models = {
        "Llama-2-7B": (architectures.llama_2_7b, LLAMA_TOKENS),
        "Phi-1.5": (architectures.phi_1_5, phi_tokens()),
    }
    for name, (build, tokens) in models.items():
        found: list[tuple[str, str, int | None, nn.Module]] = [
            ("none", "frozen", None, _replace(build(), Bias)),
            ("activation", "lora", None, _lora(build())),
        ]
        for method, blocks in CELLS:
            found.append(("activation", method, blocks, _adapted(build(), method, {"blocks": blocks})))
            found.append(("weight", method, blocks, weight_side(build(), method, blocks)))
        frozen = None
        for side, method, count, model in found:
            flops, elements, saved = count_step(model, tokens)
            frozen = frozen or flops + elements
            counted = side == "weight" or method == "lora"
            paper = float(printed.loc[(name, method, count or float("nan"))]) if counted else float("nan")
            rows.append(
                {
                    "model": name, "tokens": tokens, "side": side, "method": method, "blocks": count,
                    "tflops": flops / 1e12, "elementwise_gops": elements / 1e9,
                    "over_frozen": (flops + elements) / frozen, "saved_mb": saved / 2**20,
                    "paper_tflops": paper, "relative_error": flops / 1e12 / paper - 1,
                }
            )  # fmt: skip
    return tuple(rows)


def count_parameters(model: nn.Module, targets: Any, method: str, options: dict[str, Any]) -> int:
    """Trained numbers of one method on one model, as the paper counts them (half of OFT's)."""
    config = methods.config(method, options, targets)
    adapted = get_peft_model(model, config, low_cpu_mem_usage=True)
    share = next((m.free_share for m in adapted.modules() if isinstance(m, MultiplicativeLayer)), 1.0)
    return int(share * sum(p.numel() for p in adapted.parameters() if p.requires_grad))


def parameter_table() -> pd.DataFrame:
    """Tables 2 to 5: model, table, method, options, parameters, paper_millions, relative_error, note."""
    builders = {
        "Llama-2-7B": architectures.llama_2_7b,
        "DeBERTaV3-base": architectures.deberta_v3_base,
        "SD-1.5": architectures.sd_1_5_attention,
        "SD-1.5 S2I": architectures.sd_1_5_attention,
    }
    rows = []
    for row in pd.read_csv(
        PRINTED / "parameters.csv", dtype={"table": str}, keep_default_na=False
    ).itertuples():
        options = {k: int(v) for k, v in (part.split("=") for part in str(row.options).split())}
        name = str(row.model)
        count = count_parameters(builders[name](), MODULES[name], str(row.method), options)
        millions = float(row.millions)  # type: ignore[arg-type]
        rows.append(
            {
                "table": row.table, "model": name, "method": row.method, "options": row.options,
                "parameters": count, "paper_millions": millions,
                "relative_error": count / 1e6 / millions - 1, "note": row.note,
            }
        )  # fmt: skip
    return pd.DataFrame(rows)

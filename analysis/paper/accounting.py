"""Compute and parameters of the paper's full-size models, counted exactly on the meta device.

Compute (Table 1): floating-point operations of the matrix products in one training step, forward and
backward, one sample, adapters on q and v (torch's FlopCounterMode, which the paper used), and beside them
elementwise work (see `Elementwise`). `side` says how a method is applied:

- `none`: the bare frozen model. Its backward runs from the loss to the outputs of the first layer's q and v,
  the least that any adapter on q and v costs; no adapter, and no gradient of any weight.
- `activation`: as this project does (`peft`'s own layers for LoRA).
- `weight`: as the published code does (github.com/mwbini/ether, ether-instruct/lit_gpt/ether.py): the
  transform times the weight in every step, written into a copy of the fused (q, k, v) weight, so that the
  backward computes the whole fused gradient, k's part included. OFT is a dense (d, d) matrix here, since that
  is what Table 1's cell holds.
- `weight, by block`: the same for OFT with its blocks multiplied one by one, as the published code has it.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from peft import get_peft_model
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode, flop_registry

from analysis.paper import architectures
from study import methods
from study.methods.ether import unit
from study.methods.multiplicative import MultiplicativeLayer
from study.methods.oft import cayley

PRINTED = Path(__file__).parent / "printed"
LLAMA_TOKENS = 256
TARGETS = ["q_proj", "v_proj"]
CELLS: list[tuple[str, int]] = [("oft", 256), *((m, n) for m in ("ether", "ether_plus") for n in (1, 4, 32))]
BY_BLOCK = "weight, by block"
MODELS: dict[str, tuple[Callable[[int], nn.Module], int]] = {
    "Llama-2-7B": (architectures.llama_2_7b, architectures.LLAMA_LAYERS),
    "Phi-1.5": (architectures.phi_1_5, architectures.PHI_LAYERS),
}


class Elementwise(TorchDispatchMode):
    """Counts the work of all operators that are no matrix product, one operation per element.

    A reduction counts the elements it reads, any other operator (pointwise, softmax, normalisation, copy,
    concatenation, look-up) those it writes. Views and allocations count nothing.
    """

    FREE = {
        torch.ops.aten._unsafe_view,
        torch.ops.aten.empty_like,
        torch.ops.aten.new_empty,
        torch.ops.aten.new_empty_strided,
    }

    def __init__(self) -> None:
        super().__init__()
        self.elements = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        packet = func.overloadpacket
        given = [t.numel() for t in tree_leaves((args, kwargs)) if isinstance(t, Tensor)]
        if given and not func.is_view and packet not in flop_registry and packet not in self.FREE:
            written = [t.numel() for t in tree_leaves(out) if isinstance(t, Tensor)]
            self.elements += max(given if torch.Tag.reduction in func.tags else written, default=0)
        return out


class WeightSide(nn.Module):
    """The published code's form: T (n, d/n, d/n), built from its parameters, times the weight (d, f)."""

    def __init__(self, base: nn.Linear, method: str, blocks: int, dense: bool = False) -> None:
        super().__init__()
        self.base, self.method, self.dense = base, method, dense
        widths = [base.in_features // blocks]
        if method == "ether_plus":
            widths = 2 * [*widths, base.out_features // blocks]  # u of both sides, v of both
        shapes = [(blocks, b, b) if method == "oft" else (blocks, b) for b in widths]
        self.values = nn.ParameterList(torch.empty(shape, device="meta") for shape in shapes)

    def transforms(self) -> list[Tensor]:
        """(n, b, b) of the input side and, for ETHER+, of the output side."""
        if self.method == "oft":
            return [cayley(self.values[0])]
        units = [unit(value) for value in self.values]
        outer = [u.unsqueeze(-1) * u.unsqueeze(-2) for u in units]
        eyes = [torch.eye(o.shape[-1], device=o.device) for o in outer]
        if self.method == "ether":
            return [eyes[0] - 2 * outer[0]]
        return [eyes[side] - outer[side] + outer[side + 2] for side in (0, 1)]

    def forward(self, x: Tensor) -> Tensor:
        weight, (left, *right) = self.base.weight.T, self.transforms()  # (d, f)
        blocks = len(left)
        if self.dense:
            weight = torch.block_diag(*left) @ weight
        else:
            weight = torch.bmm(left, weight.reshape(blocks, -1, weight.shape[1])).flatten(0, 1)
        if right:
            columns = weight.unflatten(1, (blocks, -1)).transpose(0, 1)  # (n, d, f/n)
            weight = torch.bmm(columns, right[0]).transpose(0, 1).flatten(1)
        return F.linear(x, weight.T, self.base.bias)


def _targets(model: nn.Module, names: list[str]) -> list[tuple[str, nn.Linear]]:
    found = [(n, m) for n, m in model.named_modules() if n.rpartition(".")[2] in names]
    return [(n, m) for n, m in found if isinstance(m, nn.Linear)]


def bare(model: nn.Module) -> nn.Module:
    """The frozen model, from whose first q and v on everything has a gradient."""
    for _, layer in _targets(model, TARGETS)[: len(TARGETS)]:
        layer.register_forward_hook(lambda module, inputs, output: output.requires_grad_())
    return model


def weight_side(model: nn.Module, method: str, blocks: int, dense: bool) -> nn.Module:
    """The model with the published code's layers on q and v, and k's part of the fused gradient."""
    for _, layer in _targets(model, ["k_proj"]):
        layer.weight.requires_grad_()
    for name, layer in _targets(model, TARGETS):
        parent, _, own = name.rpartition(".")
        setattr(model.get_submodule(parent), own, WeightSide(layer, method, blocks, dense))
    return model


def adapted(model: nn.Module, method: str, **options: int) -> nn.Module:
    """The model with the project's (or `peft`'s) own layers on q and v, changed in place."""
    get_peft_model(model, methods.config(method, options, TARGETS), low_cpu_mem_usage=True)
    return model


def count_step(model: nn.Module, tokens: int) -> np.ndarray:
    """One training step of one sample: matrix-product FLOPs, elementwise operations, saved bytes.

    Saved bytes: float32 storages that autograd holds at the end of the forward, where they peak, each
    counted once and the model's parameters left out.
    """
    inputs = torch.zeros(1, tokens, dtype=torch.long, device="meta")
    # A mask that is ready: making one reads values, which meta tensors have not.
    mask = torch.zeros(1, 1, tokens, tokens, device="meta")
    parameters = {p.untyped_storage()._cdata for p in model.parameters()}
    saved: dict[int, int] = {}

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage._cdata not in parameters:
            saved[storage._cdata] = storage.nbytes()
        return tensor

    counter, elementwise = FlopCounterMode(display=False), Elementwise()
    with elementwise, counter:
        with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
            loss = model(input_ids=inputs, attention_mask=mask, use_cache=False).logits.sum()
        loss.backward()
    return np.array([counter.get_total_flops(), elementwise.elements, sum(saved.values())], dtype=np.int64)


def count_full(name: str, change: Callable[[nn.Module], nn.Module], tokens: int) -> np.ndarray:
    """`count_step` of a changed model of MODELS at full depth, from its first one and first two layers.

    Exact, for every layer after the first adds the same; a test compares with the full depth itself.
    """
    build, depth = MODELS[name]
    one, two = (count_step(change(build(layers)), tokens) for layers in (1, 2))
    return one + (depth - 1) * (two - one)


def phi_tokens() -> int:
    """The sample length that the paper's LoRA cell implies for Phi-1.5, by two secant steps."""
    printed = pd.read_csv(PRINTED / "table1.csv").query("model == 'Phi-1.5' and method == 'lora'")
    target = 1e12 * float(printed["tflops"].iloc[0])

    def excess(tokens: int) -> float:
        return float(count_full("Phi-1.5", lambda model: adapted(model, "lora", r=8), tokens)[0]) - target

    t0, t1 = 1000, 1100
    for _ in range(2):
        e0, e1 = excess(t0), excess(t1)
        t0, t1 = t1, round(t0 - e0 * (t1 - t0) / (e1 - e0))
        if t0 == t1:
            break
    return t1


def compute_table() -> pd.DataFrame:
    """Table 1: a row per model, method, number of blocks and side.

    Columns: model, tokens, side, method, blocks, tflops, elementwise_gops, over_frozen (all work over the
    bare model's), saved_mb (MiB), paper_tflops, relative_error (of the side that the paper counted), note.
    """
    return pd.DataFrame(_compute_rows())


@cache  # shapes alone decide it
def _compute_rows() -> tuple[dict[str, Any], ...]:
    printed = pd.read_csv(PRINTED / "table1.csv", keep_default_na=False, dtype={"blocks": str})
    cells = {(c.model, c.method, c.blocks): c for c in printed.itertuples()}
    rows = []
    for name, tokens in (("Llama-2-7B", LLAMA_TOKENS), ("Phi-1.5", phi_tokens())):
        found: list[tuple[str, str, int | None, Callable[[nn.Module], nn.Module]]] = [
            ("none", "frozen", None, bare),
            ("activation", "lora", None, lambda model: adapted(model, "lora", r=8)),
        ]
        for method, n in CELLS:

            def on_weight(model: nn.Module, method: str = method, n: int = n) -> nn.Module:
                return weight_side(model, method, n, dense=method == "oft")

            def on_input(model: nn.Module, method: str = method, n: int = n) -> nn.Module:
                return adapted(model, method, blocks=n)

            found += [("activation", method, n, on_input), ("weight", method, n, on_weight)]
        found.append((BY_BLOCK, "oft", 256, lambda model: weight_side(model, "oft", 256, dense=False)))
        work = 0.0
        for side, method, blocks, change in found:
            flops, elements, saved = (float(value) for value in count_full(name, change, tokens))
            work = work or flops + elements
            counted = side == "weight" or method == "lora"
            cell: Any = cells[(name, method, str(blocks or ""))] if counted else None
            paper = float(cell.tflops) if cell else float("nan")
            rows.append(
                {
                    "model": name, "tokens": tokens, "side": side, "method": method, "blocks": blocks,
                    "tflops": flops / 1e12, "elementwise_gops": elements / 1e9,
                    "over_frozen": (flops + elements) / work, "saved_mb": saved / 2**20,
                    "paper_tflops": paper, "relative_error": flops / 1e12 / paper - 1,
                    "note": cell.note if cell else "",
                }
            )  # fmt: skip
    return tuple(rows)


BUILDERS: dict[str, Callable[[], nn.Module]] = {
    "Llama-2-7B": architectures.llama_2_7b,
    "DeBERTaV3-base": architectures.deberta_v3_base,
    "SD-1.5": architectures.sd_1_5_attention,
    "SD-1.5 S2I": architectures.sd_1_5_attention,
}
BLOCK_LINEARS = r".*encoder\.layer\..*(query_proj|key_proj|value_proj|dense)"
ATTENTION = ["to_q", "to_k", "to_v", "to_out"]
MODULES: dict[str, list[str] | str] = {
    "Llama-2-7B": TARGETS,
    "DeBERTaV3-base": BLOCK_LINEARS,
    "SD-1.5": ATTENTION,
    "SD-1.5 S2I": [*ATTENTION, "proj"],  # proj: the feed-forward's gated projection, d to 8 d
}


def _adapt(name: str, targets: list[str] | str, method: str, options: dict[str, int]) -> nn.Module:
    config = methods.config(method, dict(options), targets)
    return get_peft_model(BUILDERS[name](), config, low_cpu_mem_usage=True)  # type: ignore[arg-type]


def count_parameters(name: str, targets: list[str] | str, method: str, **options: int) -> int:
    """Trained numbers of one method on one model of BUILDERS, as the paper counts them (half of OFT's)."""
    model = _adapt(name, targets, method, options)
    share = next((m.free_share for m in model.modules() if isinstance(m, MultiplicativeLayer)), 1.0)
    return int(share * sum(p.numel() for p in model.parameters() if p.requires_grad))


def layer_widths(name: str) -> list[tuple[int, int]]:
    """(inputs, outputs) of every layer of a model that the paper adapts."""
    layers = _adapt(name, MODULES[name], "ether", {"blocks": 1}).modules()
    return [(m.in_features, m.out_features) for m in layers if isinstance(m, MultiplicativeLayer)]


def _one_sided_feed_forward() -> int:
    attention = count_parameters("SD-1.5 S2I", ATTENTION, "ether_plus", blocks=4)
    return attention + count_parameters("SD-1.5 S2I", ["proj"], "ether_plus", blocks=4, sides=1)


def _sixteen_wide() -> int:
    free = 16 * 15 // 2  # of a skew-symmetric block
    return sum(inputs // 16 * free + 2 * outputs for inputs, outputs in layer_widths("DeBERTaV3-base"))


def _with_classifier() -> int:
    adapters = count_parameters("DeBERTaV3-base", BLOCK_LINEARS, "ether", blocks=4)
    return adapters + 3 * (layer_widths("DeBERTaV3-base")[0][0] + 1)  # MNLI's three classes


def _shared_projection() -> int:
    return 256 * layer_widths("Llama-2-7B")[0][0]


OTHERWISE: dict[tuple[str, str, str], Callable[[], int]] = {
    ("3", "ether_plus", "blocks=4"): _one_sided_feed_forward,
    ("4", "oft", "blocks=16"): _sixteen_wide,
    ("4", "ether", "blocks=4"): _with_classifier,
    ("5", "vera", "r=256"): _shared_projection,
}
"""What gives the paper's number where the description does not; the data file's note says it in words."""


def parameter_table() -> pd.DataFrame:
    """Tables 2 to 5 and 10, adapters as the paper describes them.

    Columns: table, model, method, options (`refit`: OFT's magnitude refitting), parameters, paper_millions,
    relative_error, otherwise (what follows from the note's reading instead, else nan), note.
    """
    rows = []
    printed = pd.read_csv(PRINTED / "parameters.csv", dtype=str, keep_default_na=False)
    for table, name, method, text, millions, note in printed.itertuples(index=False):
        options = {k: int(v) for k, v in (part.split("=") for part in text.split() if "=" in part)}
        count = count_parameters(name, MODULES[name], method, **options)
        if text.endswith("refit"):  # a magnitude for each output
            count += sum(outputs for _, outputs in layer_widths(name))
        other = OTHERWISE.get((table, method, text))
        paper = float(millions or "nan")
        rows.append(
            {
                "table": table, "model": name, "method": method, "options": text, "parameters": count,
                "paper_millions": paper, "relative_error": count / 1e6 / paper - 1,
                "otherwise": float(other()) if other else float("nan"), "note": note,
            }
        )  # fmt: skip
    return pd.DataFrame(rows)

"""The compute of one training step of the paper's full-size models: Table 1.

Floating-point operations of the matrix products in one training step, forward and
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
from typing import Any

import numpy as np
import pandas as pd
from torch import nn

from analysis.paper.accounting import architectures
from analysis.paper.accounting.counting import count_step
from analysis.paper.accounting.sides import adapted, bare, weight_side
from analysis.paper.published import PRINTED

LLAMA_TOKENS = 256
CELLS: list[tuple[str, int]] = [("oft", 256), *((m, n) for m in ("ether", "ether_plus") for n in (1, 4, 32))]
BY_BLOCK = "weight, by block"

Change = Callable[[nn.Module], nn.Module]
"""Applies a method to a model, in place."""

MODELS: dict[str, tuple[Callable[[int], nn.Module], int]] = {
    "Llama-2-7B": (architectures.llama_2_7b, architectures.LLAMA_LAYERS),
    "Phi-1.5": (architectures.phi_1_5, architectures.PHI_LAYERS),
}


def count_full(name: str, change: Change, tokens: int) -> np.ndarray:
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
def _compute_rows() -> tuple[dict[str, object], ...]:
    printed = pd.read_csv(PRINTED / "table1.csv", keep_default_na=False, dtype={"blocks": str})
    cells = {(c.model, c.method, c.blocks): c for c in printed.itertuples()}
    rows: list[dict[str, object]] = []
    for name, tokens in (("Llama-2-7B", LLAMA_TOKENS), ("Phi-1.5", phi_tokens())):
        frozen_work = 0.0
        for side, method, blocks, change in _variants():
            flops, elements, saved = (float(value) for value in count_full(name, change, tokens))
            frozen_work = frozen_work or flops + elements  # the frozen model comes first
            counted = side == "weight" or method == "lora"
            cell: Any = cells[(name, method, str(blocks or ""))] if counted else None
            paper = float(cell.tflops) if cell else float("nan")
            rows.append(
                {
                    "model": name, "tokens": tokens, "side": side, "method": method, "blocks": blocks,
                    "tflops": flops / 1e12, "elementwise_gops": elements / 1e9,
                    "over_frozen": (flops + elements) / frozen_work, "saved_mb": saved / 2**20,
                    "paper_tflops": paper, "relative_error": flops / 1e12 / paper - 1,
                    "note": cell.note if cell else "",
                }
            )  # fmt: skip
    return tuple(rows)


def _variants() -> list[tuple[str, str, int | None, Change]]:
    """Side, method, number of blocks, and what applies them: the rows of each model, the frozen one first."""
    variants: list[tuple[str, str, int | None, Change]] = [
        ("none", "frozen", None, bare),
        ("activation", "lora", None, lambda model: adapted(model, "lora", r=8)),
    ]
    for method, n in CELLS:

        def on_weight(model: nn.Module, method: str = method, n: int = n) -> nn.Module:
            return weight_side(model, method, n, dense=method == "oft")

        def on_input(model: nn.Module, method: str = method, n: int = n) -> nn.Module:
            return adapted(model, method, blocks=n)

        variants += [("activation", method, n, on_input), ("weight", method, n, on_weight)]
    variants.append((BY_BLOCK, "oft", 256, lambda model: weight_side(model, "oft", 256, dense=False)))
    return variants

"""The trained parameters of the paper's methods on its full-size models: Tables 2 to 5, 10 and 11.

Counted from layer shapes; nothing here needs diffusers, whose own modules a test compares with.
"""

from __future__ import annotations

from collections.abc import Callable

import pandas as pd
from peft import get_peft_model
from torch import nn

from analysis.paper.accounting import architectures
from analysis.paper.accounting.sides import TARGETS
from analysis.paper.published import PRINTED
from study import methods
from study.methods.multiplicative import MultiplicativeLayer

BUILDERS: dict[str, Callable[[], nn.Module]] = {
    "Llama-2-7B": architectures.llama_2_7b,
    "DeBERTaV3-base": architectures.deberta_v3_base,
    "SD-1.5": architectures.sd_1_5_attention,
    "SD-1.5 S2I": architectures.sd_1_5_attention,
}
ENCODER = "encoder"
"""The row of S2I's encoder of control pictures, which is no method."""

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
    trained = {name: p.numel() for name, p in model.named_parameters() if p.requires_grad}
    magnitudes = sum(count for name, count in trained.items() if "_magnitude." in name)
    return int(share * (sum(trained.values()) - magnitudes)) + magnitudes


def layer_widths(name: str) -> list[tuple[int, int]]:
    """(inputs, outputs) of every layer of a model that the paper adapts."""
    layers = _adapt(name, MODULES[name], "ether", {"blocks": 1}).modules()
    return [(m.in_features, m.out_features) for m in layers if isinstance(m, MultiplicativeLayer)]


def _one_sided_feed_forward() -> int:
    attention = count_parameters("SD-1.5 S2I", ATTENTION, "ether_plus", blocks=4)
    return attention + count_parameters("SD-1.5 S2I", ["proj"], "ether_plus", blocks=4, sides=1)


def _size(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


def _with_time_embedding() -> int:
    return _size(architectures.control_encoder()) + _size(architectures.unused_time_embedding())


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
    ("3", ENCODER, ""): _with_time_embedding,
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
        if method == ENCODER:
            count = _size(architectures.control_encoder())
        else:
            refit = {"magnitudes": True} if text.endswith("refit") else {}
            count = count_parameters(name, MODULES[name], method, **options, **refit)
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

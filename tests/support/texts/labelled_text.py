"""Labelled texts of few words as files, small models of each family that know them, and the task on both."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from study import config, tasks
from study.tasks.glue import Glue

WORDS = [
    "a", "cat", "dog", "bird", "sat", "ran", "flew", "on", "under", "over", "the", "mat", "tree", "house",
    "quickly", "slowly", ".", "and", "not", "it",
]  # fmt: skip
SMALL = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "max_position_embeddings": 24}
V3 = {
    "relative_attention": True, "pos_att_type": ["p2c", "c2p"], "share_att_key": True, "position_buckets": 4,
    "norm_rel_ebd": "layer_norm", "position_biased_input": False, "type_vocab_size": 0,
}  # fmt: skip
STEADY = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0, "intermediate_size": 48}
MODELS: dict[str, dict[str, Any]] = {
    "deberta-v2": SMALL | V3 | STEADY,
    "bert": SMALL | STEADY,
    "gpt2": {
        "n_embd": 32, "n_layer": 2, "n_head": 2, "n_positions": 24,
        "resid_pdrop": 0.0, "embd_pdrop": 0.0, "attn_pdrop": 0.0,
    },
    "llama": SMALL | {"intermediate_size": 48},
    "qwen2": SMALL | {"intermediate_size": 48, "num_key_value_heads": 2},
}  # fmt: skip
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]
ENCODERS = ("deberta-v2", "bert")
Rows = list[dict[str, Any]]


def sentences(count: int, seed: int = 0, longest: int = 6) -> list[str]:
    generator = torch.Generator().manual_seed(seed)

    def number(below: int) -> int:
        return int(torch.randint(below, (1,), generator=generator))

    return [" ".join(WORDS[number(len(WORDS))] for _ in range(2 + number(longest - 1))) for _ in range(count)]


def rows_of(
    count: int, label: Callable[[int], Any], columns: tuple[str, ...] = ("text",), seed: int = 0
) -> Rows:
    texts = {name: sentences(count, seed + 100 * i) for i, name in enumerate(columns)}
    return [{**{name: texts[name][i] for name in columns}, "label": label(i)} for i in range(count)]


def write(path: Path, rows: Rows) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as file:
        if path.suffix in (".csv", ".tsv"):
            table = csv.DictWriter(file, list(rows[0]), delimiter="," if path.suffix == ".csv" else "\t")
            table.writeheader()
            table.writerows(rows)
        elif path.suffix == ".jsonl":
            file.writelines(json.dumps(row) + "\n" for row in rows)
        else:
            json.dump(rows, file)
    return str(path)


def load(model: str, data: str, *overrides: str) -> Glue:
    """The task at `paper` scale, as a command would load it."""
    settings = config.load(
        "lr_grid",
        ["task=glue", "scale=paper", f"task.model={model}", f"task.data={data}", "task.batch_size=4",
         *overrides],
    ).task  # fmt: skip
    task = tasks.load(settings)
    assert isinstance(task, Glue)
    return task

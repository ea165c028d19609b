"""Instructions as files, small causal models, and task `instruct` on both or on what ships."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import torch

from study import config, tasks
from study.tasks import Batch
from study.tasks.instruct import Instruct

SMALL = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 48}
MODELS: dict[str, dict[str, Any]] = {
    "llama": SMALL | {"max_position_embeddings": 256},
    "gpt2": {"n_embd": 32, "n_layer": 2, "n_head": 2, "n_positions": 256},
    "qwen2": SMALL | {"max_position_embeddings": 256, "num_key_value_heads": 1, "tie_word_embeddings": True},
}
TARGETS = {"llama": "[q_proj,v_proj]", "gpt2": "[c_attn]", "qwen2": "[q_proj,v_proj]"}
ROWS = [
    {"instruction": f"Add {i} and one.", "input": "" if i % 3 else "as a word", "output": f"{i + 1} it is"}
    for i in range(40)
]


def load(*overrides: str) -> Instruct:
    """The task as a command would load it."""
    task = tasks.load(config.load("lr_grid", ["task=instruct", *overrides]).task)
    assert isinstance(task, Instruct)
    return task


def batch_of(task: Instruct, count: int, split: str = "train") -> Batch:
    return task.examples(split, torch.arange(count))


def write(path: Path, rows: list[dict[str, Any]]) -> str:
    if path.suffix == ".csv":
        with path.open("w", newline="", encoding="utf-8") as file:
            table = csv.DictWriter(file, list(rows[0]))
            table.writeheader()
            table.writerows(rows)
    elif path.suffix == ".jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    else:
        path.write_text(json.dumps(rows))
    return str(path)


def paper(model: str, data: str, *overrides: str) -> Instruct:
    small = [f"task.model={model}", f"task.data={data}", "task.batch_size=4", "task.max_length=128"]
    return load("scale=paper", *small, *overrides)

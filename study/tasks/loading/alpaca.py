"""Instructions and responses in Alpaca's format, as prompts in its words."""

from __future__ import annotations

from study.errors import UsageError
from study.tasks.loading.text import SPLIT_NAMES, column, load_rows, text_splits

WITH_INPUT = (
    "Below is an instruction that describes a task, paired with an input that provides further context. "
    "Write a response that appropriately completes the request.\n\n"
    "### Instruction:\n{instruction}\n\n### Input:\n{input}\n\n### Response:"
)
WITHOUT_INPUT = (
    "Below is an instruction that describes a task. "
    "Write a response that appropriately completes the request.\n\n"
    "### Instruction:\n{instruction}\n\n### Response:"
)
"""Alpaca's prompts, as in `train.py` of github.com/tatsu-lab/stanford_alpaca."""


def prompt(instruction: str, context: str = "") -> str:
    """Alpaca's prompt for an instruction, with or without an input."""
    template = WITH_INPUT if context else WITHOUT_INPUT
    return template.format(instruction=instruction, input=context)


def load_alpaca(source: str) -> tuple[dict[str, list[tuple[str, str]]], str]:
    """(prompt, response) pairs of each split of data in Alpaca's format, and what was left out, in words.

    Its columns are `instruction`, `output` and perhaps `input`. Rows without an output (Alpaca itself has
    some) are left out: there is nothing to learn from them.

    Raises:
        UsageError: if the data cannot be read, lacks a column, or has too few rows.
    """
    parts, without_output = {}, []
    for split, rows in load_rows(source).items():
        if split not in SPLIT_NAMES:
            continue
        for name in ("instruction", "output"):
            column(rows, [name], name, source)
        outputs = [_text(cell) for cell in rows["output"]]
        without_output += [f"row {i + 1} of {split}" for i, output in enumerate(outputs) if not output]
        parts[split] = rows.select([i for i, output in enumerate(outputs) if output])
    left_out = f"{len(without_output)} without an output, first {without_output[0]}" if without_output else ""
    if not len(parts["train"]):
        raise UsageError(f"task.data={source}: no row has an output")
    pairs = {}
    for split, rows in text_splits(parts).items():
        inputs = rows["input"] if "input" in rows.column_names else [None] * len(rows)
        pairs[split] = [
            (prompt(_text(instruction), _text(context)), _text(output))
            for instruction, context, output in zip(rows["instruction"], inputs, rows["output"], strict=True)
        ]
    return pairs, left_out


def _text(cell: object) -> str:
    """A cell as Alpaca's template takes it; numbers and empty cells of a CSV file too."""
    return "" if cell is None else str(cell).strip()

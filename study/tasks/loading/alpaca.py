"""Instructions and responses in Alpaca's format, as prompts in its words."""

from __future__ import annotations

from typing import NamedTuple

from datasets import Dataset

from study.errors import UsageError
from study.settings import TaskSettings
from study.tasks.loading.splits import check_train
from study.tasks.loading.text import SPLIT_NAMES, column, load_rows, split_notes, text_splits

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


class Instructions(NamedTuple):
    """What was read.

    Attributes:
        pairs: (prompt, response) pairs by split.
        left_out: which rows were left out and why, in words; empty if none were.
        columns: what was read from which column, in words.
        notes: what was decided by rule.
    """

    pairs: dict[str, list[tuple[str, str]]]
    left_out: str
    columns: list[str]
    notes: list[str]


def load_alpaca(settings: TaskSettings) -> Instructions:
    """The rows of `task.data`, in Alpaca's format, as prompts and responses.

    Its columns are `instruction`, `output` and perhaps `input`, or as the settings call them. Rows without an
    output (Alpaca itself has some) are left out: there is nothing to learn from them.

    Raises:
        UsageError: if the data cannot be read, lacks a column, or has too few rows.
    """
    source = settings.data
    if len(settings.text_column) > 2:
        raise UsageError(f"task.text_column={settings.text_column}: instruction and perhaps input, not more")
    asked, answered = settings.text_column or ["instruction", "input"], settings.label_column or "output"
    read, notes = load_rows(source, settings.subset, {name.lower() for name in (*asked, answered)})
    check_train(source, read)
    parts: dict[str, Dataset] = {}
    without_output: list[str] = []
    columns: list[str] = []
    for split in SPLIT_NAMES:
        if split not in read:
            continue
        rows, used = _columns(read[split], asked, answered, settings)
        columns = columns or used
        filled = []
        for number, (instruction, context, output) in enumerate(rows, 1):
            if not output:
                without_output.append(f"row {number} of {split}")
            elif not instruction and not context:
                raise UsageError(f"task.data={source}: row {number} of {split} has no {asked[0]}")
            else:
                filled.append((prompt(instruction, context), output))
        parts[split] = Dataset.from_dict({"prompt": [p for p, _ in filled], "output": [o for _, o in filled]})
    left_out = f"{len(without_output)} without an output, first {without_output[0]}" if without_output else ""
    if not len(parts["train"]):
        raise UsageError(f"task.data={source}: no row has an output")
    splits = text_splits(parts)
    pairs = {
        split: list(zip(rows["prompt"][:], rows["output"][:], strict=True)) for split, rows in splits.items()
    }
    return Instructions(pairs, left_out, columns, [*notes, *split_notes(parts, splits)])


def _columns(
    rows: Dataset, asked: list[str], answered: str, settings: TaskSettings
) -> tuple[list[tuple[str, str, str]], list[str]]:
    """Instruction, input and output of each row, and which columns they are from."""
    source = settings.data
    names = [column(rows, [asked[0]], "instruction", source, "text_column")]
    output = column(rows, [answered], "output", source, "label_column")
    has_second = any(name.strip().lower() == asked[-1].lower() for name in rows.column_names)
    if len(asked) > 1 and (has_second or settings.text_column):
        names.append(column(rows, [asked[1]], "input", source, "text_column"))
    cells = {name: [_text(cell, name, source) for cell in rows[name][:]] for name in (*names, output)}
    inputs = cells[names[1]] if len(names) > 1 else [""] * len(rows)
    roles = zip(("instruction", "input"), names, strict=False)
    used = [*(f"{role}: {name}" for role, name in roles), f"output: {output}"]
    return list(zip(cells[names[0]], inputs, cells[output], strict=True)), used


def _text(cell: object, name: str, source: str) -> str:
    """A cell as Alpaca's template takes it; numbers and empty cells too."""
    if isinstance(cell, list | dict):
        raise UsageError(f"task.data={source}: {name} holds lists or objects, such as {cell!r:.60}, not text")
    return "" if cell is None else str(cell).strip()

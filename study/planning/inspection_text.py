"""What was understood of a study's tasks, in words: a line or two per task, before anything runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from study.planning.inspection import Inspection, ModelSummary
from study.planning.runs import Run
from study.settings import TaskSettings
from study.tasks.data_summary import DataSummary, Lengths

OF_FILES = ("sha256:", "stat:")
"""How fingerprints of files begin, which are one data set unless they are of GLUE."""

FEW = 6
"""So many classes or layers are named one by one."""


def format_inspections(
    asked: Mapping[str, Sequence[Run]], inspections: Mapping[str, Inspection]
) -> list[str]:
    """A line on the data of each task and one on its model; what several tasks share is said once.

    Args:
        asked: the runs that were inspected, by the task's key.
        inspections: by the task's key; tasks without one are left out.
    """
    tasks = {key: asked[key][0].task for key in inspections}
    subsets = {task.subset for task in tasks.values()}
    lines: dict[str, None] = {}  # a set that stays in order
    for key, inspection in inspections.items():
        of_files = inspection.fingerprints.data.startswith(OF_FILES)
        subset = None if of_files and len(subsets) == 1 else tasks[key].subset
        lines |= dict.fromkeys(_data_lines(tasks[key].data, subset, inspection.data))
    for key, inspection in inspections.items():
        lines |= dict.fromkeys(_model_lines(tasks[key], inspection.model))
    return list(lines)


def _data_lines(source: str, subset: str | None, data: DataSummary) -> list[str]:
    rows = ", ".join(f"{split} {count:,}" for split, count in data.rows.items())
    parts = [f"{rows} rows", data.kind, _classes(data), ", ".join(data.columns), _lengths(data.lengths)]
    where = f"{source}, {subset}" if subset else source
    return [f"  data {where}: {'; '.join(filter(None, parts))}", *(f"    {note}" for note in data.notes)]


def _classes(data: DataSummary) -> str:
    counts = data.classes
    if not counts:
        return ""
    if len(counts) <= FEW:
        return f"{len(counts)} classes: {', '.join(f'{name} {count:,}' for name, count in counts.items())}"
    least, most = min(counts, key=lambda c: counts[c]), max(counts, key=lambda c: counts[c])
    return f"{len(counts)} classes, from {least} {counts[least]:,} to {most} {counts[most]:,}"


def _lengths(lengths: Lengths | None) -> str:
    if lengths is None:
        return ""
    longest = f"longest {lengths.longest:,} {lengths.unit}"
    if lengths.limit is None:
        return longest
    cut = (
        f"{lengths.cut:,} are cut at {lengths.limit:,}"
        if lengths.cut
        else f"none is cut at {lengths.limit:,}"
    )
    return f"{longest}, {cut}"


def _model_lines(task: TaskSettings, model: ModelSummary) -> list[str]:
    return [
        f"  model {task.model}: {model.name}, {model.size:,} parameters",
        f"  {_adapted(model)}{_head(model)}",
    ]


def _adapted(model: ModelSummary) -> str:
    finetuned = f"trains {', '.join(model.finetuned)} in full"
    if model.finetuned and not model.adapted:
        return finetuned
    total = sum(model.adapted.values())
    layers = f"{total} layers ({', '.join(f'{count} {entry}' for entry, count in model.adapted.items())})"
    return f"adapts {layers}{f'; or {finetuned}' if model.finetuned else ''}"


def _head(model: ModelSummary) -> str:
    if not model.head or not (model.adapted or model.head_is_trained):
        return ""
    how = "trains the head" if model.head_is_trained else "leaves out the head"
    return f"; {how} ({', '.join(model.head)})"

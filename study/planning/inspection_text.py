"""What was understood of a study's tasks, in words: a line or two per task, before anything runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from study.planning.inspection import Inspection, ModelSummary
from study.planning.runs import Run
from study.settings import TaskSettings
from study.tasks.data_summary import DataSummary, Lengths

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
    lines: dict[str, None] = {}  # a set that stays in order
    for part in (_data_lines, _model_lines):
        for key, inspection in inspections.items():
            lines |= dict.fromkeys(part(tasks[key], inspection))
    return list(lines)


def _data_lines(task: TaskSettings, inspection: Inspection) -> list[str]:
    data = inspection.data
    rows = ", ".join(f"{split} {count:,}" for split, count in data.rows.items())
    parts = [f"{rows} rows", data.kind, _classes(data), ", ".join(data.columns), _lengths(data.lengths)]
    where = f"{task.data}, {task.subset}" if task.subset else task.data
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


def _model_lines(task: TaskSettings, inspection: Inspection) -> list[str]:
    model = inspection.model
    return [
        f"  model {task.model}: {model.name}, {model.size:,} parameters",
        f"  adapts {_adapted(model)}{_head(model)}",
    ]


def _adapted(model: ModelSummary) -> str:
    total = sum(model.adapted.values())
    return f"{total} layers ({', '.join(f'{count} {entry}' for entry, count in model.adapted.items())})"


def _head(model: ModelSummary) -> str:
    if not model.head:
        return ""
    how = "trains the head" if model.head_is_trained else "leaves out the head"
    return f"; {how} ({', '.join(model.head)})"

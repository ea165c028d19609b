"""What an atlas lacks: tasks, methods, runs; each with the command that has it done."""

from __future__ import annotations

from collections.abc import Iterator

from analysis.atlas.collected import Collected
from analysis.data.names import method_name
from study.storage.atlas_file import PlannedTask


def missing(atlas: Collected, method: str = "", task: str = "") -> list[str]:
    """Sentences, of one method or task alone if it is named; empty where nothing is missing."""
    names = [task] if task else atlas.plan.known
    sentences = [sentence for name in names for sentence in _of_task(atlas, name, method)]
    return sentences if method or task else [*sentences, *atlas.apart]


def _of_task(atlas: Collected, name: str, method: str) -> Iterator[str]:
    title, planned = name.replace("_", " "), atlas.plan.tasks.get(name)
    if planned is None:
        if name not in atlas.runs:
            yield f"{title} was not run: {_command(name, method)}."
        return
    if planned.refused and not method:
        yield f"{title} was refused: {planned.refused.rstrip('.')}."
    for excluded, reason in planned.excluded.items():
        if method in ("", excluded):
            yield f"{method_name(excluded)} cannot be trained on {title}: {reason}."
    absent = []
    for each, (ended, failed) in _ended(atlas, name, planned).items():
        if method not in ("", each):
            continue
        if failed:
            yield (
                f"{failed} run{'s' * (failed > 1)} of {method_name(each)} failed on {title}: "
                f"{_command(name, each)} retry=failed."
            )
        left = planned.methods[each].runs - ended - failed
        if left > 0:
            absent.append((each, left))
    if absent:
        runs = sum(left for _, left in absent)
        who = ", ".join(f"{method_name(each)} ({left})" for each, left in absent)
        yield f"{runs} run{'s' * (runs > 1)} on {title} are not done, of {who}: {_command(name, method)}."


def _ended(atlas: Collected, name: str, planned: PlannedTask) -> dict[str, tuple[int, int]]:
    """method -> how many of its runs on the task ended with a score, and how many failed."""
    if name not in atlas.runs:
        return {method: (0, 0) for method in planned.methods}
    runs = atlas.runs[name]
    found = {}
    for method in planned.methods:
        counted = runs.loc[runs["method"] == method, "counted"]
        found[method] = int(counted.sum()), int((~counted).sum())
    return found


def _command(task: str, method: str) -> str:
    return f"python -m study.atlas only={task}{f' method={method}' if method else ''}"

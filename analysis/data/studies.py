"""The studies at hand, found by what their records say and not by their folders' names.

A study here has one task, scale and subset, hence one metric; a folder with several (a sweep over GLUE's
tasks) holds as many.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import pandas as pd

from analysis.data.table import (
    METHOD_ORDER,
    Study,
    check_runs,
    label_runs,
    read_table,
    read_tables,
    setting_text,
)
from study.storage import schema

GRID = "lr_grid"
HEAD_ALONE = "head_alone"
"""The sweep that trains heads on frozen models: a baseline, of no method."""

LANGUAGE = ("glue", "instruct")
GLUE_MINIATURES = ("acceptability", "topic", "paraphrase", "similarity")
"""The names in `study.tasks.glue.MINIATURE`, which cannot be imported without torch."""

Key = tuple[str, str, str]
"""(task, scale, subset); subset is empty where the task has none."""

VTAB: Key = ("vtab", "mini", "")
MINIATURES: list[Key] = [
    VTAB,
    *(("glue", "mini", subset) for subset in GLUE_MINIATURES),
    ("instruct", "mini", ""),
]
"""What the sweep lr_grid can run out of the box."""


def key_of(study: Study) -> Key:
    first = study.runs.iloc[0]
    subset = setting_text(first.get("task.subset"))
    return str(first["task"]), str(first["scale"]), "" if subset == "none" else subset


def title(key: Key) -> str:
    """`vtab`, `glue acceptability`, `glue mnli (paper)`"""
    task, scale, subset = key
    return " ".join([task, *([subset] if subset else []), *(["(paper)"] if scale == "paper" else [])])


def folder_name(key: Key) -> str:
    """The folder in which the sweep lr_grid leaves a miniature's study: `lr_grid_glue_topic`."""
    task, _, subset = key
    return GRID if key == VTAB else "_".join(filter(None, (GRID, task, subset)))


def command(key: Key) -> str:
    """What makes the miniature's study of the sweep lr_grid."""
    task, _, subset = key
    chosen = [] if task == VTAB[0] else [f"task={task}"]
    return " ".join(
        [f"python -m study.sweep {GRID}", *chosen, *([f"task.subset={subset}"] if subset else [])]
    )


def split(folder: Path) -> list[Study]:
    """The studies in one folder, those with a score at all; `runs` says the folder in a column `study`.

    Raises:
        AnalysisError: if its tables cannot be used.
    """
    tables = read_tables(folder)
    runs = tables["runs"]
    columns = [name for name in ("task", "scale", "task.subset") if name in runs]
    found = []
    for _, rows in runs.groupby(columns, sort=False, dropna=False):
        own = label_runs(rows).assign(study=folder.resolve().name)
        check_runs(own, folder)
        others = (tables[name][tables[name]["run_id"].isin(own["run_id"])] for name in ("history", "layers"))
        if own["counted"].any():
            found.append(Study(folder.resolve().name, own, *others))
    return found


def at_hand(results: Path) -> list[Study]:
    """Every study directly under `results` that is of the sweep lr_grid or of a language task."""
    found: list[Study] = []
    for path in sorted(results.glob("*/runs.parquet")):
        runs = read_table(path.parent, "runs", {name: schema.RUNS[name] for name in ("sweep", "task")})
        if (runs["sweep"] == GRID).any() or runs["task"].isin(LANGUAGE).any():
            found += split(path.parent)
    return found


def grids(studies: Iterable[Study]) -> list[Study]:
    """The studies of the sweep lr_grid that have all its methods, each with one setting; see `one_each`."""

    def whole(study: Study) -> bool:
        there = study.runs.loc[study.runs["counted"], "label"]
        return study.runs["sweep"].iloc[0] == GRID and set(METHOD_ORDER) <= set(there)

    return one_each(study for study in studies if whole(study))


def one_each(studies: Iterable[Study]) -> list[Study]:
    """One study for each task, scale and subset, vtab's first.

    One under its sweep's own name goes before others, for a try under another name decides nothing; then one
    with more methods, then with more runs.
    """
    best: dict[Key, Study] = {}
    for study in sorted(studies, key=_rank, reverse=True):
        best.setdefault(key_of(study), study)
    return [best[key] for key in sorted(best, key=lambda key: (key[0] != VTAB[0], key))]


def _rank(study: Study) -> tuple[bool, int, int]:
    return _is_standard(study), study.runs["method"].nunique(), len(study.runs)


def _is_standard(study: Study) -> bool:
    """Of the sweep lr_grid or of the paper's own settings, under the name that the sweep's command gives."""
    sweep, task = study.runs[["sweep", "task"]].iloc[0]
    own = study.name == sweep or study.name.startswith(f"{sweep}_{task}")
    return own and sweep in (GRID, f"{task}_paper")


def language(studies: Iterable[Study]) -> list[Study]:
    """One study of GLUE or of instruction tuning for each task, scale and subset in which something trained.

    Methods come from different folders where no single one has all, such as ETHER from the paper's own
    settings and LoRA, for which the paper states no rates, from a grid. Each is taken whole, from the first
    folder in the order of `one_each`.
    """
    trained = [
        s
        for s in studies
        if key_of(s)[0] in LANGUAGE and s.runs["steps"].max() > 0 and s.runs["sweep"].iloc[0] != HEAD_ALONE
    ]
    found = []
    for study in one_each(trained):
        same = [s for s in trained if key_of(s) == key_of(study) and _is_standard(s) == _is_standard(study)]
        found.append(_joined(sorted(same, key=_rank, reverse=True)))
    return found


def heads(studies: Iterable[Study]) -> dict[Key, Study]:
    """The studies of the sweep head_alone; the largest where there are several of one task."""
    own = sorted((s for s in studies if s.runs["sweep"].iloc[0] == HEAD_ALONE), key=lambda s: len(s.runs))
    return {key_of(study): study for study in own}


def _joined(studies: list[Study]) -> Study:
    """Each method of the first study that has it."""
    first, *others = studies
    for other in others:
        new = other.runs[~other.runs["method"].isin(first.runs["method"])]
        if len(new):
            runs = label_runs(pd.concat([first.runs, new], ignore_index=True))
            name = f"{first.name} + {other.name}"
            check_runs(runs, Path(name))
            tables = [
                pd.concat(pair) for pair in ((first.history, other.history), (first.layers, other.layers))
            ]
            first = Study(name, runs, *tables)
    return first

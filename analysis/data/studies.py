"""The studies at hand, found by what their records say and not by their folders' names.

A study here has one task, scale, subset and data set, hence one metric; a folder with several (a sweep over
GLUE's tasks) holds as many.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from pathlib import Path

import pandas as pd

from analysis.data.labels import METHOD_ORDER, is_missing, label_runs
from analysis.data.table import AnalysisError, Study, check_runs, no_results, read_table, read_tables
from analysis.data.trials import is_space, read_trials
from study.naming import study_name
from study.storage import schema

GRID = "lr_grid"
HEAD_ALONE, ENCODER_ALONE = "head_alone", "encoder_alone"
BASELINES = (HEAD_ALONE, ENCODER_ALONE)
"""The sweeps that train the head, or the encoder of control pictures, of a frozen model: of no method."""
PERTURBATION = "perturbation"

LANGUAGE = ("glue", "instruct")
GLUE_MINIATURES = ("acceptability", "topic", "paraphrase", "similarity")
"""The names in `study.tasks.glue.MINIATURE`, which cannot be imported without torch."""

Key = tuple[str, str, str]
"""(task, scale, subset); subset is empty where the task has none."""

VTAB: Key = ("vtab", "mini", "")
S2I: Key = ("s2i", "mini", "")
SUBJECT: Key = ("subject", "mini", "")
IMAGES = (S2I[0], SUBJECT[0])
"""The tasks that generate pictures."""
MINIATURES: list[Key] = [
    VTAB,
    *(("glue", "mini", subset) for subset in GLUE_MINIATURES),
    ("instruct", "mini", ""),
    S2I,
    SUBJECT,
]
"""What the sweep lr_grid can run out of the box."""


def key_of(study: Study) -> Key:
    first = study.runs.iloc[0]
    subset = first.get("task.subset")
    return str(first["task"]), str(first["scale"]), "" if is_missing(subset) else str(subset)


def title(key: Key) -> str:
    """`vtab`, `glue acceptability`, `glue mnli (paper)`"""
    task, scale, subset = key
    return " ".join([task, *([subset] if subset else []), *(["(paper)"] if scale == "paper" else [])])


def folder_name(key: Key, sweep: str = GRID) -> str:
    """The folder in which a sweep leaves a miniature's study: `lr_grid_glue_topic`."""
    task, _, subset = key
    return sweep if key == VTAB else study_name(sweep, task, subset)


def command(key: Key, sweep: str = GRID) -> str:
    """What makes the miniature's study of a sweep."""
    task, _, subset = key
    words = [f"python -m study.sweep {sweep}"]
    words += [] if task == VTAB[0] else [f"task={task}"]
    words += [f"task.subset={subset}"] if subset else []
    words += ["task.data=portraits-upright"] if task == S2I[0] and sweep == PERTURBATION else []
    return " ".join(words)


def split(folder: Path) -> list[Study]:
    """The studies in one folder, whose scores do not compare with each other's; `runs` has a column `study`.

    Raises:
        AnalysisError: if its tables cannot be used.
    """
    if not folder.is_dir():
        raise AnalysisError(no_results(folder))
    tables = read_tables(folder)
    runs = tables["runs"]
    if runs.empty:
        raise AnalysisError(f"{folder}/runs.parquet holds no runs yet")
    columns = [name for name in KINDS if name in runs]
    studies = []
    for _, rows in runs.groupby(columns, sort=False, dropna=False):
        labelled = label_runs(rows, by_method=is_space(folder)).assign(study=folder.resolve().name)
        check_runs(labelled, folder)
        history, layers = (
            tables[name][tables[name]["run_id"].isin(labelled["run_id"])] for name in ("history", "layers")
        )
        trials, name = read_trials(folder, labelled), folder.resolve().name
        studies.append(Study(name, labelled, history, layers, folder=folder, trials=trials))
    return studies


KINDS = ("task", "scale", "task.subset", "task.data")
"""Columns in which the runs of one study do not differ."""


def distinct_titles(studies: list[Study]) -> list[str]:
    """A title for each of a folder's studies, by what tells it from the others; empty for a single one."""
    if len(studies) == 1:
        return [""]
    first = [study.runs.iloc[0] for study in studies]
    parts = [[title(key_of(study))] for study in studies]
    data = ["" if is_missing(row.get("task.data")) else str(row.get("task.data")) for row in first]
    if len(set(data)) > 1:
        parts = [[*part, of_data] for part, of_data in zip(parts, data, strict=True)]
    return [" ".join(filter(None, part)) for part in parts]


def read_all(results: Path, tasks: Collection[str] = ()) -> list[Study]:
    """Every study directly under `results` that is of the sweep lr_grid or of another task than vtab.

    Those that draw their runs from a space are none of the paper's.

    Args:
        tasks: of these alone, if any are given.
    """
    studies: list[Study] = []
    for path in sorted(results.glob("*/runs.parquet")):
        if is_space(path.parent):
            continue
        runs = read_table(path.parent, "runs", {name: schema.RUNS[name] for name in ("sweep", "task")})
        wanted = (runs["sweep"] == GRID).any() or (runs["task"] != VTAB[0]).any()
        if wanted and (not tasks or runs["task"].isin(tasks).any()):
            studies += [study for study in split(path.parent) if study.runs["counted"].any()]
    return studies


def grids(studies: Iterable[Study]) -> list[Study]:
    """The studies of the sweep lr_grid that have all its methods, each with one setting; see `one_each`."""

    def is_complete(study: Study) -> bool:
        labels = study.runs.loc[study.runs["counted"], "label"]
        return study.runs["sweep"].iloc[0] == GRID and set(METHOD_ORDER) <= set(labels)

    return one_each(study for study in studies if is_complete(study))


def of_sweep(studies: Iterable[Study], sweep: str) -> list[Study]:
    """The studies of a sweep, one for each task, scale and subset; see `one_each`.

    A perturbation of a miniature that is not on the data which its model knows answers another question and
    is left out.
    """
    of = [study for study in studies if study.runs["sweep"].iloc[0] == sweep]
    return one_each(study for study in of if sweep != PERTURBATION or _is_about_its_data(study))


def one_each(studies: Iterable[Study]) -> list[Study]:
    """One study for each task, scale and subset, vtab's first.

    One under its sweep's own name goes before others, for a try under another name decides nothing; then one
    on the data that its sweep is about, with more methods, with more runs.
    """
    best: dict[Key, Study] = {}
    for study in sorted(studies, key=_preference, reverse=True):
        best.setdefault(key_of(study), study)
    return [best[key] for key in sorted(best, key=lambda key: (key[0] != VTAB[0], key))]


def _preference(study: Study) -> tuple[bool, bool, bool, int, int]:
    runs = study.runs
    sizes = runs["method"].nunique(), len(runs)
    return (_is_standard(study), _is_named_by_its_command(study), _is_about_its_data(study), *sizes)


def _is_about_its_data(study: Study) -> bool:
    """Training is on what the model does not know, perturbation of what it does: the upright pictures.

    Subjects stand upright, and what they have in common is known.
    """
    sweep, scale, task = study.runs[["sweep", "scale", "task"]].iloc[0]
    if task == SUBJECT[0] or scale == "paper":
        return True
    return _data(study).endswith("-upright") == (sweep == PERTURBATION)


def _data(study: Study) -> str:
    data = study.runs.iloc[0].get("task.data")
    return "" if is_missing(data) else str(data)


def _is_standard(study: Study) -> bool:
    """Of the sweep lr_grid or of the paper's own settings, under the name that the sweep's command gives."""
    sweep, task = study.runs[["sweep", "task"]].iloc[0]
    return _is_named_by_its_command(study) and sweep in (GRID, f"{task}_paper")


def _is_named_by_its_command(study: Study) -> bool:
    sweep, task = study.runs[["sweep", "task"]].iloc[0]
    return study.name == sweep or study.name.startswith(f"{sweep}_{task}")


def language(studies: Iterable[Study]) -> list[Study]:
    """One study of GLUE or of instruction tuning for each task, scale and subset in which something trained.

    See `_each_method`.
    """
    return _each_method(
        s for s in studies if key_of(s)[0] in LANGUAGE and s.runs["sweep"].iloc[0] not in BASELINES
    )


def images(studies: Iterable[Study]) -> list[Study]:
    """One study for each task that generates pictures and each scale, of a grid or the paper's settings."""
    return _each_method(
        study
        for study in studies
        if key_of(study)[0] in IMAGES and study.runs["sweep"].iloc[0] in (GRID, f"{key_of(study)[0]}_paper")
    )


def _each_method(studies: Iterable[Study]) -> list[Study]:
    """One study for each task, scale and subset, of those in which something trained.

    Methods come from different folders where no single one has all, such as ETHER from the paper's own
    settings and LoRA, for which the paper states no rates, from a grid; all on the same data. All runs of a
    method are of one folder, the first in the order of `one_each`.
    """
    trained = [study for study in studies if study.runs["steps"].max() > 0]
    merged = []
    for study in one_each(trained):
        same = [s for s in trained if _identity(s) == _identity(study)]
        merged.append(_merge(sorted(same, key=_preference, reverse=True)))
    return merged


def _identity(study: Study) -> tuple[Key, bool, str]:
    return key_of(study), _is_standard(study), _data(study)


def heads(studies: Iterable[Study]) -> dict[Key, Study]:
    """The studies of the sweeps BASELINES, of each task the one on its own data, then the largest."""
    of_heads = (s for s in studies if s.runs["sweep"].iloc[0] in BASELINES)
    ascending = sorted(of_heads, key=lambda study: (_is_about_its_data(study), len(study.runs)))
    return {key_of(study): study for study in ascending}


def _merge(studies: list[Study]) -> Study:
    """Each method of the first study that has it."""
    first, *others = studies
    for other in others:
        new = other.runs[~other.runs["method"].isin(first.runs["method"])]
        if len(new):
            runs = label_runs(pd.concat([first.runs, new], ignore_index=True))
            name = f"{first.name} + {other.name}"
            check_runs(runs, Path(name))
            history = pd.concat([first.history, other.history])
            first = Study(name, runs, history, pd.concat([first.layers, other.layers]))
    return first

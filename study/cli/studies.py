"""The study that a command is about, by its name under `results=` or by its folder."""

from __future__ import annotations

from pathlib import Path

from study.cli.arguments import Key
from study.errors import UsageError, nearest

RESULTS = Key("where studies are kept", "FOLDER", default="results")

COMPARISONS = "compare"
"""The folder of comparisons, among those of studies."""

ATLAS = "atlas"
"""The folder of the atlas, which has a study for each task."""

COLLECTIONS = (COMPARISONS, ATLAS)
"""Folders among those of studies that hold studies themselves."""


def study_folder(name: str, results: str, file: str) -> Path:
    """Where the study is: `lr_grid`, `results/lr_grid` and, of a comparison, `gain` or `compare/gain`.

    Of the atlas: `atlas/vtab` or, if there is no other study of that name, `vtab`.

    Args:
        results: where studies are kept.
        file: that a study's folder has.

    Returns:
        The first of these places that holds the file; where none does, the one that is most likely meant.
    """
    as_path, named = Path(name).expanduser(), Path(results) / name
    is_path = "/" in name
    collected = [Path(results) / collection / name for collection in COLLECTIONS]
    places = [as_path, named] if is_path else [named, *collected, as_path]
    holding = (place for place in places if (place / file).is_file())
    there = (place for place in places if place.is_dir())
    is_meant = as_path.parent.is_dir() or Path(results) in as_path.parents
    missing = as_path if is_path and is_meant else named
    return next(holding, None) or next(there, None) or missing


def existing_study(name: str, results: str, file: str) -> Path:
    """The same of a study that is there.

    Raises:
        UsageError: if it is not, with the nearest that are.
    """
    folder = study_folder(name, results, file)
    if (folder / file).is_file():
        return folder
    parent = folder.parent
    known = [path.parent.name for path in studies_in(parent, file)]
    hint = nearest(folder.name, known) if known else f"{parent} holds no study yet"
    raise UsageError(f"no study {folder}; {hint}")


def studies_in(results: Path, file: str) -> list[Path]:
    """That file of every study and comparison, and of the studies of the atlas."""
    in_collections = [path for name in COLLECTIONS for path in results.glob(f"{name}/*/{file}")]
    return sorted([*results.glob(f"*/{file}"), *in_collections])


def study_names(results: Path, file: str) -> list[str]:
    """Names of the studies that `studies_in` finds, as commands take them."""
    return [path.parent.relative_to(results).as_posix() for path in studies_in(results, file)]

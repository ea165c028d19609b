"""The pictures that runs kept, and what they are pictures of."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd

from analysis.data.labels import is_missing
from analysis.data.table import Study
from study.storage import pictures
from study.storage.rows import PICTURES

if TYPE_CHECKING:
    from study.storage.pictures import Pictures

PORTRAITS = "pixel portraits: 16 x 16 pixels, composed of sprites, not photographs"
CONTENT = dict.fromkeys(("portraits", "portraits-upright", "portrait-subjects"), PORTRAITS)
"""What the project's own data sets of pictures show, by `task.data`."""


def content_of(runs: pd.DataFrame) -> str:
    """What the pictures of a study show, where its data are the project's own; else nothing."""
    data = set(runs["task.data"]) if "task.data" in runs else set()
    return CONTENT.get(str(next(iter(data))), "") if len(data) == 1 else ""


def with_pictures(study: Study) -> pd.DataFrame:
    """The runs that have a score and kept pictures; none in a study that was put together from several.

    None either, which is said, where the tables were copied without the folder of the pictures.
    """
    runs = study.runs[study.runs["counted"]]
    if study.folder is None or PICTURES not in runs:
        return runs.iloc[:0]
    kept = runs[~runs[PICTURES].map(is_missing) & (runs[PICTURES] != "")]
    if len(kept) and not (folder := pictures.path_of(study.folder, "").parent).is_dir():
        print(f"no grid of samples: the pictures of {len(kept)} runs are not there, in {folder}")
        return kept.iloc[:0]
    return kept


def pictures_of(study: Study, run: pd.Series) -> Pictures:
    """What a run kept, by what it shows: (examples, 3, height, width) each.

    Args:
        run: a row of `with_pictures`.

    Raises:
        UsageError: if the file is not there, or is not what the run wrote.
    """
    assert study.folder is not None
    return pictures.read(study.folder, str(run["run_id"]), str(run[PICTURES]))

"""What a study is called when nobody names it: the name of its folder under `results/`."""

from __future__ import annotations


def study_name(sweep: str, task: str, subset: str | None = None, scale: str = "mini") -> str:
    """The name of a sweep's study on a task that is not the sweep's own: `lr_grid_glue_rte_paper`.

    Args:
        subset: which of the task's data sets, where it has several and the study is of one.
        scale: the miniature goes without saying.
    """
    parts = (sweep, task, subset, None if scale == "mini" else scale)
    return "_".join(part for part in parts if part)

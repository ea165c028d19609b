"""Names of studies that nobody named, their folders under `results/`; and which models ship."""

from __future__ import annotations

SHIPPED = "shipped"
"""As `task.model`: the model that ships with the task. A further one that ships is `shipped-width32`."""


def is_shipped(model: str) -> bool:
    """Whether `task.model` names a model that ships with its task."""
    return model == SHIPPED or model.startswith(f"{SHIPPED}-")


def study_name(sweep: str, task: str, subset: str | None = None, scale: str = "mini") -> str:
    """The name of a sweep's study on a task that is not the sweep's own: `lr_grid_glue_rte_paper`.

    Args:
        subset: which of the task's data sets, where it has several and the study is of one.
        scale: the miniature goes without saying.
    """
    parts = (sweep, task, subset, None if scale == "mini" else scale)
    return "_".join(part for part in parts if part)

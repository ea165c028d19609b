"""The models that a study's folder offers to be asked: its base models, and runs whose adapter is there."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from study.errors import UsageError
from study.storage import adapters, tables


@dataclass(frozen=True)
class Candidate:
    """A model to be asked: a base model, or one with the adapter of a run.

    Attributes:
        task: the study's task, which knows where a `shipped` model is.
        adapter: folder of the adapter; None for the base model.
    """

    model: str
    precision: str
    task: str
    adapter: Path | None = None
    run_id: str = ""
    method: str = "base"
    lr: float | None = None
    seed: int | None = None
    parameters: int = 0

    @property
    def title(self) -> str:
        return f"{self.method} lr={self.lr} seed={self.seed}" if self.adapter else f"{self.model}, untouched"


def candidates(folder: Path) -> list[Candidate]:
    """The base models of the runs whose adapters were kept, then those runs in the order of the table.

    Raises:
        UsageError: if there are none, or the table is damaged.
    """
    import pandas as pd

    table = folder / "runs.parquet"
    if table in tables.damaged_tables(folder):
        raise UsageError(f"{table} is damaged; the sweep's command makes it anew")
    adapted = [
        Candidate(
            model=run["task.model"],
            precision=run["task.precision"],
            task=run["task"],
            adapter=adapter,
            **{name: run[name] for name in ("run_id", "method", "lr", "seed", "parameters")},
        )
        for run in pd.read_parquet(table).to_dict("records")
        if (adapter := adapters.folder_of(folder, run["run_id"])).is_dir()
    ]
    if not adapted:
        raise UsageError(
            f"{folder} has kept no adapters; train with save_adapters=best (or all) and a new name="
        )
    bases = dict.fromkeys(Candidate(run.model, run.precision, run.task) for run in adapted)
    return [*bases, *adapted]

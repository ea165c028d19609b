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
        settings: those in which the method's runs in the study differ, such as `method.ether.blocks=4`.
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
    settings: str = ""

    @property
    def title(self) -> str:
        return f"{self.cell} seed={self.seed}" if self.adapter else f"{self.model}, untouched"

    @property
    def cell(self) -> str:
        """What the seeds of one method and learning rate have in common: `ether lr=0.01`."""
        return " ".join(filter(None, [self.method, self.settings, f"lr={self.lr}"]))


def candidates(folder: Path) -> list[Candidate]:
    """The base models of the runs whose adapters were kept, then those runs in the order of the table.

    Raises:
        UsageError: if there are none, or the table is damaged.
    """
    import pandas as pd

    from study.storage.tuned import differing_settings  # as pandas, it takes time to import

    table = folder / "runs.parquet"
    if table in tables.damaged_tables(folder):
        raise UsageError(f"{table} is damaged; the sweep's command makes it anew")
    runs = pd.read_parquet(table)
    there = adapters.saved(folder)
    adapted = [
        Candidate(
            model=run["task.model"],
            precision=run["task.precision"],
            task=run["task"],
            adapter=adapter,
            settings=differing_settings(run, runs),
            **{name: run[name] for name in ("run_id", "method", "lr", "seed", "parameters")},
        )
        for run in runs.to_dict("records")
        if (adapter := there.get(run["run_id"]))
    ]
    if not adapted:
        raise UsageError(
            f"{folder} has kept no adapters; train with save_adapters=best (or all) and a new name="
        )
    bases = dict.fromkeys(Candidate(run.model, run.precision, run.task) for run in adapted)
    return [*bases, *adapted]

"""A comparison's records: new methods beside a baseline, under the labels that `study.compare` gave them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from analysis.data.table import AnalysisError, Study, load
from analysis.figures.style import method_styles
from study.errors import UsageError
from study.storage.comparison_file import Cost, read_comparison


@dataclass(frozen=True)
class Compared(Study):
    """A study under the labels of compare.json.

    order: the labels, baseline first. costs: by label.
    command: what made it.
    """

    order: list[str]
    costs: Mapping[str, Cost]
    command: str

    @property
    def method_of(self) -> dict[str, str]:
        """As in Study; a label that does not begin with its method's name stands for itself."""
        return {
            label: method if label.startswith(method) else label
            for label, method in super().method_of.items()
        }

    @property
    def names(self) -> dict[str, str]:
        """label -> name as figures and sentences show it."""
        return {label: style.name for label, style in method_styles(self.labels, self.method_of).items()}


def read(folder: Path) -> Compared:
    """The study in `folder` with the labels of its compare.json; runs without one are left out.

    Raises:
        AnalysisError: if tables or compare.json are missing, damaged or at odds with each other.
    """
    study = load(folder)
    try:
        comparison = read_comparison(folder)
    except UsageError as error:
        raise AnalysisError(str(error)) from None
    order, labels = list(comparison.order), comparison.labels
    runs = study.runs[study.runs["run_id"].isin(labels.keys())].copy()
    runs["label"] = runs["run_id"].map(labels)
    runs["rank"] = runs["label"].map({label: rank for rank, label in enumerate(order)}).astype("int64")
    absentees = [label for label in order if label not in set(runs["label"])]
    if absentees:
        raise AnalysisError(
            f"{folder}/runs.parquet has no run of {', '.join(absentees)}; run the command again: "
            f"{comparison.command or 'python -m study.compare'}"
        )
    repeated = runs[runs.duplicated(["label", "lr", "seed"])]
    if len(repeated):
        first = repeated.iloc[0]
        raise AnalysisError(
            f"{folder}/compare.json calls two runs {first['label']} with lr={first['lr']:g} "
            f"seed={first['seed']}"
        )
    if not (runs["counted"] & (runs["label"] == order[0])).any():
        raise AnalysisError(f"every run of the baseline {order[0]} failed; see the reasons in runs.parquet")
    history, layers = (table[table["run_id"].isin(runs["run_id"])] for table in (study.history, study.layers))
    order_and_costs = (order, comparison.costs, comparison.command)
    return Compared(study.name, runs, history, layers, *order_and_costs, folder=folder)

"""Which hyperparameters matter, for the report of a study of a space."""

from __future__ import annotations

from analysis.data.names import label_name
from analysis.data.table import Study
from analysis.reporting.text_table import table_text
from analysis.statistics.importance import LEAST, importances

NOTE = (
    "Shares of each hyperparameter in what decides the validation score, by Optuna; a learning rate counts "
    "by its logarithm. fANOVA: over the whole space. PED-ANOVA: for being among the best tenth of the trials."
)


def importance_section(study: Study) -> dict[str, object]:
    """Values for a template: `importance`, a table or None, and `importance_note`."""
    table = importances(study)
    if table.empty:
        return {
            "importance": None,
            "importance_note": f"It takes {LEAST} trials of a method, and two hyperparameters that vary.",
        }
    names = {label: label_name(label, method) for label, method in study.method_of.items()}
    table["label"] = table["label"].map(names)
    shown = table.rename(columns={"label": "method", "key": "hyperparameter", "ped_anova": "PED-ANOVA"})
    return {"importance": table_text(shown.rename(columns={"fanova": "fANOVA"})), "importance_note": NOTE}

"""Writes a study's export: `results/NAME/export/`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from analysis.data.table import AnalysisError, Study
from analysis.exporting.bibliography import bibliography
from analysis.exporting.formats import as_frame, latex, latex_text, markdown
from analysis.exporting.protocol import protocol
from analysis.exporting.results_table import results_table
from study.storage.files import write_atomically

FORMATS = {"latex": ".tex", "markdown": ".md", "csv": ".csv"}


def export(studies: Mapping[str, Study], folder: Path, form: str) -> Path:
    """Writes table, protocol and, but for CSV, methods.bib into folder/export; returns the table's file.

    Args:
        studies: by title, which is empty for a single one.
        form: of FORMATS.

    Raises:
        AnalysisError: if no run ended.
    """
    ended = {title: study for title, study in studies.items() if study.runs["counted"].any()}
    if not ended:
        raise AnalysisError(f"{folder} holds no run that ended; see the reasons in runs.parquet")
    name = next(iter(ended.values())).name
    tables = {title: results_table(study) for title, study in ended.items()}
    if form == "csv":
        frames = [as_frame(table).assign(**({"part": t} if t else {})) for t, table in tables.items()]
        text = pd.concat(frames).to_csv(index=False)
    elif form == "latex":
        parts = []
        for title, study in ended.items():
            label = "-".join(filter(None, (name, title.replace(" ", "-")))).replace("_", "-")
            parts += [latex(tables[title], label), f"{latex_text(protocol(study))}\n"]
        text = "\n".join(
            ["% needs \\usepackage{booktabs,graphicx} and natbib; references: methods.bib", *parts]
        )
    else:
        text = "\n".join(f"{markdown(tables[title])}\n{protocol(study)}\n" for title, study in ended.items())
    target = folder / "export" / f"{name}{FORMATS[form]}"
    target.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(target, text.encode())
    if form != "csv":
        methods = sorted({str(method) for study in ended.values() for method in study.runs["method"]})
        write_atomically(target.parent / "methods.bib", bibliography(methods).encode())
    return target

"""Values for the sections of the paper's report."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from analysis.data import studies
from analysis.data.labels import is_missing
from analysis.data.studies import HEAD_ALONE, MINIATURES, key_of
from analysis.paper.printed_form import as_printed, ours, sources
from analysis.paper.records import Records
from analysis.paper.tables import asked_elsewhere, glue_table, instruct_table

PAPER_COMMANDS = {
    "glue": [
        "python -m study.sweep glue_paper",
        "python -m study.sweep lr_grid task=glue scale=paper task.subset=NAME method=lora,oft "
        "method.oft.blocks=16",
    ],
    "instruct": ["python -m study.sweep instruct_paper", "python -m study.evaluate instruct_paper"],
}
"""What makes the records at the paper's scale. For LoRA and OFT on GLUE the paper states no rates."""


@dataclass(frozen=True)
class TextTable:
    columns: list[str]
    rows: list[list[str]]


@dataclass(frozen=True)
class LanguageSection:
    """Table 4 or 5: as printed, ours at the paper's scale, and the miniature's; None without records.

    commands: what makes the records, by scale. sources: the models and data of ours at the paper's scale.
    lacking: what has no row, and why.
    """

    heading: str
    printed: TextTable
    paper: TextTable | None
    mini: TextTable | None
    commands: dict[str, list[str]]
    sources: str
    lacking: list[str]


def language_sections(records: Records, results: Path) -> list[LanguageSection]:
    """Tables 4 and 5 for the report; each is written as table4.csv and table5.csv, too."""
    sections = []
    for number, task, heading in ((4, "glue", "GLUE"), (5, "instruct", "Instruction tuning")):
        of_task = [study for study in records.language if key_of(study)[0] == task]
        table = glue_table(of_task, records.heads) if task == "glue" else instruct_table(of_task, results)
        table.to_csv(results / "paper" / f"table{number}.csv", index=False)
        commands = {
            "paper": PAPER_COMMANDS[task],
            "mini": [studies.command(key) for key in MINIATURES if key[0] == task],
        }
        if task == "glue":
            commands["mini"].append(f"python -m study.sweep {HEAD_ALONE}")
        paper, mini = (ours(table, scale) for scale in ("paper", "mini"))
        sections.append(
            LanguageSection(
                heading=f"{heading} (Table {number})",
                printed=table_text(as_printed(number)),
                paper=None if paper is None else table_text(paper),
                mini=None if mini is None else table_text(mini),
                commands=commands,
                sources=sources(table, "paper"),
                lacking=asked_elsewhere(of_task, results),
            )
        )
    return sections


def table_text(table: pd.DataFrame) -> TextTable:
    """Numbers with four digits; empty where a value is missing."""

    def text(value: object) -> str:
        if is_missing(value):
            return ""
        return f"{value:,.4g}" if isinstance(value, float) else str(value)

    rows = [[text(value) for value in row] for row in table.itertuples(index=False)]
    return TextTable([str(name) for name in table.columns], rows)

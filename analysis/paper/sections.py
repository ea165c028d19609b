"""Values for the sections of the paper's report."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from analysis.data import studies
from analysis.data.studies import ENCODER_ALONE, HEAD_ALONE, MINIATURES, S2I, key_of
from analysis.paper.image_tables import FRECHET, SCORES, blocks_table, control_table
from analysis.paper.printed_form import as_printed, ours, sources
from analysis.paper.records import BLOCKS, Records
from analysis.paper.tables import asked_elsewhere, glue_table, instruct_table
from analysis.reporting.text_table import TextTable, table_text

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
class TableSection:
    """A table of scores: as printed, ours at the paper's scale, and the miniature's; None without records.

    unit: what the numbers are. commands: what makes the records, by scale. sources: the models and data of
    ours at the paper's scale.
    lacking: what has no row, and why.
    """

    heading: str
    unit: str
    printed: TextTable
    paper: TextTable | None
    mini: TextTable | None
    commands: dict[str, list[str]]
    sources: str
    lacking: list[str]


def language_sections(records: Records, results: Path) -> list[TableSection]:
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
            TableSection(
                heading=f"{heading} (Table {number})",
                unit="Percent; perplexity is itself",
                printed=table_text(as_printed(number)),
                paper=None if paper is None else table_text(paper),
                mini=None if mini is None else table_text(mini),
                commands=commands,
                sources=sources(table, "paper"),
                lacking=asked_elsewhere(of_task, results),
            )
        )
    return sections


def image_sections(records: Records, results: Path) -> list[TableSection]:
    """Tables 3 and 9 for the report; each is written as table3.csv and table9.csv, too."""
    of_blocks = [study for study in records.blocks if key_of(study)[0] == S2I[0]]
    tables = {3: control_table(records.images, records.heads), 9: blocks_table(of_blocks)}
    headings = {3: "Controllable generation", 9: "Controllable generation by number of blocks"}
    grid = f"python -m study.sweep {{}} task={S2I[0]} scale=paper"
    commands = {
        3: {
            "paper": ["python -m study.sweep s2i_paper", grid.format(studies.GRID) + " lr=1e-6..1e-1:6"],
            "mini": [studies.command(S2I), f"python -m study.sweep {ENCODER_ALONE}"],
        },
        9: {
            "paper": [grid.format(BLOCKS) + " method=ether lr=1e-3"],
            "mini": [studies.command(S2I, BLOCKS)],
        },
    }
    sections = []
    for number, table in tables.items():
        table.to_csv(results / "paper" / f"table{number}.csv", index=False)
        forms = {scale: ours(table, scale) for scale in ("paper", "mini")}
        text = {
            scale: None if form is None else table_text(_titled(form, scale)) for scale, form in forms.items()
        }
        sections.append(
            TableSection(
                heading=f"{headings[number]} (Table {number})",
                unit="Percent; a Frechet distance is itself, and less of it is better",
                printed=table_text(_titled(as_printed(number), "paper")),
                paper=text["paper"],
                mini=text["mini"],
                commands=commands[number],
                sources=sources(table, "paper"),
                lacking=NOTES if number == 3 else [],
            )
        )
    return sections


NOTES = [
    "The miniature's pictures are composed sprites, no photographs. Its Frechet distance is in the features "
    "of a network trained on such pictures, and so no FID. The numbers of parameters include the control "
    "encoder's; the paper's do not."
]


def _titled(form: pd.DataFrame, scale: str) -> pd.DataFrame:
    """With the paper's names of the scores; only at its own scale is the Frechet distance the FID."""
    return form.rename(columns=SCORES | ({FRECHET: "FID"} if scale == "paper" else {}))

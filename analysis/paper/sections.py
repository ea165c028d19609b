"""Values for the sections of the paper's report."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from analysis.data import studies
from analysis.data.studies import ENCODER_ALONE, HEAD_ALONE, MINIATURES, S2I, SUBJECT, key_of
from analysis.data.table import Study
from analysis.paper.image_tables import (
    AT_PAPERS_SCALE,
    SCORES,
    blocks_table,
    control_table,
    sides_table,
    subject_table,
)
from analysis.paper.printed_form import as_printed, ours, sources
from analysis.paper.records import BLOCKS, ENERGY, Records
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
    """Tables 2, 3, 9 and 11 for the report; each is written as table2.csv, ... , too."""

    def of(task: str, some: list[Study]) -> list[Study]:
        return [study for study in some if key_of(study)[0] == task]

    s2i, subject = S2I[0], SUBJECT[0]
    tables = {
        2: subject_table(of(subject, records.images)),
        3: control_table(of(s2i, records.images), records.heads),
        9: blocks_table(of(s2i, records.blocks)),
        11: sides_table(of(subject, [*records.energy, *records.images])),
    }
    sections = []
    for number, table in tables.items():
        table.to_csv(results / "paper" / f"table{number}.csv", index=False)
        names = SCORES[s2i if number in (3, 9) else subject]
        paper, mini = (ours(table, scale) for scale in ("paper", "mini"))
        at_scale = names | AT_PAPERS_SCALE
        sections.append(
            TableSection(
                heading=f"{HEADINGS[number]} (Table {number})",
                unit=UNITS[number],
                printed=table_text(as_printed(number).rename(columns=at_scale)),
                paper=None if paper is None else table_text(paper.rename(columns=at_scale)),
                mini=None if mini is None else table_text(mini.rename(columns=names)),
                commands=COMMANDS[number],
                sources=sources(table, "paper"),
                lacking=NOTES.get(number, []),
            )
        )
    return sections


HEADINGS = {
    2: "Subject-driven generation",
    3: "Controllable generation",
    9: "Controllable generation by number of blocks",
    11: "Subject-driven generation, ETHER+ on one side and on both",
}
_OF_S2I = "Percent; a Frechet distance is itself, and less of it is better"
_OF_SUBJECT = "Percent of similarities and shares, of LPIPS too"
UNITS = {2: _OF_SUBJECT, 3: _OF_S2I, 9: _OF_S2I, 11: _OF_SUBJECT}
COMMANDS = {
    2: {
        "paper": [
            "python -m study.sweep subject_paper",
            "python -m study.sweep lr_grid task=subject scale=paper",
        ],
        "mini": [studies.command(SUBJECT)],
    },
    3: {
        "paper": [
            "python -m study.sweep s2i_paper",
            "python -m study.sweep lr_grid task=s2i scale=paper lr=1e-6..1e-1:6",
        ],
        "mini": [studies.command(S2I), f"python -m study.sweep {ENCODER_ALONE}"],
    },
    9: {
        "paper": ["python -m study.sweep blocks task=s2i scale=paper method=ether lr=1e-3"],
        "mini": [studies.command(S2I, BLOCKS)],
    },
    11: {
        "paper": ["python -m study.sweep subject_paper"],
        "mini": [studies.command(SUBJECT, ENERGY)],
    },
}
"""What makes the records of each table, by scale."""


_SPRITES = "The miniature's pictures are composed sprites, no photographs."
NOTES = {
    2: [
        f"{_SPRITES} Its subject fidelity is the share of a person's looks that a network finds, its prompt "
        "fidelity that of what a prompt says: neither DINO nor CLIP-T. One is bought with the other, so the "
        "learning rate is tuned for their harmonic mean, which the paper does not print.",
        "LPIPS is a distance of generated from real pictures, printed as if more of it were better. It is no "
        "measure of quality: in the paper ETHER, whose pictures are least like the subject, has the most.",
    ],
    3: [
        f"{_SPRITES} Its Frechet distance is in the features of a network trained on such pictures, and so "
        "no FID. The numbers of parameters include the control encoder's; the paper's do not."
    ],
}
"""What is said below a table."""

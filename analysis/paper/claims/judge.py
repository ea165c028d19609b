"""Every claim with its statement, what judges it, and the verdicts on given records."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, replace

import pandas as pd

from analysis.data.studies import GRID, PERTURBATION, VTAB, key_of, title
from analysis.data.table import Study
from analysis.paper.claims.blocks import judge_blocks
from analysis.paper.claims.bounded import judge_bounded
from analysis.paper.claims.economical import judge_economical
from analysis.paper.claims.energy import judge_energy
from analysis.paper.claims.fast import judge_fast
from analysis.paper.claims.part import Part, admitted, comparable, overall
from analysis.paper.claims.perturbed import judge_perturbed
from analysis.paper.claims.robust import judge_robust
from analysis.paper.records import BLOCKS

CLAIMS = {
    "C1": "Bounded: ETHER's distance is constant and ETHER+'s bounded, OFT's and Naive's grow with the rate",
    "C2": "Robust: ETHER and ETHER+ keep their score over the learning rate, LoRA, OFT and Naive do not",
    "C3": "Fast: ETHER+ converges early at high learning rates",
    "C4": "Small: 120 and 30 times fewer parameters than OFT on SD-1.5",
    "C5": "Blocks: their number hardly changes the score and cuts the compute",
    "C6": "Hyperspherical energy: Naive matches OFT though it changes HE; ETHER+ changes it and scores best",
    "C7": "Non-deteriorating: random ETHER(+) transformations keep the model usable, OFT's do not",
    "C8": "Economical: ETHER+ scores at least as well as LoRA and OFT with fewer parameters (Tables 2, 4, 5)",
}

PRINTED_SCORES = "printed scores"
"""Studies of the tasks of Tables 2, 4 and 5, in which the paper prints scores of LoRA, OFT and ETHER+."""
FROM_RECORDS: dict[str, tuple[str, Callable[[Study], list[Part]]]] = {
    "C1": (GRID, judge_bounded),
    "C2": (GRID, judge_robust),
    "C3": (GRID, judge_fast),
    "C5": (BLOCKS, judge_blocks),
    "C6": (GRID, judge_energy),
    "C7": (PERTURBATION, judge_perturbed),
    "C8": (PRINTED_SCORES, judge_economical),
}
"""The claims that a study decides alone: of which kind, and what judges it."""


def decide(claim: str, studies: list[Study]) -> list[Part]:
    """The claim's parts on every study of its kind; a part's name says the study where it is not vtab's."""
    parts = []
    for study in studies:
        name = title(key_of(study))
        where = "" if key_of(study) == VTAB else f", {name}"
        of_study = comparable(study)
        judged = admitted(FROM_RECORDS[claim][1](of_study), of_study)
        parts += [replace(part, part=part.part + where, study=name) for part in judged]
    return parts


def by_study(parts: list[Part]) -> pd.DataFrame:
    """Verdicts, a column per claim, a row per study and before them one of all parts; empty where none is."""
    rows = []
    for study in dict.fromkeys(["all", *(part.study for part in parts if part.study)]):
        row = {"study": study}
        for claim in CLAIMS:
            verdicts = [p.verdict for p in parts if p.claim == claim and study in ("all", p.study)]
            row[claim] = overall(verdicts) if verdicts else ""
        rows.append(row)
    return pd.DataFrame(rows)


def as_table(parts: list[Part]) -> pd.DataFrame:
    """Rows of claims.csv: for each claim its verdict (part empty), then its parts."""
    rows: list[dict[str, object]] = []
    for claim, statement in CLAIMS.items():
        of_claim = [part for part in parts if part.claim == claim]
        verdict = overall([part.verdict for part in of_claim]) if of_claim else "no records"
        rows.append({"claim": claim, "part": "", "test": statement, "verdict": verdict})
        rows += [asdict(part) for part in of_claim]
    columns = ["claim", "part", "verdict", "effect", "low", "high", "test", "records"]
    return pd.DataFrame(rows, columns=columns)

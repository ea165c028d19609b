"""`python -m analysis.paper`: every figure and table of the paper that the records at hand allow.

Reads under `results=` the studies perturbation, hyperspherical, blocks and mechanism, and whatever is of
the sweep lr_grid, of controllable and subject-driven generation, of GLUE or of instruction tuning; counts
compute and parameters exactly; and writes
results/paper/: claims.csv (verdicts), compute.csv, parameters.csv, table2.csv and table11.csv (subject-driven
generation), table3.csv and table9.csv (controllable generation), table4.csv and table5.csv (language),
table6.csv and oft_against_naive.csv, mechanism.csv (the control), figures/ and report.html. Studies of
generation that are not there are taken from the committed ones under reference/. What needs records that are
not there is named with the command that makes them.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import pandas as pd

from analysis.command import EXIT, RESULTS
from analysis.data.studies import GRID, IMAGES, PERTURBATION, SUBJECT, VTAB, key_of, title
from analysis.data.table import Study
from analysis.figures.catalogue import STUDY_FIGURES
from analysis.figures.robustness import draw_robustness
from analysis.paper.accounting.compute import compute_table
from analysis.paper.accounting.parameters import parameter_table
from analysis.paper.claims.blocks import judge_blocks_compute
from analysis.paper.claims.judge import CLAIMS, FROM_RECORDS, PRINTED_SCORES, as_table, by_study, decide
from analysis.paper.claims.part import SAME_SCORE, Part
from analysis.paper.claims.small import judge_small
from analysis.paper.control import control_sentences, control_table
from analysis.paper.figures.beside import draw_beside
from analysis.paper.figures.blocks import draw_blocks
from analysis.paper.figures.generation import draw_for
from analysis.paper.figures.hyperspherical import draw_hyperspherical
from analysis.paper.figures.mechanism import draw_mechanism
from analysis.paper.figures.oft_against_naive import draw_oft_against_naive
from analysis.paper.figures.perturbation import draw_perturbation
from analysis.paper.image_tables import naive_against_oft
from analysis.paper.records import BLOCKS, ENERGY, Records, gather
from analysis.paper.sections import image_sections, language_sections
from analysis.reporting.many import over_all
from analysis.reporting.page import Picture, links, render_page
from analysis.reporting.text_table import TextTable, table_text
from analysis.reporting.travel import travel
from analysis.statistics.paired import paired_tests
from study.cli.arguments import Command
from study.errors import UsageError

FIGURES: list[tuple[str, Callable[[Study, Path], Path | None], str]] = [
    *((GRID, each.draw, each.paper_caption) for each in STUDY_FIGURES if each.paper_caption is not None),
    ("hyperspherical", draw_hyperspherical, "Figure 7 with longer training, ETHER+ one- and two-sided."),
    (
        "perturbation",
        draw_perturbation,
        "Figure 3: random transformations of growing strength; rings mark where a method's range ends.",
    ),
    ("blocks", draw_blocks, "Tables 9 and 10: the number of blocks."),
    (GRID, draw_oft_against_naive, "Table 6: OFT against Naive, paired by seed."),
    (
        "mechanism",
        draw_mechanism,
        "A control the paper does not have: normals of another length, free to grow or held.",
    ),
]
"""Of which study, what draws it, its caption."""


def make(results: Path, records: Records) -> Path:
    """Makes results/paper from the records; returns the report's path."""
    folder = results / "paper"
    folder.mkdir(parents=True, exist_ok=True)
    compute, parameters = compute_table(), parameter_table()
    parts = judge(records, compute, parameters)
    tables = {"compute": compute, "parameters": parameters, "claims": as_table(parts)}
    if "mechanism" in records.named:
        tables["mechanism"] = control_table(records.named["mechanism"])
    if GRID in records.named:
        tables["oft_against_naive"] = paired_tests(records.named[GRID].runs, "naive", "oft", SAME_SCORE)
    if len(table6 := naive_against_oft(records.grids)):
        tables["table6"] = table6
    for name, table in tables.items():
        table.to_csv(folder / f"{name}.csv", index=False)
    claims = tables["claims"]
    shown = {name: table_text(table) for name, table in tables.items()}
    grids = {title(key_of(study)): study for study in records.grids}
    page = render_page(
        "paper",
        folder,
        claims=claims.astype(object).where(claims.notna(), "").to_dict("records"),
        overview=overview(by_study(parts)),
        ranks=over_all(grids, folder / "figures"),
        travel=travel(grids, folder / "figures"),
        compute=shown["compute"],
        parameters=shown["parameters"],
        tables=[*image_sections(records, results), *language_sections(records, results)],
        pictures=[*draw(records, results), *beside(folder)],
        across_tasks=shown.get("table6"),
        missing=records.missing(),
        findings=control_sentences(tables["mechanism"]) if "mechanism" in tables else [],
        rivals=shown.get("oft_against_naive"),
        control=shown.get("mechanism"),
        records=records.counts(),
        files=links(sorted(folder.glob("*.csv")), folder),
    )
    report = folder / "report.html"
    report.write_text(page, encoding="utf-8")
    return report


def overview(verdicts: pd.DataFrame) -> TextTable:
    """A row per claim with its statement, its verdict over all studies, and that on each of them.

    Args:
        verdicts: of `by_study`.
    """
    turned = verdicts.set_index("study").T.rename_axis("claim").reset_index()
    turned.insert(1, "what it says", turned["claim"].map(CLAIMS))
    return table_text(turned)


def draw(records: Records, results: Path) -> list[Picture]:
    """Draws every figure. Grids other than vtab's have folders of their own."""
    folder = results / "paper" / "figures"
    drawn = [
        (drawer(records.named[name], folder), caption)
        for name, drawer, caption in FIGURES
        if name in records.named
    ]
    for study in records.grids:
        key = key_of(study)
        of_grid = folder / title(key).replace(" ", "_")
        if key[0] in IMAGES:
            drawn += draw_for(GRID, study, of_grid)
        elif key != VTAB:
            caption = f"The same question as Figure 5's on {title(key)}."
            drawn.append((draw_robustness(study, of_grid), caption))
    for sweep, of_sweep in ((PERTURBATION, records.perturbation), (ENERGY, records.energy)):
        for study in of_sweep:
            if (key := key_of(study))[0] in IMAGES:
                drawn += draw_for(sweep, study, folder / f"{title(key).replace(' ', '_')}_{sweep}")
    return [Picture(path, caption) for path, caption in drawn if path is not None]


def beside(folder: Path) -> list[Picture]:
    """The printed scores and ours side by side, of every table that has both.

    Args:
        folder: with the tables' CSVs.
    """
    pictures = []
    for path in sorted(folder.glob("table*.csv"), key=lambda path: int(path.stem.removeprefix("table"))):
        table = pd.read_csv(path)
        if {"printed", "ours", "options"} <= set(table):
            drawn = draw_beside(table, int(path.stem.removeprefix("table")), folder / "figures")
            pictures += [Picture(*drawn)] if drawn else []
    return pictures


def judge(records: Records, compute: pd.DataFrame, parameters: pd.DataFrame) -> list[Part]:
    """The parts of every claim that can be decided."""
    by_kind = {
        GRID: records.grids, PERTURBATION: records.perturbation, BLOCKS: records.blocks,
        PRINTED_SCORES: [*records.language, *(s for s in records.images if key_of(s)[0] == SUBJECT[0])],
    }  # fmt: skip
    parts = [part for claim, (kind, _) in FROM_RECORDS.items() for part in decide(claim, by_kind[kind])]
    unet = parameters[(parameters["table"] == "2") & ~parameters["options"].str.contains("sides")]
    unet = unet.set_index("method")["parameters"]
    parts += judge_small({method: float(unet["oft"] / unet[method]) for method in ("ether", "ether_plus")})
    if records.blocks:
        weight_side = compute[(compute["side"] == "weight") & compute["model"].str.startswith("Llama")]
        tflops = weight_side.set_index(["method", "blocks"])["tflops"]
        parts += judge_blocks_compute(
            {m: float(tflops[(m, 32)] / tflops[(m, 1)]) for m in ("ether", "ether_plus")}
        )
    return parts


COMMAND = Command("analysis.paper", __doc__, keys={"results": RESULTS}, exit=EXIT)


def main(arguments: list[str]) -> int:
    return COMMAND.run(arguments, lambda parsed: announce(Path(parsed.keys["results"])))


def announce(results: Path) -> int:
    """Makes everything; prints the verdicts, what has no records yet, and where the report is.

    Raises:
        UsageError: if there is no such folder.
    """
    if not results.is_dir():
        raise UsageError(f"results={results}: no such folder; `make paper` trains what it is to hold")
    start = time.monotonic()
    records = gather(results)
    report = make(results, records)
    claims = pd.read_csv(report.parent / "claims.csv")
    for row in claims[claims["part"].isna()].itertuples():
        print(f"{row.claim}  {row.verdict:15} {row.test}")
    for name, command in records.missing().items():
        print(f"no records of {name}: {command}")
    print(f"report: {report} ({time.monotonic() - start:.0f} s)")
    return 0

"""`python -m analysis.paper`: every figure and table of the paper that the records at hand allow.

Reads under `--results` the studies perturbation, hyperspherical, blocks and mechanism, and whatever is of
the sweep lr_grid, of GLUE or of instruction tuning; counts compute and parameters exactly; and writes
results/paper/: claims.csv (verdicts), compute.csv, parameters.csv, table4.csv and table5.csv (language),
oft_against_naive.csv, mechanism.csv (the control), figures/ and report.html. What needs records that are
not there is named with the command that makes them.
"""

from __future__ import annotations

import argparse
import base64
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from jinja2 import Environment, FileSystemLoader

from analysis.data import studies
from analysis.data.studies import GRID, HEAD_ALONE, MINIATURES, VTAB, Key, key_of, title
from analysis.data.table import Study, load
from analysis.figures import geometry as geometry_figures
from analysis.figures import learning_rate as figures
from analysis.figures import paper as paper_figures
from analysis.paper import tables as language
from analysis.paper.accounting import compute_table, parameter_table
from analysis.paper.claims import (
    FROM_RECORDS,
    LANGUAGE,
    SAME_SCORE,
    Part,
    as_table,
    blocks,
    by_study,
    decide,
    small,
)
from analysis.statistics.paired import comparison_table
from analysis.statistics.robustness import robustness_table
from study.cli.exits import one_line

Drawer = Callable[[Study, Path], Path]


def _he_training(study: Study, folder: Path) -> Path:
    table = robustness_table(study.runs)
    return geometry_figures.he_training(
        study, folder, dict(zip(table["label"], table["best_lr"], strict=True))
    )


FIGURES: list[tuple[str, Drawer, str]] = [
    ("lr_grid", figures.robustness, "Figure 5's question on the miniature, with error bars and LoRA."),
    ("lr_grid", figures.convergence, "Figure 6: convergence at each learning rate."),
    ("lr_grid", geometry_figures.distances, "Figure 4: distances at convergence against learning rate."),
    ("lr_grid", _he_training, "Figure 7: hyperspherical energy during training, and against the rate."),
    (
        "hyperspherical",
        paper_figures.hyperspherical,
        "Figure 7 with longer training, ETHER+ one- and two-sided.",
    ),
    (
        "perturbation",
        paper_figures.perturbation,
        "Figure 3: random transformations of growing strength; rings mark where a method's range ends.",
    ),
    ("blocks", paper_figures.blocks, "Tables 9 and 10: the number of blocks."),
    ("lr_grid", paper_figures.oft_against_naive, "Table 6: OFT against Naive, paired by seed."),
    (
        "mechanism",
        paper_figures.mechanism,
        "A control the paper does not have: normals of another length, free to grow or held.",
    ),
]


STUDIES = list(dict.fromkeys(name for name, _, _ in FIGURES))


@dataclass(frozen=True)
class Records:
    """What there is to make the paper of.

    named: the studies of STUDIES that are there; lr_grid is vtab's.
    grids: the studies of the sweep lr_grid, one for each task, scale and subset, vtab's first.
    language: the studies of GLUE and instruction tuning, in the same way, of any sweep.
    heads: the studies of heads trained alone, by task, scale and subset.
    """

    named: dict[str, Study]
    grids: list[Study]
    language: list[Study]
    heads: dict[Key, Study]

    def missing(self) -> dict[str, str]:
        """The studies that have no records, each with the command that makes it."""
        there = {key_of(study) for study in self.grids}
        absent = {studies.folder_name(key): studies.command(key) for key in MINIATURES if key not in there}
        others = [name for name in STUDIES if name != GRID and name not in self.named]
        return absent | {name: f"python -m study.sweep {name}" for name in others}

    def counts(self) -> dict[str, int]:
        """How many runs of each folder are used."""
        every = [*self.named.values(), *self.grids, *self.language, *self.heads.values()]
        rows = [s.runs.assign(study=s.runs.get("study", s.name))[["study", "run_id"]] for s in every]
        return pd.concat(rows).drop_duplicates()["study"].value_counts(sort=False).to_dict() if rows else {}


def gather(results: Path) -> Records:
    """Reads every study under `results` that the paper is made of."""
    found = studies.at_hand(results)
    grids = studies.grids(found)
    named = {GRID: grids[0]} if grids and key_of(grids[0]) == VTAB else {}
    for name in STUDIES:
        if name != GRID and (results / name / "runs.parquet").exists():
            named[name] = load(results / name)
    return Records(named, grids, studies.language(found), studies.heads(found))


def make(results: Path, records: Records) -> Path:
    """Makes results/paper from the records; returns the report's path."""
    folder = results / "paper"
    folder.mkdir(parents=True, exist_ok=True)
    named = records.named
    compute, parameters = compute_table(), parameter_table()
    compute.to_csv(folder / "compute.csv", index=False)
    parameters.to_csv(folder / "parameters.csv", index=False)
    parts = judge(records, compute, parameters)
    claims = as_table(parts)
    claims.to_csv(folder / "claims.csv", index=False)
    control = control_table(named["mechanism"]) if "mechanism" in named else None
    if control is not None:
        control.to_csv(folder / "mechanism.csv", index=False)
    rivals = None
    if GRID in named:
        rivals = comparison_table(named[GRID].runs, "naive", "oft", SAME_SCORE)
        rivals.to_csv(folder / "oft_against_naive.csv", index=False)
    templates = FileSystemLoader(Path(__file__).parent.parent / "templates")
    environment = Environment(loader=templates, autoescape=True)
    environment.filters["picture"] = lambda path: base64.b64encode(path.read_bytes()).decode()
    page = environment.get_template("paper.html.j2").render(
        claims=claims.astype(object).where(claims.notna(), "").to_dict("records"),
        verdicts=_shown(by_study(parts)),
        compute=_shown(compute),
        parameters=_shown(parameters),
        pictures=draw(records, folder / "figures"),
        language=language_sections(records, results),
        missing=records.missing(),
        findings=findings(control) if control is not None else [],
        rivals=_shown(rivals) if rivals is not None else None,
        control=_shown(control) if control is not None else None,
        records=records.counts(),
    )
    report = folder / "report.html"
    report.write_text(page, encoding="utf-8")
    return report


def draw(records: Records, folder: Path) -> list[dict[str, Any]]:
    """Draws every figure: its `path` and `caption`. Grids other than vtab's have folders of their own."""
    pictures = [
        {"path": drawer(records.named[name], folder), "caption": caption}
        for name, drawer, caption in FIGURES
        if name in records.named
    ]
    for study in records.grids:
        if (key := key_of(study)) != VTAB:
            path = figures.robustness(study, folder / title(key).replace(" ", "_"))
            pictures.append({"path": path, "caption": f"The same question as Figure 5's on {title(key)}."})
    return pictures


def judge(records: Records, compute: pd.DataFrame, parameters: pd.DataFrame) -> list[Part]:
    """The parts of every claim that can be decided."""
    by_kind = {name: [study] for name, study in records.named.items()}
    by_kind |= {GRID: records.grids, LANGUAGE: records.language}
    parts = [
        part for claim, (kind, _) in FROM_RECORDS.items() for part in decide(claim, by_kind.get(kind, []))
    ]
    unet = parameters[(parameters["table"] == "2") & ~parameters["options"].str.contains("sides")]
    unet = unet.set_index("method")["parameters"]
    parts += small({method: float(unet["oft"] / unet[method]) for method in ("ether", "ether_plus")})
    if "blocks" in records.named:
        weight_side = compute[(compute["side"] == "weight") & compute["model"].str.startswith("Llama")]
        tflops = weight_side.set_index(["method", "blocks"])["tflops"]
        share = {m: float(tflops[(m, 32)] / tflops[(m, 1)]) for m in ("ether", "ether_plus")}
        parts += blocks(records.named["blocks"], share)
    return parts


def language_sections(records: Records, results: Path) -> list[dict[str, Any]]:
    """Tables 4 and 5 for the report: as printed, ours at the paper's scale, and the miniature's.

    Each is written as table4.csv and table5.csv, too. What is not there is the commands that make it.
    """
    sections = []
    for number, task, heading in ((4, "glue", "GLUE"), (5, "instruct", "Instruction tuning")):
        own = [study for study in records.language if key_of(study)[0] == task]
        if task == "glue":
            table = language.glue_table(own, records.heads)
        else:
            table = language.instruct_table(own, results)
        table.to_csv(results / "paper" / f"table{number}.csv", index=False)
        commands = {
            "paper": language.PAPER_COMMANDS[task],
            "mini": [studies.command(key) for key in MINIATURES if key[0] == task],
        }
        if task == "glue":
            commands["mini"].append(f"python -m study.sweep {HEAD_ALONE}")
        shown = {scale: language.ours(table, scale) for scale in commands}
        sections.append(
            {"heading": f"{heading} (Table {number})", "printed": _shown(language.as_printed(number))}
            | {scale: _shown(found) for scale, found in shown.items() if found is not None}
            | {"commands": commands, "sources": language.sources(table, "paper")}
        )
    return sections


def control_table(study: Study) -> pd.DataFrame:
    """Sweep `mechanism`: a row per method, length of the normals, and whether they were held."""
    table = robustness_table(study.runs)
    first = study.runs.drop_duplicates("label").set_index("label")
    options = [
        {
            name: first.loc[row["label"], f"method.{row['method']}.{name}"]
            for name in ("init_scale", "renormalise")
        }
        for _, row in table.iterrows()
    ]
    figures = [
        f"{name}{end}" for name in ("tuned_test", "best_lr", "plateau_10") for end in ("", "_low", "_high")
    ]
    chosen = table[["method", *figures, "plateau_10_censored"]]
    return pd.concat([chosen[["method"]], pd.DataFrame(options), chosen.iloc[:, 1:]], axis=1)


def findings(table: pd.DataFrame) -> list[str]:
    """What the control says, in sentences made from `control_table`."""
    said = []
    for method, own in table.groupby("method", sort=False):
        rows = {(float(r["init_scale"]), bool(r["renormalise"])): r for _, r in own.iterrows()}
        rates = ", ".join(f"{r['best_lr']:.3g}" for (_, held), r in sorted(rows.items()) if not held)
        scales = ", ".join(f"{scale:g}" for (scale, held) in sorted(rows) if not held)
        said.append(
            f"{method}: with normals {scales} times as long at the start, and free to grow, the tuned rate "
            f"is {rates}: the length at initialisation moves the learning-rate axis."
        )
        if (1.0, True) in rows and (1.0, False) in rows:
            free, held = rows[(1.0, False)], rows[(1.0, True)]
            said.append(
                f"{method}: free to grow, the plateau within 10 % is {_decades(free)} wide; held at their "
                f"length it is {_decades(held)}. What remains when they are held is the most that "
                "the bound can explain; the rest comes from normals that grow and so anneal their own rate."
            )
    return said


def _decades(row: pd.Series) -> str:
    bound = "" if row["plateau_10_censored"] == "none" else "at least "
    return (
        f"{bound}{row['plateau_10']:.2f} [{row['plateau_10_low']:.2f}, {row['plateau_10_high']:.2f}] decades"
    )


def _shown(table: pd.DataFrame) -> dict[str, Any]:
    """Column names and rows as text."""

    def text(value: object) -> str:
        if isinstance(value, float):
            return "" if pd.isna(value) else f"{value:,.4g}"
        return str(value)

    rows = [[text(value) for value in row] for row in table.itertuples(index=False)]
    return {"columns": list(table.columns), "rows": rows}


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m analysis.paper", description=__doc__)
    parser.add_argument("--results", default="results", help="where studies are kept")
    results = Path(parser.parse_args(arguments).results)
    return one_line(lambda: announce(results))


def announce(results: Path) -> int:
    """Makes everything; prints the verdicts, what has no records yet, and where the report is."""
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

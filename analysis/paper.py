"""`python -m analysis.paper`: every figure and table of the paper that the records at hand allow.

Reads the studies lr_grid, perturbation, hyperspherical, blocks and mechanism under `--results`, counts
compute and parameters exactly, and writes results/paper/: claims.csv (verdicts), compute.csv,
parameters.csv, oft_against_naive.csv, mechanism.csv (the control), figures/ and report.html. What needs
records that are not there is named with the command that makes them.
"""

from __future__ import annotations

import argparse
import base64
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
from jinja2 import Environment, FileSystemLoader

from analysis import figures, geometry_figures, paper_figures
from analysis.accounting import compute_table, parameter_table
from analysis.claims import CLAIMS, FROM_RECORDS, SAME_SCORE, Part, as_table, blocks, small
from analysis.paired import comparison_table
from analysis.robustness import robustness_table
from analysis.table import Study, load
from study.commands import one_line

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


def make(results: Path) -> Path:
    """Makes results/paper from the records under `results`; returns the report's path."""
    folder = results / "paper"
    folder.mkdir(parents=True, exist_ok=True)
    lacking = missing(results)
    studies = {name: load(results / name) for name in STUDIES if name not in lacking}
    compute, parameters = compute_table(), parameter_table()
    compute.to_csv(folder / "compute.csv", index=False)
    parameters.to_csv(folder / "parameters.csv", index=False)
    parts = decide(studies, compute, parameters)
    claims = as_table(parts)
    claims.to_csv(folder / "claims.csv", index=False)
    control = control_table(studies["mechanism"]) if "mechanism" in studies else None
    if control is not None:
        control.to_csv(folder / "mechanism.csv", index=False)
    rivals = None
    if "lr_grid" in studies:
        rivals = comparison_table(studies["lr_grid"].runs, "naive", "oft", SAME_SCORE)
        rivals.to_csv(folder / "oft_against_naive.csv", index=False)
    pictures = [
        {"path": draw(studies[name], folder / "figures"), "caption": caption}
        for name, draw, caption in FIGURES
        if name in studies
    ]
    environment = Environment(loader=FileSystemLoader(Path(__file__).parent), autoescape=True)
    environment.filters["picture"] = lambda path: base64.b64encode(path.read_bytes()).decode()
    page = environment.get_template("paper.html.j2").render(
        claims=claims.astype(object).where(claims.notna(), "").to_dict("records"),
        compute=_shown(compute),
        parameters=_shown(parameters),
        pictures=pictures,
        missing=lacking,
        findings=findings(control) if control is not None else [],
        rivals=_shown(rivals) if rivals is not None else None,
        control=_shown(control) if control is not None else None,
        records={name: len(study.runs) for name, study in studies.items()},
    )
    report = folder / "report.html"
    report.write_text(page, encoding="utf-8")
    return report


STUDIES = list(dict.fromkeys(name for name, _, _ in FIGURES))


def missing(results: Path) -> dict[str, str]:
    """The studies that have no records, each with the command that makes it."""
    absent = [name for name in STUDIES if not (results / name / "runs.parquet").exists()]
    return {name: f"python -m study.sweep {name}" for name in absent}


def decide(studies: dict[str, Study], compute: pd.DataFrame, parameters: pd.DataFrame) -> list[Part]:
    """The parts of every claim that can be decided."""
    parts: list[Part] = []
    for claim in CLAIMS:
        if claim in FROM_RECORDS:
            name, judge = FROM_RECORDS[claim]
            parts += judge(studies[name]) if name in studies else []
    unet = parameters[(parameters["table"] == "2") & ~parameters["options"].str.contains("sides")]
    unet = unet.set_index("method")["parameters"]
    parts += small({method: float(unet["oft"] / unet[method]) for method in ("ether", "ether_plus")})
    if "blocks" in studies:
        weight_side = compute[(compute["side"] == "weight") & compute["model"].str.startswith("Llama")]
        tflops = weight_side.set_index(["method", "blocks"])["tflops"]
        share = {m: float(tflops[(m, 32)] / tflops[(m, 1)]) for m in ("ether", "ether_plus")}
        parts += blocks(studies["blocks"], share)
    return parts


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
    report = make(results)
    claims = pd.read_csv(report.parent / "claims.csv")
    for row in claims[claims["part"].isna()].itertuples():
        print(f"{row.claim}  {row.verdict:15} {row.test}")
    for name, command in missing(results).items():
        print(f"no records of {name}: {command}")
    print(f"report: {report} ({time.monotonic() - start:.0f} s)")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

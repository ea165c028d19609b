"""Tables 2, 3, 6, 9 and 11: subject-driven and controllable generation, ours beside the printed numbers.

All but Table 6 have the columns of `analysis.paper.tables`, and `score` says which metric a row is of. Of
controllable generation (3, 9): mean_iou, pixel_accuracy (the paper's Acc) and caption_accuracy in percent,
frechet_distance itself, of which less is better. It is the paper's FID at its own scale, in Inception's
features, and on the miniature a distance in the features of a network that was trained on portraits: not FID.
Of subject-driven generation (2, 11), in percent: subject_fidelity and prompt_fidelity, which at the paper's
scale are its DINO and CLIP-T, fidelity, their harmonic mean, and, at the paper's scale alone, clip_image (its
CLIP-I) and lpips, which is no quality.

Every score is at the rate that validation of the primary metric chose. Beside the methods' rows are those of
the untouched model, of the control encoder trained alone (`encoder`), of real pictures in the place of
generated ones (`real`), and of those that a subject was learnt from (`repeated`).

Table 6 is Naive minus OFT, both at their tuned rates, paired by seed; see `naive_against_oft`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
import pandas as pd

from analysis.data.metrics import REAL, REPEATED, UNTOUCHED, in_place
from analysis.data.studies import S2I, SUBJECT, Key, key_of, title
from analysis.data.table import Study
from analysis.paper.claims.part import SAME_SCORE
from analysis.paper.published import printed
from analysis.paper.tables import BASE, ENCODER, Row, Rows, beside, head_row, measured
from analysis.statistics.intervals import mean_interval
from analysis.statistics.paired import compare
from study.storage.tuned import tuned_lr

FRECHET = "frechet_distance"
SCORES = {
    S2I[0]: {
        "mean_iou": "mIoU",
        "pixel_accuracy": "Acc",
        FRECHET: "Frechet distance",
        "caption_accuracy": "captions",
    },
    SUBJECT[0]: {
        "subject_fidelity": "subject fidelity",
        "clip_image": "CLIP-I",
        "prompt_fidelity": "prompt fidelity",
        "lpips": "LPIPS (no quality)",
        "fidelity": "their harmonic mean",
    },
}
"""Metrics of each task, and what the tables call them."""

AT_PAPERS_SCALE = {FRECHET: "FID", "subject_fidelity": "DINO", "prompt_fidelity": "CLIP-T"}
"""What they are called where they are the paper's own."""


def control_table(studies: Iterable[Study], alone: Mapping[Key, Study]) -> pd.DataFrame:
    """Table 3, from one study for each scale, and those of control encoders trained alone."""
    rows: Rows = []
    for study in studies:
        base, *methods = measured(study)
        rows += _without_methods(study, base)
        if key_of(study) in alone:
            encoder = alone[key_of(study)]
            rows += _every_score(encoder, head_row(encoder) | {"method": ENCODER})
        for row in methods:
            rows += _every_score(study, row)
    return beside(rows, printed(3), "score")


def subject_table(studies: Iterable[Study]) -> pd.DataFrame:
    """Table 2, from one study for each scale."""
    rows: Rows = []
    for study in studies:
        base, *methods = measured(study)
        rows += _without_methods(study, base)
        for row in methods:
            rows += _every_score(study, row)
    return beside(rows, printed(2), "score")


def sides_table(studies: Iterable[Study]) -> pd.DataFrame:
    """Table 11, ETHER+ on one side and on both, from the studies of subjects of the sweep hyperspherical."""
    rows: Rows = []
    for study in studies:
        for row in measured(study):
            if row["method"] == "ether_plus":
                rows += _every_score(study, row)
    return beside(rows, printed(11), "score")


def blocks_table(studies: Iterable[Study]) -> pd.DataFrame:
    """Table 9, from the studies of the sweep `blocks` on controllable generation, one for each scale."""
    rows = [row | {"score": row["metric"]} for study in studies for row in measured(study)]
    return beside(rows, printed(9), "score")


def naive_against_oft(studies: Iterable[Study]) -> pd.DataFrame:
    """Table 6, asked of every task: a row per study and score; scores of 0 to 1 in percent.

    Columns: study (its title), score, naive and oft (means at their tuned rates), pairs, difference with its
    95 % Student interval low, high, p_different, p_equivalent (two one-sided tests of +- SAME_SCORE; nan for
    what is no share, a Frechet distance or a perplexity), printed (the paper's difference, at its own scale).
    """
    cells = _printed_cells()
    rows = []
    for study in studies:
        runs = study.runs[study.runs["counted"]]
        by_method = {str(method): of_method for method, of_method in runs.groupby("method")}
        if not {"naive", "oft"} <= set(by_method):
            continue
        tuned = {m: by_method[m][by_method[m]["lr"] == tuned_lr(by_method[m])] for m in ("naive", "oft")}
        for score, column in _columns(study).items():
            is_share = score != FRECHET and (column != "test" or bool(runs["higher_is_better"].iloc[0]))
            unit = 100.0 if is_share else 1.0
            naive, oft = (unit * tuned[m].set_index("seed")[column].astype(float) for m in ("naive", "oft"))
            pairs = (naive - oft).dropna().to_numpy()
            if not len(pairs):
                continue
            tests = vars(compare(pairs, unit * SAME_SCORE)) | ({} if is_share else {"p_equivalent": np.nan})
            names = SCORES.get(key_of(study)[0], {})
            same = {"study": title(key_of(study)), "score": names.get(score, score)}
            same |= {"naive": naive.mean(), "oft": oft.mean()}
            paper = runs["scale"].iloc[0] == "paper"
            rows.append(same | tests | {"printed": cells.get(score, np.nan) if paper else np.nan})
    return pd.DataFrame(rows)


def _printed_cells() -> dict[str, float]:
    """score -> Naive's minus OFT's, as printed in Tables 2 and 3."""
    numbers = pd.concat([printed(2), printed(3)])
    of = {
        method: numbers[(numbers["method"] == method) & (numbers["options"] == "blocks=4")].set_index("score")
        for method in ("naive", "oft")
    }
    return dict((of["naive"]["printed"] - of["oft"]["printed"]).round(6))


def _columns(study: Study) -> dict[str, str]:
    """The study's primary metric, and what it has of SCORES: metric -> column of `runs`."""
    primary = str(study.runs["metric"].iloc[0])
    columns = {primary: "test"}
    columns |= {name: f"metric.{name}" for name in SCORES.get(key_of(study)[0], {}) if name != primary}
    return {name: column for name, column in columns.items() if column in study.runs}


def _every_score(study: Study, row: Row) -> Rows:
    """The row, which is of the primary metric, and one for each other score of the same runs."""
    rows = [row | {"score": row["metric"]}]
    runs = study.runs[study.runs["counted"] & (study.runs["label"] == row["label"])]
    chosen = runs[runs["lr"] == tuned_lr(runs)]
    for name, column in _columns(study).items():
        values = chosen[column].astype(float).to_numpy()
        if name != row["metric"] and np.isfinite(values).any():
            rows.append(row | {"score": name, "metric": name, "base": np.nan} | _figures(name, values))
    return rows


def _without_methods(study: Study, base: Row) -> Rows:
    """Rows of the untouched model, and of real pictures and those learnt from in place of generated ones."""
    runs = study.runs[study.runs["counted"]]
    rows: Rows = []
    for kind, method in ((REAL, REAL), (REPEATED, REPEATED), (UNTOUCHED, BASE)):
        for score in _columns(study):
            value = in_place(runs, kind, score)
            if method == BASE and score == base["metric"]:
                rows.append(base | {"score": score})
            elif np.isfinite(value):
                unit = 1.0 if score == FRECHET else 100.0
                row = base | {"method": method, "label": method, "score": score, "metric": score}
                rows.append(row | {"base": np.nan, "ours": unit * value})
    return rows


def _figures(score: str, values: np.ndarray) -> Row:
    """ours, low, high of one score over seeds; no interval with one seed, nan where a seed has no value."""
    unit = 1.0 if score == FRECHET else 100.0
    figures = unit * np.array(mean_interval(values))
    return dict(zip(("ours", "low", "high"), np.where(np.isfinite(figures), figures, np.nan), strict=True))

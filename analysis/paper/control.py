"""A control that the paper does not have: does robustness come from the bound or from normals that grow?"""

from __future__ import annotations

import pandas as pd

from analysis.data.table import Study
from analysis.statistics.robustness import robustness_table


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
    chosen = table[["method", *figures, "plateau_10_censored", "not_learning"]]
    return pd.concat([chosen[["method"]], pd.DataFrame(options), chosen.iloc[:, 1:]], axis=1)


def control_sentences(table: pd.DataFrame) -> list[str]:
    """What the control says, in sentences made from `control_table`."""
    sentences = []
    for method, of_method in table.groupby("method", sort=False):
        rows = {(float(r["init_scale"]), bool(r["renormalise"])): r for _, r in of_method.iterrows()}
        rates = ", ".join(f"{r['best_lr']:.3g}" for (_, held), r in sorted(rows.items()) if not held)
        scales = ", ".join(f"{scale:g}" for (scale, held) in sorted(rows) if not held)
        sentences.append(
            f"{method}: with normals {scales} times as long at the start, and free to grow, the tuned rate "
            f"is {rates}: the length at initialisation moves the learning-rate axis."
        )
        if (1.0, True) in rows and (1.0, False) in rows:
            free, held = rows[(1.0, False)], rows[(1.0, True)]
            sentences.append(
                f"{method}: free to grow, the plateau within 10 % is {_decades(free)} wide; held at their "
                f"length it is {_decades(held)}. {_conclusion(free, held)}"
            )
    return sentences


def _conclusion(free: pd.Series, held: pd.Series) -> str:
    """What follows from the two plateaus; nothing where lower bounds leave open which is the wider."""
    if free["not_learning"] or held["not_learning"]:
        return "One of them does not learn, so the two are not compared."
    held_may_be_wider = held["plateau_10_censored"] != "none"
    free_may_be_wider = free["plateau_10_censored"] != "none"
    narrower = held["plateau_10"] < free["plateau_10"]
    if held_may_be_wider or (free_may_be_wider and not narrower):
        return "The grid ends inside, so which is the wider cannot be said."
    if not narrower:
        return "Held, it is no narrower, so growth explains nothing of it."
    return (
        "What remains when they are held is the most that the bound can explain; the rest comes from normals "
        "that grow and so anneal their own rate."
    )


def _decades(row: pd.Series) -> str:
    bound = "" if row["plateau_10_censored"] == "none" else "at least "
    return (
        f"{bound}{row['plateau_10']:.2f} [{row['plateau_10_low']:.2f}, {row['plateau_10_high']:.2f}] decades"
    )

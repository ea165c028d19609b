"""Which hyperparameters decide the validation score: importances by Optuna, of a study of a space.

fANOVA (Hutter et al. 2014): the share of the variance of the score, over the whole space, that a random
forest ascribes to each hyperparameter alone. PED-ANOVA (Watanabe et al. 2023): by which hyperparameters the
best tenth of the trials differs from the others; so it says what matters near the top. Both see a range that
is even in its logarithm, as a learning rate's, by its logarithm. They sum to 1.
"""

from __future__ import annotations

import logging
import warnings

import numpy as np
import pandas as pd

from analysis.data.scores import direction
from analysis.data.table import Study
from study.planning.space import Told, distributions, frozen

LEAST = 10
"""Trials that an importance takes at least."""


def importances(study: Study) -> pd.DataFrame:
    """Columns label, key, fanova, ped_anova.

    No rows for labels with fewer than LEAST trials or one key, nor with a pruner: what it has left are good
    trials alone, which say little about what makes one good.
    """
    import optuna
    from optuna.importance import (
        FanovaImportanceEvaluator,
        PedAnovaImportanceEvaluator,
        get_param_importances,
    )

    columns = ["label", "key", "fanova", "ped_anova"]
    if study.trials is None or study.trials.pruned:
        return pd.DataFrame(columns=columns)
    optuna.logging.set_verbosity(logging.ERROR)
    sign, made = direction(study.runs[study.runs["counted"]]), []
    for label in study.labels:
        rows = study.trials.table[study.trials.table["label"] == label]
        space = study.trials.spaces[label]
        if len(rows) < LEAST or len(space) < 2:
            continue
        ranges = distributions(space)
        scores = sign * rows["valid"].to_numpy(dtype=float)
        worst = scores.min()
        told = [
            Told({key: row[key] for key in space}, float(worst if row["diverged"] else score))
            for row, score in zip(rows.to_dict("records"), scores, strict=True)
        ]
        if np.ptp([each.score for each in told]) == 0:
            continue
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            of_label = optuna.create_study(direction="maximize")
            of_label.add_trials([frozen(ranges, each) for each in told])
            evaluators = (FanovaImportanceEvaluator(seed=0), PedAnovaImportanceEvaluator())
            found = [get_param_importances(of_label, evaluator=each) for each in evaluators]
        made += [(label, key, float(found[0][key]), float(found[1][key])) for key in space]
    return pd.DataFrame(made, columns=columns)

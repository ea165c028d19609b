"""An Optuna study of the runs, for `optuna-dashboard` and Optuna's importances.

It is an index: written anew from records as a whole, by the coordinator alone.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd

FILE = "optuna.log"


def write_study(folder: Path, runs: pd.DataFrame) -> Path:
    """Writes `folder/optuna.log`, a journal storage with one trial per run of the `runs` table.

    Parameters are the method, the learning rate (logarithmic), the seed and every method option that
    varies; the value is the validation score. A diverged run is a complete trial with the worst value
    of all, so that it is never the best one; a failed run is a failed trial.
    """
    import optuna
    from optuna.distributions import (
        BaseDistribution,
        CategoricalDistribution,
        FloatDistribution,
        IntDistribution,
    )
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend
    from optuna.trial import TrialState, create_trial

    verbosity = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    path = folder.resolve() / FILE
    making = folder.resolve() / ".optuna.tmp"  # of its own, so that no dead process's lock is in it
    shutil.rmtree(making, ignore_errors=True)
    making.mkdir()
    temporary = making / FILE
    finished = runs[runs.status != "failed"]
    higher = bool(finished.higher_is_better.iloc[0]) if len(finished) else True
    study = optuna.create_study(
        storage=JournalStorage(JournalFileBackend(str(temporary))),
        study_name=folder.name,
        direction="maximize" if higher else "minimize",
    )
    options = [c for c in runs.columns if c.startswith("method.") and runs[c].nunique() > 1]
    distributions: dict[str, BaseDistribution] = {
        "method": CategoricalDistribution(sorted(runs.method.unique())),
        "lr": FloatDistribution(runs.lr.min(), runs.lr.max(), log=True),
        "seed": IntDistribution(0, int(runs.seed.max())),
    }
    for option in options:
        distributions[option] = CategoricalDistribution(sorted(runs[option].dropna().unique().tolist()))
    worst = finished.valid.min() if higher else finished.valid.max()
    trials = []
    for row in runs.to_dict("records"):
        present = [option for option in options if not _missing(row[option])]
        names = ("method", "lr", "seed", *present)
        failed = row["status"] == "failed"
        trials.append(
            create_trial(
                state=TrialState.FAIL if failed else TrialState.COMPLETE,
                params={name: row[name] for name in names},
                distributions={name: distributions[name] for name in names},
                value={"failed": None, "diverged": worst}.get(row["status"], row["valid"]),
                user_attrs={
                    "run_id": row["run_id"],
                    "status": row["status"],
                    "reason": row["reason"],
                    "valid": None if _missing(row["valid"]) else row["valid"],
                    "test": None if _missing(row["test"]) else row["test"],
                },
            )
        )
    study.add_trials(trials)
    temporary.replace(path)
    shutil.rmtree(making)
    optuna.logging.set_verbosity(verbosity)
    return path


def _missing(value: Any) -> bool:
    import pandas as pd

    return not isinstance(value, list) and bool(pd.isna(value))

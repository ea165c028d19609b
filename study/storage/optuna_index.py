"""An Optuna study of the runs, for `optuna-dashboard` and Optuna's importances.

It is an index: written anew from records as a whole, by the coordinator alone. A study that draws its runs
from a space has an Optuna study for each method, with a trial for each of the method's.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from study.planning.space import Told, distributions, frozen
from study.storage.files import write_atomically
from study.storage.trials import MethodTrials

if TYPE_CHECKING:
    import pandas as pd
    from optuna.storages import JournalStorage
    from optuna.trial import FrozenTrial

FILE = "optuna.log"


@dataclass(frozen=True)
class MethodIndex:
    """What the Optuna study of one method is made of.

    Attributes:
        told: what the sampler is told of each of its trials, in their order.
        ended: run_ids that have a record; a trial with none of them is running.
    """

    method: str
    trials: MethodTrials
    told: Sequence[Told]
    ended: Collection[str]


def write_studies(folder: Path, indexes: Sequence[MethodIndex], higher_is_better: bool) -> Path:
    """Writes `folder/optuna.log` of a space: the study `NAME METHOD` of each method."""
    with _journal(folder.resolve() / FILE) as storage:
        for index in indexes:
            trials = _trials_of(index)
            _create(storage, f"{folder.name} {index.method}", higher_is_better, trials)
    return folder.resolve() / FILE


def _trials_of(index: MethodIndex) -> list[FrozenTrial]:
    from optuna.trial import TrialState, create_trial

    ranges = distributions(index.trials.space)
    made = []
    for trial, told in zip(index.trials.trials, index.told, strict=True):
        known = {"run_ids": list(trial.run_ids), "wave": trial.wave}
        if any(run_id in index.ended for run_id in trial.run_ids):
            made.append(frozen(ranges, told, **known))
        else:
            running = TrialState.RUNNING
            made.append(
                create_trial(state=running, params=dict(trial.values), distributions=ranges, user_attrs=known)
            )
    return made


@contextlib.contextmanager
def _journal(path: Path) -> Iterator[JournalStorage]:
    """A journal storage whose file is written at the end, in one piece: as it stands, it syncs every trial.

    Nobody else writes the file, and no lock of a dead process is in the way.
    """
    import optuna
    from optuna.storages import JournalStorage
    from optuna.storages.journal import BaseJournalBackend

    class Lines(BaseJournalBackend):
        def __init__(self) -> None:
            self.logs: list[dict[str, Any]] = []

        def read_logs(self, log_number_from: int) -> list[dict[str, Any]]:
            return self.logs[log_number_from:]

        def append_logs(self, logs: list[dict[str, Any]]) -> None:
            self.logs += logs

    verbosity = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    lines = Lines()
    yield JournalStorage(lines)
    text = "".join(f"{json.dumps(log, separators=(',', ':'))}\n" for log in lines.logs)
    write_atomically(path, text.encode())
    optuna.logging.set_verbosity(verbosity)


def _create(
    storage: JournalStorage, name: str, higher_is_better: bool, trials: Sequence[FrozenTrial]
) -> None:
    import optuna

    direction = (
        optuna.study.StudyDirection.MAXIMIZE if higher_is_better else optuna.study.StudyDirection.MINIMIZE
    )
    study = optuna.create_study(storage=storage, study_name=name, direction=direction)
    study.add_trials(trials)


def write_study(folder: Path, runs: pd.DataFrame) -> Path:
    """Writes `folder/optuna.log`, a journal storage with one trial per run of the `runs` table.

    Parameters are the method, the learning rate (logarithmic), the seed and every method option that
    varies; the value is the validation score. A diverged run is a complete trial with the worst value
    of all, so that it is never the best one; a failed run is a failed trial.
    """
    from optuna.distributions import (
        BaseDistribution,
        CategoricalDistribution,
        FloatDistribution,
        IntDistribution,
    )
    from optuna.trial import TrialState, create_trial

    path = folder.resolve() / FILE
    finished = runs[runs.status != "failed"]
    higher = bool(finished.higher_is_better.iloc[0]) if len(finished) else True
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
    with _journal(path) as storage:
        _create(storage, folder.name, higher, trials)
    return path


def _missing(value: Any) -> bool:
    import pandas as pd

    return not isinstance(value, list) and bool(pd.isna(value))

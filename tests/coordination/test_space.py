"""A study that grows by waves: the same trials in the same order, however often it is begun again.

Runs are not trained: a made-up result is recorded for each.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import math
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import optuna
import pytest
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import TrialState

from study import config
from study.coordination import space
from study.errors import UsageError
from study.planning.jobs import InspectJob, Refused
from study.planning.runs import Run
from study.settings import SweepSettings
from study.storage import records, trials
from study.storage.rows import Circumstances, Identity, Outcome, RunRecord

LORA = ["lr={log:[1e-4,1]}", "method=lora", "method.lora.r=8"]
NO_OPTIONS = [*LORA, "method=lora,ether", "method.ether.blocks=4"]
"""A space without options, so that no worker has to look which of them fit."""


def settings_of(*overrides: str) -> SweepSettings:
    return config.load("space", [*NO_OPTIONS, "trials=6", *overrides])


def lora(*overrides: str) -> SweepSettings:
    return config.load("space", [*LORA, "trials=6", *overrides])


def outcome(run: Run) -> Outcome:
    """Best at a rate of 1e-2; it fails or diverges at a few."""
    status = {0: "failed", 1: "diverged"}.get(int(run.run_id, 16) % 7, "ok")
    score = 1 - abs(math.log10(run.lr) + 2) / 4 if status != "failed" else math.nan
    return Outcome(status, metric="accuracy", higher_is_better=status != "failed", valid=score, test=score)


def end(folder: Path, runs: list[Run], how: Callable[[Run], Outcome] = outcome) -> None:
    """Leaves a record of each run that has none, each in a pack of its own."""
    there = records.statuses(folder)
    for run in runs:
        if run.run_id not in there:
            records.write(
                folder, run.run_id, [RunRecord(Identity.of(run, "space"), how(run), Circumstances())]
            )


def runs_by_wave(folder: Path, settings: SweepSettings) -> Iterator[list[Run]]:
    return (list(each.runs) for each in space.rounds(folder, settings))


def carried_out(folder: Path, settings: SweepSettings) -> list[str]:
    """Does the whole study; returns the run_ids in order."""
    runs: list[Run] = []
    for runs in runs_by_wave(folder, settings):
        end(folder, runs)
    return [run.run_id for run in runs]


def order(folder: Path) -> dict[str, list[tuple[str, ...]]]:
    known = trials.read(folder)
    assert known is not None
    return {method: [trial.run_ids for trial in of.trials] for method, of in known.methods.items()}


@pytest.mark.parametrize("sampler", ["random", "qmc", "tpe"])
def test_killed_at_random_moments_it_ends_with_the_same_trials(tmp_path: Path, sampler: str) -> None:
    given = ["wave=2"] if sampler == "tpe" else []
    settings = settings_of(f"sampler={sampler}", *given)
    whole = carried_out(tmp_path / "whole", settings)
    broken, rng = tmp_path / "broken", random.Random(0)
    for _ in range(100):
        for runs in runs_by_wave(broken, settings):
            missing = [run for run in runs if run.run_id not in records.statuses(broken)]
            if not missing:
                continue
            rng.shuffle(missing)  # who ends first is nobody's affair
            end(broken, missing[: rng.randrange(len(missing) + 1)])
            if len(records.statuses(broken)) < len(runs):
                break  # killed
        else:
            break
    assert order(broken) == order(tmp_path / "whole")
    assert sorted(records.statuses(broken)) == sorted(whole)
    assert len(set(whole)) == len(whole) == 12


def test_a_lost_or_damaged_file_of_trials_is_drawn_again(tmp_path: Path) -> None:
    settings = settings_of("sampler=tpe", "wave=3")
    carried_out(tmp_path, settings)
    before = order(tmp_path)
    (tmp_path / trials.FILE).write_text("{")
    assert carried_out(tmp_path, settings) is not None
    assert order(tmp_path) == before
    (tmp_path / trials.FILE).unlink()
    carried_out(tmp_path, settings)
    assert order(tmp_path) == before


def test_a_written_wave_is_final(tmp_path: Path) -> None:
    """A failed run that is repeated changes what is told, and so later waves, but none that is written."""
    settings = settings_of("sampler=tpe", "wave=3", "trials=3")
    carried_out(tmp_path, settings)
    first = order(tmp_path)
    for path in (tmp_path / "records").iterdir():
        path.unlink()
    better = lambda run: Outcome("ok", metric="accuracy", higher_is_better=True, valid=run.lr, test=run.lr)  # noqa: E731
    for runs in runs_by_wave(tmp_path, settings_of("sampler=tpe", "wave=3", "trials=6")):
        end(tmp_path, runs, better)
    for method, known in order(tmp_path).items():
        assert known[:3] == first[method]
        assert len(known) == 6


def test_more_trials_go_on_from_those_there_are(tmp_path: Path) -> None:
    few, many = settings_of("trials=4"), settings_of("trials=9")
    carried_out(tmp_path / "grown", few)
    carried_out(tmp_path / "grown", many)
    carried_out(tmp_path / "at_once", many)
    assert order(tmp_path / "grown") == order(tmp_path / "at_once")


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        (["sampler=qmc"], "holds trials with sampler=random, not qmc"),
        (["sampler_seed=1"], "holds trials with sampler_seed=0, not 1"),
        (["lr={log:[1e-3,1]}"], "holds trials with lr="),
        (["task.weight_decay=0"], "holds trials with task.weight_decay="),
        (["seeds=2"], "other seeds, options or settings"),
        (["task.steps=7"], "other seeds, options or settings"),
        (["method.lora.r=4"], "other seeds, options or settings"),
    ],
)
def test_other_trials_never_join_a_study(tmp_path: Path, changed: list[str], said: str) -> None:
    carried_out(tmp_path, settings_of())
    with pytest.raises(UsageError, match=said) as refused:
        next(runs_by_wave(tmp_path, settings_of(*changed)))
    assert "give another name" in str(refused.value)


def test_the_optuna_study_has_every_trial_as_it_was_told(tmp_path: Path) -> None:
    settings = settings_of("sampler=tpe", "wave=3", "seeds=2")
    waves = runs_by_wave(tmp_path, settings)
    end(tmp_path, next(waves))
    next(waves)  # the second wave is on its way, as the dashboard shows
    storage = JournalStorage(JournalFileBackend(str(tmp_path / "optuna.log")))
    known = trials.read(tmp_path)
    assert known is not None
    rows = {each["row"]["run_id"]: each["row"] for each in records.read_all(tmp_path)}
    for method, of in known.methods.items():
        study = optuna.load_study(study_name=f"{tmp_path.name} {method}", storage=storage)
        assert [t.params for t in study.trials] == [dict(t.values) for t in of.trials]
        assert [t.state for t in study.trials[3:]] == [TrialState.RUNNING] * 3
        its_rows = [rows[run_id] for trial in of.trials[:3] for run_id in trial.run_ids]
        worst = min(row["valid"] for row in its_rows if row["status"] != "failed")
        for trial, made in zip(of.trials[:3], study.trials, strict=False):
            ended = [rows[run_id] for run_id in trial.run_ids if rows[run_id]["status"] != "failed"]
            scores = [worst if row["status"] == "diverged" else row["valid"] for row in ended]
            expected = sum(scores) / len(scores) if scores else None
            assert made.value == (expected if expected is None else pytest.approx(expected))
            assert made.state == (TrialState.COMPLETE if scores else TrialState.FAIL)
    with pytest.raises(StopIteration):
        for runs in itertools.repeat(None):
            end(tmp_path, next(waves) if runs is None else runs)


def test_runs_carry_their_hyperparameters_as_columns(tmp_path: Path) -> None:
    runs = next(runs_by_wave(tmp_path, lora("task.batch_size=8,16")))
    known = trials.read(tmp_path)
    assert known is not None
    for run, trial in zip(runs, known.methods["lora"].trials, strict=True):
        columns = Identity.of(run, "space").settings
        assert run.lr == trial.values["lr"]
        assert columns["task.weight_decay"] == trial.values["task.weight_decay"]
        assert columns["task.batch_size"] == trial.values["task.batch_size"]
        assert columns["method.lora.r"] == 8


def test_the_file_of_trials_is_plain_json(tmp_path: Path) -> None:
    next(runs_by_wave(tmp_path, lora()))
    content = json.loads((tmp_path / trials.FILE).read_text())
    assert content["methods"]["lora"]["space"]["lr"] == {"log": [1e-4, 1]}


class Worker:
    """Refuses what `refuses` says of a method's options, and inspects everything else."""

    def __init__(self, refuses: Callable[[Mapping[str, object]], bool]) -> None:
        self.refuses = refuses

    @contextlib.contextmanager
    def here(self, settings: SweepSettings) -> Iterator[Worker]:
        yield self

    def do(self, jobs: Sequence[InspectJob]) -> Iterator[tuple[InspectJob, object]]:
        for job in jobs:
            refused = self.refuses(job.runs[0].options)
            yield job, Refused(f"{job.title} does not fit") if refused else None


TWO_OPTIONS = ["method.ether_plus.blocks=1,4,16", "method.ether_plus.sides=1,2"]


def two_options() -> SweepSettings:
    return config.load("space", ["method=ether_plus", "trials=20", *TWO_OPTIONS])


def test_a_choice_that_a_method_cannot_take_is_refused_before_work_starts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(space, "worker_here", Worker(lambda options: options["blocks"] == 16).here)
    with pytest.raises(UsageError, match=r"method.ether_plus.blocks=16 in the space: .* does not fit"):
        next(runs_by_wave(tmp_path, two_options()))
    assert not list(tmp_path.iterdir())


def test_combinations_that_a_method_cannot_take_are_drawn_again_and_remembered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuses(options: Mapping[str, object]) -> bool:
        return options["blocks"] == 16 and options["sides"] == 2

    monkeypatch.setattr(space, "worker_here", Worker(refuses).here)
    carried_out(tmp_path, two_options())
    known = trials.read(tmp_path)
    assert known is not None
    of = known.methods["ether_plus"]
    drawn = [(t.values["method.ether_plus.blocks"], t.values["method.ether_plus.sides"]) for t in of.trials]
    assert len(drawn) == 20
    assert (16, 2) not in drawn
    assert {(16, 1), (1, 2), (4, 2)} <= set(drawn)
    assert [dict(point) for point, _ in of.refused] == [
        {"method.ether_plus.blocks": 16, "method.ether_plus.sides": 2}
    ]
    monkeypatch.setattr(space, "worker_here", None)  # nobody has to look again
    assert carried_out(tmp_path, two_options())


def test_more_than_a_batch_can_be_cut_into_is_drawn_again(tmp_path: Path) -> None:
    next(runs_by_wave(tmp_path, lora("trials=20", "task.batch_size=2,4,16", "task.accumulate=1,4")))
    known = trials.read(tmp_path)
    assert known is not None
    drawn = [(t.values["task.batch_size"], t.values["task.accumulate"]) for t in known.methods["lora"].trials]
    assert len(drawn) == 20
    assert (2, 4) not in drawn
    assert (2, 1) in drawn
    assert (4, 4) in drawn

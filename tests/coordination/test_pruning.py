"""A study whose worse trials are pruned: the same ones, however often it is begun again.

Runs are not trained: a made-up curve stands for each, and those at a rung are kept as a worker keeps them.
"""

from __future__ import annotations

import math
import random
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import optuna
import pytest
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from support.records.profiles import profile_of

from study import config
from study.coordination import space
from study.coordination.plan_file import write_plan
from study.coordination.pruning import cohorts
from study.errors import UsageError
from study.planning.packs import plan_packs
from study.planning.rungs import Round, rung_steps
from study.planning.runs import Run, group_by_variant
from study.settings import SweepSettings
from study.status import status
from study.storage import paused, records, trials
from study.storage.rows import Circumstances, HistoryRow, Identity, Outcome, RunRecord

LORA = ["lr={log:[1e-4,1]}", "method=lora", "method.lora.r=8", "task.steps=90", "task.evaluations=9"]


def settings_of(*overrides: str) -> SweepSettings:
    given = {text.partition("=")[0]: text for text in [*LORA, "trials=18", "pruner=halving", *overrides]}
    return config.load("space", list(given.values()))


def quality(run: Run) -> float:
    """Best at a rate of 1e-2."""
    return 1 - abs(math.log10(run.lr) + 2) / 4


def fails(run: Run) -> bool:
    return int(run.run_id, 16) % 11 == 0


def record_of(run: Run, until: int, dies: Callable[[Run], bool] = lambda run: False) -> RunRecord:
    """What a run leaves that has come to this step: its score grows with the steps."""
    made_up = {"train_loss": 1.0, "valid_loss": 1.0, "transform_distance": 0.0, "weight_distance": 0.0,
               "he_change": 0.0, "parameter_growth": 1.0}  # fmt: skip
    history = tuple(
        HistoryRow(step=step, valid=quality(run) * step / run.task.steps, **made_up)
        for step in (0, *sorted(run.task.evaluation_steps()))
        if step <= until
    )
    whole = until == run.task.steps
    outcome = Outcome(
        "ok" if whole else "pruned",
        diverged_at=1 if dies(run) else None,
        metric="accuracy",
        higher_is_better=True,
        valid=history[-1].valid,
        test=history[-1].valid if whole else math.nan,
        steps=run.task.steps,
    )
    return RunRecord(Identity.of(run, "space"), outcome, Circumstances(), history)


def train(
    folder: Path,
    each: Round,
    rng: random.Random | None = None,
    dies: Callable[[Run], bool] = lambda run: False,
) -> bool:
    """Takes runs as far as the round goes, with `rng` only some of them; whether it was all of them."""
    there = records.statuses(folder)
    missing = [run for run in each.runs if run.run_id not in there]
    missing = [run for run in missing if paused.step(folder, run.run_id) < each.stops.get(run.run_id, 90)]
    count = len(missing)
    if rng:
        rng.shuffle(missing)
        missing = missing[: rng.randrange(count + 1)]
    for run in missing:
        if fails(run):
            failed = RunRecord(Identity.of(run, "space"), Outcome("failed"), Circumstances())
            records.write(folder, run.run_id, [failed])
        elif stop := each.stops.get(run.run_id):
            paused.write(folder, [record_of(run, stop, dies)], [({}, {"step": stop})])
        else:
            records.write(folder, run.run_id, [record_of(run, run.task.steps)])
            paused.forget(folder, [run.run_id])
    return len(missing) == count


def carried_out(folder: Path, settings: SweepSettings) -> dict[str, tuple[str, int]]:
    """Does the whole study in one go; each run's status and the last step at which it was measured."""
    for each in space.rounds(folder, settings):
        train(folder, each)
    return ended(folder)


def ended(folder: Path) -> dict[str, tuple[str, int]]:
    found = {}
    for content in records.read_all(folder):
        record = RunRecord.from_json(content)
        last = record.history[-1].step if record.history else -1
        found[record.identity.run_id] = (record.outcome.status, last)
    return found


@pytest.mark.parametrize("pruner", ["halving", "hyperband"])
@pytest.mark.parametrize("sampler", [["sampler=random"], ["sampler=tpe", "wave=9"]])
def test_killed_at_random_moments_the_same_trials_are_pruned(
    tmp_path: Path, pruner: str, sampler: list[str]
) -> None:
    settings = settings_of(f"pruner={pruner}", "seeds=2", *sampler)
    whole = carried_out(tmp_path / "whole", settings)
    rng = random.Random(0)
    for _ in range(300):
        if all(
            [
                train(tmp_path / "broken", each, rng)
                for each in _until_killed(tmp_path / "broken", settings, rng)
            ]
        ):
            break
    assert ended(tmp_path / "broken") == whole
    assert len(whole) == 36
    assert not paused.run_ids(tmp_path / "broken")


def _until_killed(folder: Path, settings: SweepSettings, rng: random.Random):  # type: ignore[no-untyped-def]
    """The rounds up to one that is not done whole."""
    for each in space.rounds(folder, settings):
        yield each
        done = records.statuses(folder)
        if any(
            run.run_id not in done
            and not (0 < each.stops.get(run.run_id, 0) <= paused.step(folder, run.run_id))
            for run in each.runs
        ):
            return


def test_the_best_third_of_each_rung_goes_on(tmp_path: Path) -> None:
    """Against sorting by hand what a made-up curve has at each rung."""
    settings = settings_of()
    statuses = carried_out(tmp_path, settings)
    drawn = trials.read(tmp_path)
    assert drawn is not None
    by_id = {run.run_id: run for run in space.runs_of(settings, drawn)}
    alive = [by_id[run_id] for trial in drawn.methods["lora"].trials for run_id in trial.run_ids]
    expected = {}
    for step, count in zip(rung_steps(alive[0].task, 3, 2), (6, 2), strict=True):
        able = sorted((run for run in alive if not fails(run)), key=quality, reverse=True)
        expected |= {run.run_id: ("failed", -1) if fails(run) else ("pruned", step) for run in alive}
        alive = able[:count]
    expected |= {run.run_id: ("ok", 90) for run in alive}
    assert statuses == expected
    assert Counter(status for status, _ in statuses.values()) == {"ok": 2, "pruned": 13, "failed": 3}


def test_in_hyperband_each_bracket_is_judged_alone(tmp_path: Path) -> None:
    settings = settings_of("pruner=hyperband", "trials=17")
    statuses = carried_out(tmp_path, settings)
    drawn = trials.read(tmp_path)
    assert drawn is not None
    of_bracket = {cohort.rungs: cohort.trials for cohort in cohorts(settings, drawn)}
    assert {rungs: len(of) for rungs, of in of_bracket.items()} == {2: 9, 1: 5, 0: 3}
    for rungs, wanted in ((2, 1), (1, 1), (0, 3)):
        whole = [statuses[run_id][0] in ("ok", "failed") for t in of_bracket[rungs] for run_id in t.run_ids]
        assert sum(whole) >= wanted
    assert {statuses[run_id][0] for t in of_bracket[0] for run_id in t.run_ids} <= {"ok", "failed"}
    assert {statuses[run_id][1] for t in of_bracket[1] for run_id in t.run_ids} <= {30, 90, -1}


def test_what_diverged_before_a_rung_is_pruned_there(tmp_path: Path) -> None:
    settings = settings_of("trials=9")
    best: str = ""

    def dies(run: Run) -> bool:
        return run.run_id == best

    first = next(space.rounds(tmp_path, settings))
    best = max((run for run in first.runs if not fails(run)), key=quality).run_id
    for each in space.rounds(tmp_path, settings):
        train(tmp_path, each, dies=dies)
    assert ended(tmp_path)[best] == ("pruned", 10)


def test_a_damaged_file_of_a_paused_run_costs_that_run_alone(tmp_path: Path) -> None:
    settings = settings_of("trials=9", "lr={log:[1e-3,1e-1]}")
    rounds = space.rounds(tmp_path, settings)
    train(tmp_path, next(rounds))
    second = next(rounds)
    victim = next(iter(second.stops))
    (tmp_path / "paused" / f"{victim}.checkpoint").write_bytes(b"torn")
    again = next(space.rounds(tmp_path, settings))
    left = [r for r, stop in again.stops.items() if paused.step(tmp_path, r) < stop]
    assert left == [victim]
    for each in space.rounds(tmp_path, settings):
        train(tmp_path, each)
    assert ended(tmp_path) == carried_out(tmp_path / "whole", settings)


def test_the_sampler_is_told_of_pruned_trials_as_optuna_has_them(tmp_path: Path) -> None:
    carried_out(tmp_path, settings_of("sampler=tpe", "wave=9"))
    storage = JournalStorage(JournalFileBackend(str(tmp_path / "optuna.log")))
    study = optuna.load_study(study_name=f"{tmp_path.name} lora", storage=storage)
    statuses = ended(tmp_path)
    names = {"ok": "COMPLETE", "pruned": "PRUNED", "failed": "FAIL"}
    for trial in study.trials:
        (run_id,) = trial.user_attrs["run_ids"]
        status, step = statuses[run_id]
        assert trial.state.name == names[status]
        assert list(trial.intermediate_values) == ([step] if status == "pruned" else [])
    assert study.best_trial.state.name == "COMPLETE"


def test_status_tells_who_waits_at_a_rung(tmp_path: Path) -> None:
    settings = settings_of()
    first = next(space.rounds(tmp_path, settings))
    (variant,) = group_by_variant(first.runs)
    packs = plan_packs(first.runs, {variant: 9}, stops=first.stops)
    assert [pack.until for pack in packs] == [10, 10]
    write_plan(tmp_path, settings, packs, {variant: profile_of(9, {9: 1.0})}, workers=1)
    assert "0 of 18 runs done" in status(tmp_path) and "18 waiting" in status(tmp_path)
    train(tmp_path, first)
    assert "3 failed; 0 running, 0 waiting, 15 paused at a rung" in status(tmp_path)
    for each in space.rounds(tmp_path, settings):
        train(tmp_path, each)
    assert "18 of 18 runs done: 2 ok, 0 diverged, 3 failed, 13 pruned; 0 running, 0 waiting\n" in status(
        tmp_path
    )


def test_a_folder_of_another_pruner_is_refused(tmp_path: Path) -> None:
    carried_out(tmp_path, settings_of("trials=3"))
    with pytest.raises(UsageError, match="holds trials with pruner=halving, not none"):
        next(space.rounds(tmp_path, config.load("space", [*LORA, "trials=3"])))
    with pytest.raises(UsageError, match="holds trials with rungs=2, not 1"):
        next(space.rounds(tmp_path, settings_of("trials=3", "rungs=1")))

"""Nothing joins a study that is of other data, another model or other versions without a word."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path

import pytest

from study import config
from study.coordination import same_origin
from study.coordination.borrow import borrowable
from study.coordination.plan_file import read_plan, write_plan
from study.coordination.same_origin import refuse_changes, standing
from study.errors import UsageError
from study.planning.inspection import Fingerprints
from study.planning.jobs import Provenance
from study.planning.origin import Origin
from study.planning.runs import Run, plan_runs
from study.storage import paused, records
from study.storage.rows import Circumstances, Identity, Outcome, RunRecord

VERSIONS = "study 0.1.0, torch 2.13.0, transformers 5.23.0, peft 0.21.2, python 3.11.7"
HERE = Provenance(VERSIONS, "", False)
PRINTS = Fingerprints("sha256:a", "sha256:m")


def runs_of(*overrides: str) -> list[Run]:
    given = ["method=ether", "seeds=1", "lr=1e-3,1e-2", *(overrides or ["task.data=my.csv"])]
    return plan_runs(config.load("lr_grid", given))


def write(
    folder: Path,
    runs: list[Run],
    prints: Fingerprints = PRINTS,
    provenance: Provenance = HERE,
    status: str = "ok",
) -> None:
    circumstances = Circumstances(
        data_fingerprint=prints.data,
        model_fingerprint=prints.model,
        judge_fingerprints=prints.judges,
        **vars(provenance),
    )
    made = [RunRecord(Identity.of(run, "s"), Outcome(status), circumstances) for run in runs]
    records.write(folder, runs[0].run_id, made)


def now(prints: Fingerprints = PRINTS, provenance: Provenance = HERE, *overrides: str) -> list[Origin]:
    return [Origin.of(runs_of(*overrides)[0].task, prints, provenance)]


def said(folder: Path, origins: list[Origin], mixed_versions: bool = False) -> list[str]:
    return refuse_changes(folder, standing(folder, read_plan(folder)), origins, mixed_versions)


def test_a_run_that_waits_at_a_rung_does_not_go_on_with_other_data_or_versions(tmp_path: Path) -> None:
    """A study that was interrupted there may have no record yet, and no pack in training."""
    write(tmp_path / "made", runs_of())
    (first, *_) = (RunRecord.from_json(each) for each in records.read_all(tmp_path / "made"))
    pruned = dataclasses.replace(first, outcome=Outcome("pruned"))
    paused.write(tmp_path, [pruned], [({}, {"step": 1})])
    assert said(tmp_path, now()) == []
    with pytest.raises(UsageError, match="1 paused run"):
        said(tmp_path, now(Fingerprints("sha256:other", "sha256:m")))
    newer = dataclasses.replace(HERE, versions=VERSIONS.replace("torch 2.13.0", "torch 2.14.0"))
    with pytest.raises(UsageError, match="1 paused run is made with"):
        said(tmp_path, now(PRINTS, newer))


def test_the_same_data_model_and_versions_go_on_in_silence(tmp_path: Path) -> None:
    write(tmp_path, runs_of())
    assert said(tmp_path, now()) == []


@pytest.mark.parametrize("prints, key", [
    (Fingerprints("sha256:b", "sha256:m"), "task.data=my.csv"),
    (Fingerprints("sha256:a", "sha256:n"), "task.model=shipped"),
])  # fmt: skip
def test_a_change_is_refused_with_what_stands_on_the_old_and_how_to_go_on(
    prints: Fingerprints, key: str, tmp_path: Path
) -> None:
    write(tmp_path, runs_of())
    os.utime(records.path_of(tmp_path, runs_of()[0].run_id), (86400 * 366, 86400 * 366))
    with pytest.raises(UsageError) as refused:
        said(tmp_path, now(prints), mixed_versions=True)  # which is about versions
    line = str(refused.value)
    assert line.startswith(f"{key} has changed: 2 finished runs are of what it was on 1971-01-0")
    for words in ("give another name=", str(tmp_path), "sha256:"):
        assert words in line
    assert "\n" not in line


SEGMENTERS = ["task=s2i", "scale=paper", "task.model=m/n", "task.data=./x", "task.inception=./inception.pth"]


@pytest.mark.parametrize("judge, name", [("segmenter", "./a"), ("inception", "./inception.pth")])
def test_a_model_that_scores_are_made_by_must_not_change(judge: str, name: str, tmp_path: Path) -> None:
    """Under its name; another segmenter beside it, as an axis has one, is compared with its own."""
    judges = {"segmenter": "sha256:s", "inception": "sha256:i"}

    def prints(**changed: str) -> Fingerprints:
        return dataclasses.replace(
            PRINTS, judges=", ".join(f"{k} {v}" for k, v in (judges | changed).items())
        )

    one, other = ([*SEGMENTERS, f"task.segmenter={path}"] for path in ("./a", "./b"))
    write(tmp_path, runs_of(*one), prints())
    assert said(tmp_path, now(prints(), HERE, *one)) == []
    assert said(tmp_path, now(prints(segmenter="sha256:t"), HERE, *other)) == []
    changed = now(prints(**{judge: "sha256:x"}), HERE, *one)
    with pytest.raises(
        UsageError, match=rf"task\.{judge}={name} has changed: 2 finished runs are of .*sha256:x"
    ):
        said(tmp_path, changed)
    plan = Path(tmp_path / "planned")
    write_plan(plan, config.load("lr_grid", one), [], {}, 1, changed)
    assert read_plan(plan).origins == tuple(changed)  # type: ignore[union-attr]


def test_an_axis_of_data_is_compared_with_its_own(tmp_path: Path) -> None:
    """Runs on one file stand; those on the other are of another content from the start."""
    write(tmp_path, runs_of())
    assert said(tmp_path, now(Fingerprints("sha256:b", "sha256:m"), HERE, "task.data=your.csv")) == []
    write(tmp_path, runs_of("task.data=your.csv"), Fingerprints("sha256:b", "sha256:m"))
    with pytest.raises(UsageError, match="task.data=your.csv has changed: 2 finished runs"):
        said(tmp_path, now(Fingerprints("sha256:c", "sha256:m"), HERE, "task.data=your.csv"))


def test_failed_runs_hold_no_results_that_could_be_mixed(tmp_path: Path) -> None:
    write(tmp_path, runs_of(), status="failed")
    assert said(tmp_path, now(Fingerprints("sha256:b", "sha256:n"))) == []


def test_older_records_are_taken_for_the_same_and_that_is_said(tmp_path: Path) -> None:
    write(tmp_path, runs_of(), Fingerprints())
    (note,) = said(tmp_path, now())
    assert note.startswith("2 of the finished runs do not say of what data and model they are")


@pytest.mark.parametrize("package", ["study 0.1", "torch 2.13", "transformers 5.23", "peft 0.21"])
def test_other_versions_are_refused_unless_they_may_be_mixed(package: str, tmp_path: Path) -> None:
    write(tmp_path, runs_of())
    newer = Provenance(VERSIONS.replace(package, f"{package.split()[0]} 9.9"), "", False)
    with pytest.raises(UsageError, match=rf"made with {package}.* \(now 9.9.*mixed_versions=true"):
        said(tmp_path, now(provenance=newer))
    (note,) = said(tmp_path, now(provenance=newer), mixed_versions=True)
    assert package in note


def test_another_commit_counts_where_the_code_that_decides_results_differs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path, runs_of(), provenance=Provenance(VERSIONS, "a" * 40, False))
    other = now(provenance=Provenance(VERSIONS, "b" * 40, False))
    monkeypatch.setattr(same_origin, "is_same_code", lambda before, after: False)
    with pytest.raises(UsageError, match=r"this project at commit aaaaaaaaaa \(now bbbbbbbbbb\)"):
        said(tmp_path, other)
    monkeypatch.setattr(same_origin, "is_same_code", lambda before, after: True)
    assert said(tmp_path, other) == []
    assert said(tmp_path, now()) == []  # not a checkout: only the version is known


def test_uncommitted_changes_are_said(tmp_path: Path) -> None:
    write(tmp_path, runs_of())
    dirty = now(provenance=dataclasses.replace(HERE, git_dirty=True))
    assert said(tmp_path, dirty) == ["the checkout of this project has uncommitted changes"]


def test_a_pack_in_training_does_not_go_on_with_other_data(tmp_path: Path) -> None:
    settings = config.load("lr_grid", ["method=ether", "seeds=1", "task.data=my.csv"])
    write_plan(tmp_path, settings, [], {}, 1, now())
    changed = now(Fingerprints("sha256:b", "sha256:m"))
    assert said(tmp_path, changed) == []  # nothing was trained yet
    checkpoint = tmp_path / "checkpoints" / "abc" / "000000005-1.checkpoint"
    checkpoint.parent.mkdir(parents=True)
    checkpoint.touch()
    with pytest.raises(
        UsageError, match=r"task.data=my.csv has changed: 1 pack in training is of what it was"
    ):
        said(tmp_path, changed)
    assert said(tmp_path, now()) == []


def test_only_runs_of_the_same_origin_are_taken_over(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    runs = runs_of()
    for name, prints, provenance in (
        ("fitting", PRINTS, HERE),
        ("other_data", Fingerprints("sha256:b", "sha256:m"), HERE),
        ("other_torch", PRINTS, Provenance(VERSIONS.replace("2.13", "1.13"), "", False)),
    ):
        write(tmp_path / name, runs, prints, provenance)
    origins = {run.run_id: Origin.of(run.task, PRINTS, HERE) for run in runs}
    found = borrowable(tmp_path / "compare", tmp_path, origins, mixed_versions=False)
    assert [(folder.name, len(taken)) for folder, taken in found.items()] == [("fitting", 2)]
    records.path_of(tmp_path / "fitting", runs[0].run_id).unlink()
    assert borrowable(tmp_path / "compare", tmp_path, origins, mixed_versions=False) == {}
    assert f"2 runs in {tmp_path / 'other_data'} are not taken over" in capsys.readouterr().out
    mixed = borrowable(tmp_path / "compare", tmp_path, origins, mixed_versions=True)
    assert [folder.name for folder in mixed] == ["other_torch"]

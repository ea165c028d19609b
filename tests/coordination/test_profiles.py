"""Which profiles are kept: those that were measured undisturbed, wherever there is a place to keep them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from support.records.profiles import profile_of

from study import config
from study.coordination import profiles
from study.launchers import Session
from study.planning.jobs import Answer, Job, Probed
from study.planning.runs import group_by_variant, plan_runs

SETTINGS = config.load("lr_grid", ["method=ether,lora", "lr=1e-3", "seeds=2"])
GROUPS = group_by_variant(plan_runs(SETTINGS))
PROFILE = profile_of(2, {1: 0.2, 2: 0.1})


class Probes(Session):
    """Answers every probe alike."""

    def __init__(self, disturbed: str = "") -> None:
        self.disturbed, self.asked = disturbed, 0

    def do(self, jobs: Sequence[Job]) -> Iterator[tuple[Job, Answer]]:
        self.asked = len(jobs)
        for job in jobs:
            yield job, Probed(PROFILE, self.disturbed)


def measured(session: Probes) -> int:
    """How many probes are asked for; the profiles are there in any case."""
    assert profiles.probe_missing(GROUPS, SETTINGS, session, 1) == dict.fromkeys(GROUPS, PROFILE)
    return session.asked


def test_what_is_measured_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert measured(Probes()) == 2 and measured(Probes()) == 0


def test_what_was_disturbed_is_used_said_and_not_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert measured(Probes("results/x (process 1) at work on this machine")) == 2
    expected = "ether (blocks=4), lora (r=8, lora_alpha=8) is for this study alone, not kept: results/x"
    assert expected in capsys.readouterr().out
    assert measured(Probes()) == 2 and measured(Probes()) == 0


@pytest.mark.parametrize("variable", ["XDG_CACHE_HOME", "HOME"])
def test_without_a_place_for_the_cache_studies_run(
    variable: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A file in the folder's place: also root cannot write in it."""
    (tmp_path / "file").touch()
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setenv(variable, str(tmp_path / "file"))
    assert measured(Probes()) == 2
    line = capsys.readouterr().out.splitlines()[-1]
    assert "ether (blocks=4), lora (r=8, lora_alpha=8)" in line and str(tmp_path / "file") in line
    assert line.endswith("profiles cannot be written (Not a directory)")


def test_a_damaged_profile_is_measured_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    measured(Probes())
    for path, content in zip(sorted(tmp_path.rglob("*.json")), ("{", "[]"), strict=True):
        path.write_text(content)
    assert measured(Probes()) == 2 and measured(Probes()) == 0


def test_profiles_of_the_reference_machine_are_found_at_any_depth() -> None:
    """Of a method that the atlas alone has, as of those of lr_grid."""
    known = profiles.of_reference_machine()
    for sweep, method in (("lr_grid", "ether"), ("atlas", "hra")):
        runs = plan_runs(config.load(sweep, [f"method={method}"]))
        assert {run.variant for run in runs} <= known.keys(), f"{method} of {sweep}"

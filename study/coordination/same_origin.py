"""A study is of one origin: runs on changed data, a changed model or other versions do not join its table."""

from __future__ import annotations

import datetime
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from study.coordination.plan_file import Plan
from study.errors import UsageError
from study.planning.origin import Origin, changed_packages
from study.storage import checkpoints, paused, records
from study.storage.provenance import is_same_code


@dataclass
class Standing:
    """What there is of one origin in a study's folder.

    Attributes:
        what: `finished run`, `paused run` or `pack in training`.
        count: how many.
        since: when the first of them was written, in seconds since 1970.
    """

    origin: Origin
    what: str
    count: int
    since: float

    @property
    def words(self) -> str:
        """`3 finished runs are`, to go on from."""
        return f"{self.count} {self.what}s are" if self.count > 1 else f"1 {self.what} is"


def standing(folder: Path, plan: Plan | None) -> list[Standing]:
    """The origins of all that a study's folder holds: finished runs, paused ones, packs with a checkpoint."""
    there = [*_by_origin("finished run", _finished(folder)), *_by_origin("paused run", _paused(folder))]
    begun = sum(progress.step > 0 for progress in checkpoints.unfinished_packs(folder).values())
    if plan and begun:
        path = folder / "plan.json"
        there += [
            Standing(origin, "pack in training", begun, path.stat().st_mtime) for origin in plan.origins
        ]
    return there


def _finished(folder: Path) -> Iterator[tuple[Origin, float]]:
    """Each run's origin, and when it was written."""
    for path, pack in records.read_packs(folder):
        written = path.stat().st_mtime
        for row in pack.runs.to_rows():
            if row["status"] != "failed":
                yield Origin.of_row(row), written


def _paused(folder: Path) -> Iterator[tuple[Origin, float]]:
    for run_id in sorted(paused.run_ids(folder)):
        if record := paused.record(folder, run_id):
            yield Origin.of_row(record.row()), paused.path_of(folder, run_id).stat().st_mtime


def _by_origin(what: str, runs: Iterable[tuple[Origin, float]]) -> list[Standing]:
    found: dict[Origin, Standing] = {}
    for origin, written in runs:
        known = found.setdefault(origin, Standing(origin, what, 0, written))
        known.count, known.since = known.count + 1, min(known.since, written)
    return list(found.values())


def refuse_changes(
    folder: Path, there: Sequence[Standing], now: Iterable[Origin], mixed_versions: bool
) -> list[str]:
    """What is to be said of a study before more runs join it, a line each.

    Args:
        there: what the folder holds.
        now: what the runs to come would be of.
        mixed_versions: other versions are said and not refused.

    Raises:
        UsageError: if data, a model or versions are not what they were.
    """
    notes: list[str] = []
    for origin in now:
        for old in there:
            for name in origin.changed(old.origin):
                raise UsageError(_changed_content(folder, name, origin, old))
    for old in there:
        for origin in now:
            if changes := changed_versions(old.origin, origin):
                words = f"{folder}: {old.words} made with {', '.join(changes)}"
                if not mixed_versions:
                    raise UsageError(
                        f"{words}; give another name=, or mixed_versions=true to go on with both"
                    )
                notes.append(f"{words}; going on with both")
    unknown = sum(old.count for old in there if not any(vars(old.origin.fingerprints).values()))
    if unknown:
        notes.append(
            f"{unknown} of the finished runs do not say of what data and model they are; taken for the same"
        )
    if any(origin.provenance.git_dirty for origin in now):
        notes.append("the checkout of this project has uncommitted changes")
    return list(dict.fromkeys(notes))


def changed_versions(before: Origin, now: Origin) -> list[str]:
    """The packages whose versions differ, and this project's commit if the code that decides results does."""
    then, here = before.provenance, now.provenance
    changes = changed_packages(then.versions, here.versions)
    if then.git_sha and here.git_sha and not is_same_code(then.git_sha, here.git_sha):
        changes.append(f"this project at commit {then.git_sha[:10]} (now {here.git_sha[:10]})")
    return changes


def _changed_content(folder: Path, name: str, now: Origin, old: Standing) -> str:
    was, found = (origin.fingerprints.by_setting()[name] for origin in (old.origin, now))
    since = datetime.datetime.fromtimestamp(old.since).strftime("%Y-%m-%d")
    return (
        f"task.{name}={now.named(name)} has changed: {old.words} of what it was on {since} ({was}), now "
        f"it is {found}; give another name=, put back what it was, or delete {folder}"
    )

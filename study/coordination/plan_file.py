"""plan.json: what a study set out to do, so that the same command goes on with the same packs."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from study.errors import UsageError
from study.planning.origin import Origin
from study.planning.packs import Pack, pack_id
from study.planning.profile import Profile
from study.settings import LauncherSettings, SweepSettings, TaskSettings
from study.storage.files import write_atomically
from study.storage.records import check_version
from study.storage.rows import RECORD_VERSION

FILE = "plan.json"

Settings = TypeVar("Settings", SweepSettings, TaskSettings, LauncherSettings)


class DamagedPlan(UsageError):
    """plan.json is not what was written."""


@dataclass(frozen=True)
class PlannedPack:
    """A pack as the plan knows it: by the ids of its runs, with its title and estimated seconds.

    Attributes:
        until: as of `Pack`.
    """

    run_ids: tuple[str, ...]
    title: str
    seconds: float
    until: int | None = None

    @property
    def pack_id(self) -> str:
        return pack_id(self.run_ids)

    def without(self, run_ids: Collection[str]) -> PlannedPack | None:
        """The pack without these runs, which are done; None if that leaves nothing."""
        left = tuple(run_id for run_id in self.run_ids if run_id not in run_ids)
        seconds = self.seconds * len(left) / len(self.run_ids)
        return PlannedPack(left, self.title, seconds, self.until) if left else None


@dataclass(frozen=True)
class Plan:
    """What plan.json holds.

    Attributes:
        settings: of the command that planned last; what is newer than the plan is at its default.
        profiles: by variant.
        workers: how many jobs run at a time.
        origins: what the runs' results come from, each once; empty where an older version planned.
    """

    settings: SweepSettings
    profiles: Mapping[str, Profile]
    packs: tuple[PlannedPack, ...]
    workers: int
    origins: tuple[Origin, ...] = ()

    @property
    def run_ids(self) -> set[str]:
        return {run_id for pack in self.packs for run_id in pack.run_ids}


def read_plan(folder: Path) -> Plan | None:
    """The plan of the study in `folder`, whatever version wrote it; None if there is none.

    Raises:
        DamagedPlan: if it cannot be read.
        UsageError: if a newer version wrote it.
    """
    path = folder / FILE
    if not path.exists():
        return None
    try:
        content = json.loads(path.read_text())
        check_version(path, content["record_version"])
        packs = content.get("packs", [])
        titles = content.get("titles", ["?"] * len(packs))  # version 1 did not say
        seconds = content.get("seconds", [0.0] * len(packs))
        untils = content.get("untils", [None] * len(packs))  # of studies that prune
        return Plan(
            settings=_settings(content["settings"]),
            profiles=read_profiles(content),
            packs=tuple(
                PlannedPack(tuple(run_ids), *rest)
                for run_ids, *rest in zip(packs, titles, seconds, untils, strict=True)
            ),
            workers=content.get("workers", 1),
            origins=tuple(Origin.from_json(origin) for origin in content.get("origins", [])),
        )
    except (ValueError, KeyError, TypeError, AttributeError):
        raise DamagedPlan(f"{path} is damaged; the sweep's command plans anew") from None


def read_profiles(content: Mapping[str, Any]) -> dict[str, Profile]:
    """The profiles in the content of a plan.json, by variant."""
    return {variant: Profile.from_json(profile) for variant, profile in content.get("profiles", {}).items()}


def _settings(content: Mapping[str, Any]) -> SweepSettings:
    settings = _known(SweepSettings, content)
    settings.task = _known(TaskSettings, content["task"])
    settings.launcher = _known(LauncherSettings, content.get("launcher", {}))
    return settings


def _known(kind: type[Settings], content: Mapping[str, Any]) -> Settings:
    names = {field.name for field in dataclasses.fields(kind)}
    return kind(**{key: value for key, value in content.items() if key in names})


def write_plan(
    folder: Path,
    settings: SweepSettings,
    packs: Sequence[Pack],
    profiles: Mapping[str, Profile],
    workers: int,
    origins: Sequence[Origin] = (),
) -> None:
    """Raises CannotWrite if the disk is full."""
    content = {
        "record_version": RECORD_VERSION,
        "settings": dataclasses.asdict(settings),
        "profiles": {variant: profile.to_json() for variant, profile in profiles.items()},
        "packs": [[run.run_id for run in pack.runs] for pack in packs],
        "titles": [pack.runs[0].title for pack in packs],
        "seconds": [pack.seconds(profiles) for pack in packs],
        **({"untils": untils} if any(untils := [pack.until for pack in packs]) else {}),
        "workers": workers,
        "origins": [origin.to_json() for origin in origins],
    }
    write_atomically(folder / FILE, json.dumps(content, indent=1, allow_nan=False).encode())

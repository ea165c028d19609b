"""The miniature, and a folder with everything that the paper's scale needs, in small."""

from __future__ import annotations

from pathlib import Path

import pytest
from support import tiny_diffusion, tiny_subjects

from study import config, tasks
from study.settings import SweepSettings
from study.tasks.subject import Subject

QUICK = [
    "task=subject", "task.sampling_steps=2", "task.class_pictures=6", "task.eval_batch_size=64",
]  # fmt: skip


@pytest.fixture(scope="session")
def sweep() -> SweepSettings:
    return config.load("lr_grid", QUICK)


@pytest.fixture(scope="session")
def mini(sweep: SweepSettings) -> Subject:
    return of(sweep)


def of(sweep: SweepSettings) -> Subject:
    task = tasks.load(sweep.task)
    assert isinstance(task, Subject)
    return task


@pytest.fixture(scope="session")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folders `pipeline`, `dino`, `clip` and `data`."""
    root = tmp_path_factory.mktemp("paper")
    tiny_diffusion.stable_diffusion().save_pretrained(root / "pipeline")
    tiny_subjects.dino(root / "dino")
    tiny_subjects.clip(root / "clip")
    tiny_subjects.subject_folder(root / "data")
    return root


def arguments(root: Path, *more: str) -> list[str]:
    """What sets the paper's scale on such files."""
    return [
        "task=subject", "scale=paper", f"task.model={root / 'pipeline'}", f"task.data={root / 'data'}",
        f"task.dino={root / 'dino'}", f"task.clip_model={root / 'clip'}", "task.steps=2",
        "task.class_pictures=4", "task.eval_batch_size=8", "task.sampling_steps=2", "task.evaluations=1",
        "task.precision=float32", *more,
    ]  # fmt: skip


@pytest.fixture(scope="session")
def paper_arguments(files: Path) -> list[str]:
    return arguments(files)


@pytest.fixture(scope="session")
def paper(paper_arguments: list[str]) -> Subject:
    return of(config.load("lr_grid", paper_arguments))

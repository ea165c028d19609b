"""What a terminal shows of a study at work: a line per pack that trains, and a total."""

from __future__ import annotations

import datetime
import math
from typing import TYPE_CHECKING

from study.planning.progress import Outlook, PackLeft

if TYPE_CHECKING:
    from rich.console import RenderableType


WIDEST_TITLE = 30
"""Characters of a method with its options, of which more are left out."""


def render(outlook: Outlook) -> RenderableType:
    """The packs in training and the total, for `rich`; figures stand in columns."""
    from rich.console import Group
    from rich.progress_bar import ProgressBar
    from rich.table import Table

    table = Table.grid(padding=(0, 2))
    width = min(WIDEST_TITLE, max((len(pack.title) for pack in outlook.running), default=3))
    table.add_column(width=width, no_wrap=True, overflow="ellipsis")
    table.add_column(justify="right", no_wrap=True)
    table.add_column(width=16)
    table.add_column()  # in a narrow terminal this one wraps
    for pack in outlook.running:
        at = pack.progress
        assert at is not None
        bar = ProgressBar(max(1, at.steps), at.step)
        table.add_row(pack.title, f"{pack.runs} run{'s' * (pack.runs > 1)}", bar, _of_pack(pack))
    total = ProgressBar(max(1, outlook.run_steps_planned), outlook.run_steps)
    runs = f"{outlook.ended}/{outlook.planned} runs"
    table.add_row("[bold]all", runs, total, f"[bold]{_of_all(outlook)}")
    return Group(table)


def _of_pack(pack: PackLeft) -> str:
    """`step 40 of 150, best accuracy .912, 2 diverged`"""
    at = pack.progress
    assert at is not None
    parts = [f"step {at.step} of {at.steps}"]
    if math.isfinite(at.best):
        parts.append(f"best {at.metric} {at.best:.3f}")
    if at.diverged:
        parts.append(f"{at.diverged} diverged")
    return ", ".join([*parts, *filter(None, [pack.where])])


def _of_all(outlook: Outlook) -> str:
    """`1,200 of 33,750 run-steps, 3 diverged, about 1:20 left`"""
    parts = [f"{outlook.run_steps:,} of {outlook.run_steps_planned:,} run-steps"]
    counts = {"diverged": outlook.diverged, "failed": outlook.statuses.get("failed", 0), "lost": outlook.lost}
    parts += [f"{count} {name}" for name, count in counts.items() if count]
    if outlook.ended < outlook.planned:
        parts.append(f"about {clock(outlook.seconds_left)} left")
    return ", ".join(parts)


def clock(seconds: float) -> str:
    """`1:20`, `2:00:05`"""
    return str(datetime.timedelta(seconds=round(seconds))).removeprefix("0:").removeprefix("0")

"""What the user sees while methods are measured and runs end: live on a terminal, plain lines elsewhere."""

from __future__ import annotations

import os
import sys
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from study.cli.live import render
from study.planning.jobs import TrainJob
from study.planning.progress import Outlook, PackLeft, PackProgress, Tally
from study.storage import checkpoints

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.live import Live

REFRESH_HZ = 2.0

T = TypeVar("T")


def is_terminal() -> bool:
    """Whether progress goes to a terminal that can draw a line anew."""
    return sys.stderr.isatty() and os.environ.get("TERM") != "dumb"


def counted(items: Iterable[T], words: str, total: int) -> Iterator[T]:
    """The items, with a bar of how many have come; elsewhere than on a terminal, one line at the start."""
    if not is_terminal():
        print(f"{words} ...", flush=True)
        yield from items
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), redirect_stdout=sys.stdout.isatty()) as bar:
        task = bar.add_task(words, total=total)
        for item in items:
            bar.advance(task)
            yield item


class Progress:
    """The runs of a study while they train. On a terminal a line per pack that trains and a total, drawn anew
    all the time; elsewhere a line per pack that is done.

    Args:
        folder: the study's, where packs say how far they have come.
        tally: what is done already; it is kept up to date.
        workers: how many packs train at a time.
    """

    def __init__(self, folder: Path, tally: Tally, workers: int) -> None:
        self.folder, self.tally, self.workers = folder, tally, workers
        self.left: dict[str, PackLeft] = {}
        self.seen: dict[str, PackProgress] = {}
        self.began = time.time()
        self.live: Live | None = None

    def __enter__(self) -> Progress:
        if is_terminal():
            from rich.console import Console
            from rich.live import Live

            self.live = Live(
                console=Console(stderr=True),
                refresh_per_second=REFRESH_HZ,
                get_renderable=self._view,
                redirect_stdout=sys.stdout.isatty(),
            )
            self.live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self.live:
            self.live.stop()

    def begin(self, jobs: Sequence[TrainJob]) -> None:
        """From now on these packs are under way, or wait."""
        for job in jobs:
            steps = job.until or job.runs[0].task.steps
            self.left[job.pack_id] = PackLeft(job.title, len(job.runs), steps, job.seconds)

    def add(self, job: TrainJob, statuses: Sequence[str]) -> None:
        """A pack is done."""
        self.tally.end(self._end(job), statuses)
        if not self.live:
            notes = [f"{n} {name}" for name, n in Counter(statuses).items() if name != "ok"]
            ended = self.tally.statuses.total()
            print(f"{ended}/{self.tally.planned} runs: {job.title}", *notes, flush=True)

    def lose(self, job: TrainJob, cause: str) -> None:
        """A pack left no result."""
        self._end(job)
        self.tally.lost += len(job.runs)
        self.note(f"{len(job.runs)} runs of {job.title} have no result: {cause}")

    def note(self, message: str) -> None:
        if self.live:
            self.live.console.print(message, markup=False, highlight=False, soft_wrap=True)
        else:
            print(message, flush=True)

    def outlook(self) -> Outlook:
        """How the study stands now."""
        self.seen |= checkpoints.progress_of_packs(self.folder, self.began)
        left = dict(self.left)  # the display asks from a thread of its own
        packs = [replace(pack, progress=self.seen.get(pack_id)) for pack_id, pack in left.items()]
        return self.tally.outlook(packs, self.workers)

    def _end(self, job: TrainJob) -> PackLeft:
        return replace(self.left.pop(job.pack_id), progress=self.seen.get(job.pack_id))

    def _view(self) -> RenderableType:
        return render(self.outlook())

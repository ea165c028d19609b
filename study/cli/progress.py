"""What the user sees while runs end."""

from __future__ import annotations

import sys
from collections import Counter


class Progress:
    """A bar on a terminal, a line per pack elsewhere. `lost` counts runs without a result."""

    def __init__(self, planned: int, done: int) -> None:
        self.planned, self.done, self.lost = planned, done, 0

    def __enter__(self) -> Progress:
        from tqdm import tqdm

        self.terminal = sys.stderr.isatty()
        self.bar = tqdm(total=self.planned, initial=self.done, unit="run", disable=not self.terminal)
        return self

    def __exit__(self, *_: object) -> None:
        self.bar.close()

    def add(self, statuses: Counter[str], title: str) -> None:
        self.done += statuses.total()
        self.bar.update(statuses.total())
        if not self.terminal:
            notes = [f"{n} {name}" for name, n in statuses.items() if name != "ok"]
            print(f"{self.done}/{self.planned} runs: {title}", *notes, flush=True)

    def lose(self, runs: int, title: str, cause: str) -> None:
        self.lost += runs
        self.note(f"{runs} runs of {title} have no result: {cause}")

    def note(self, message: str) -> None:
        self.bar.write(message) if self.terminal else print(message, flush=True)

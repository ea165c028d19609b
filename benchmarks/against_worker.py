"""One checkout at work for `benchmarks.against`: answers questions on stdin, a line of JSON each.

Runs with the packages of the checkout that PYTHONPATH names, which may be years older than this file: it uses
nothing but what both have. Times are of this process's CPU, so that a busy machine disturbs them less.
"""

from __future__ import annotations

import json
import statistics
import sys
import time
from typing import Any

import torch
from peft import get_peft_model
from torch import nn

from study import config, methods, tasks

try:
    from study.tasks.loading.pretrained import block_layers
    from study.training.train import Hyperparameters, Training
except ImportError:  # before the folders
    from study.pretrained import block_layers  # type: ignore[no-redef]
    from study.train import Hyperparameters, Training  # type: ignore[no-redef]

try:
    from study.planning.profile import RunMapping

    WHOLE: Any = RunMapping.MODEL
except ImportError:  # before there were three ways
    WHOLE = True

MAPPED_WHOLE = ("glue",)
"""Tasks whose model has to be mapped over the runs as a whole: DeBERTa's positions have no axis of runs."""
TOKENS = 512
"""On which a single layer is timed."""
TURNS = 3
STEPS = 3
"""Of a pack in one turn."""


def steps_of(turn: int) -> range:
    """The same of every pack and of the bare model beside them: texts are padded to other lengths in each."""
    return range(STEPS * turn, STEPS * (turn + 1))


class Packs:
    """A pack of each method on one task, made when it is first asked for."""

    def __init__(self, task: str, size: int) -> None:
        self.settings = config.load("lr_grid", [f"task={task}", "scale=mini"])
        self.task, self.size = tasks.load(self.settings.task), size
        self.seeds = [run // 9 for run in range(size)]
        self.targets = self.settings.task.target_modules or block_layers(self.task.model())
        self._packs: dict[str, Training] = {}
        self._geometry: dict[str, float] = {}

    def training(self, method: str) -> Training:
        if method not in self._packs:
            settings, options = self.settings.task, self.settings.method.get(method, {})
            head = list(self.task.head_modules) if settings.head_lr else None
            adapter = methods.config(method, options, self.targets, head)
            runs = [Hyperparameters(1e-3, seed) for seed in self.seeds]
            mapping = [WHOLE] if settings.name in MAPPED_WHOLE else []
            made = Training(self.task, self.task.model(), adapter, runs, *mapping)
            self._packs[method] = made
            geometry: Any = made.geometry
            measure = geometry.measure

            def timed(*args: Any) -> Any:
                start = time.process_time()
                rows = measure(*args)
                self._geometry[method] = time.process_time() - start
                return rows

            geometry.measure = timed
            made.measure()  # what is computed once, such as the base weights' energy
            made.train_step()
        return self._packs[method]

    def pack(self, method: str, turn: int) -> dict[str, float]:
        """Seconds per run: of a training step of this turn's, and of a point's evaluation and geometry."""
        training, steps = self.training(method), steps_of(turn)
        start = time.process_time()
        training.step = steps.start
        for _ in steps:
            training.train_step()
        trained = time.process_time()
        training.measure()
        measured, geometry = time.process_time() - trained, self._geometry[method]
        seconds = {
            "step": (trained - start) / len(steps),
            "evaluation": measured - geometry,
            "geometry": geometry,
        }
        return {name: value / self.size for name, value in seconds.items()}

    def frozen(self, turn: int) -> dict[str, float]:
        """Seconds per run of the bare model on the batches of a pack's turn. Of this checkout alone.

        A step goes forward, and back to what is adapted first.
        """
        from study.training import passes

        model, settings = self.task.model(), self.settings.task
        names = [*self.targets, *(self.task.head_modules if settings.head_lr else [])]
        first = next(m for n, m in model.named_modules() if any(f".{n}".endswith(f".{t}") for t in names))
        steps = steps_of(turn)
        batches = [self.task.collate([self.task.batch(seed, step) for seed in self.seeds]) for step in steps]

        def from_here(_: nn.Module, __: Any, output: torch.Tensor) -> torch.Tensor:
            return output.detach().requires_grad_()

        def train_on(batch: Any) -> None:
            self.task.losses(self.task.forward(model, batch), batch).sum().backward()

        with first.register_forward_hook(from_here):
            train_on(batches[0])  # warms up
            start = time.process_time()
            for batch in batches:
                train_on(batch)
        step = (time.process_time() - start) / len(steps) / self.size
        rows, cpu = [self.task.rows("valid", seed) for seed in self.seeds], torch.device("cpu")
        streams = passes.RunStreams(self.seeds, cpu)
        start = time.process_time()
        with torch.no_grad():
            passes._evaluate(self.task, model, "valid", rows, streams, cpu, lambda f, batch: f(model, batch))
        return {"step": step, "evaluation": (time.process_time() - start) / self.size}


def layer_turn(method: str, options: dict[str, Any], width: int, steps: int) -> dict[str, float]:
    """Seconds of a training step of one adapted linear layer outside any pack, and of the bare one in turns.

    Medians over turns, and the median of the ratios of turns that follow one another: a machine that is busy
    for a while slows both. A turn has steps in a row, as training has; its first find colder caches.
    """
    torch.manual_seed(0)
    bare = nn.Sequential(nn.Linear(width, width)).requires_grad_(False)
    base: nn.Module = nn.Sequential(nn.Linear(width, width)).requires_grad_(False)
    adapted: nn.Module = get_peft_model(base, methods.config(method, options, ["0"]))
    x = torch.randn(1, TOKENS, width, requires_grad=True)

    def turn(model: nn.Module) -> float:
        seconds = []
        for _ in range(2 + steps):
            start = time.process_time()
            model(x).square().mean().backward()
            seconds.append(time.process_time() - start)
        return statistics.median(seconds[2:])

    pairs = [(turn(bare), turn(adapted)) for _ in range(TURNS)]
    frozen, step = (statistics.median(each) for each in zip(*pairs, strict=True))
    ratio = statistics.median(of_adapted / of_bare for of_bare, of_adapted in pairs)
    return {"frozen": frozen, "step": step, "over_frozen": ratio}


def main() -> None:
    torch.set_num_threads(1)
    packs: dict[tuple[str, int], Packs] = {}
    for line in sys.stdin:
        question = json.loads(line)
        kind, turn = question.pop("ask"), question.pop("turn")
        try:
            if kind == "layer":
                answer: dict[str, Any] = layer_turn(**question)
            else:
                key = question.pop("task"), question.pop("size")
                if key not in packs:
                    packs = {key: Packs(*key)}  # the last task's models are no longer needed
                of_task = packs[key]
                answer = of_task.frozen(turn) if kind == "frozen" else of_task.pack(turn=turn, **question)
                settings = of_task.settings.task
                answer |= {"steps": settings.steps, "evaluations": settings.evaluations}
                answer["test_over_valid"] = of_task.task.size("test") / of_task.task.size("valid")
        except Exception as error:
            answer = {"error": f"{type(error).__name__}: {error}".splitlines()[0]}
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()

"""The contract of a task: what training takes for granted of every one, as checks that say what to fix.

`run(task)` tries a loaded task out at the size it has, so at `scale=mini`. Each check of `CHECKS` raises
`Broken`, or returns a note (empty so far).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch

from study.errors import first_line
from study.tasks import SPLITS, Batch, Task
from study.testing.checks import Result, need, run_checks
from study.training.frozen_base import BaseSeal, train_mode
from study.training.passes import base_model, training_batches
from study.training.randomness import RunStreams, SharedDraw


def _first_rows(task: Task, split: str, count: int) -> Batch:
    return task.examples(split, torch.arange(count))


def _rows(batch: Batch) -> int:
    return len(next(iter(batch.values())))


def _distinct(task: Task, batches: Sequence[Batch]) -> list[set[bytes]]:
    """Each batch's examples by their first tensor, padded to one length where they differ in it."""
    inputs = next(iter(task.collate(batches).values()))
    return [
        {row.numpy().tobytes() for row in part} for part in inputs.split([_rows(batch) for batch in batches])
    ]


def splits(task: Task) -> str:
    """Every split has examples, and no example is in two splits."""
    empty = [split for split in SPLITS if task.size(split) < 1]
    need(not empty, f"no examples in {', '.join(empty)}", "size must count the examples of every split")
    examples = _distinct(task, [_first_rows(task, split, task.size(split)) for split in SPLITS])
    train, valid, test = examples
    for first, second, names in ((train, valid, "train and valid"), (train, test, "train and test"),
                                 (valid, test, "valid and test")):  # fmt: skip
        shared = len(first & second)
        need(not shared, f"{shared} examples are in both {names}", "scores must be of examples never seen")
    return ""


def rows(task: Task) -> str:
    """A seed's rows are examples of the split, the same each time, and in what is scored as many for each."""
    for split in SPLITS:
        of_seeds = [task.rows(split, seed) for seed in range(4)]
        fix = "give the indices of examples of this split"
        for found in of_seeds:
            need(len(found) > 0, f"a seed has no rows of {split}", fix)
            inside = bool(((found >= 0) & (found < task.size(split))).all())
            need(inside, f"a seed's rows of {split} are not in it", fix)
        same = torch.equal(task.rows(split, 0), of_seeds[0])
        need(same, f"the same seed has other rows of {split}", "make rows of split and seed alone")
        counts = {len(found) for found in of_seeds}
        if split != "train":
            need(len(counts) == 1, f"seeds have {sorted(counts)} rows of {split}", "give each as many")
    return ""


def classes(task: Task) -> str:
    """The classes of training, if the task says them, are the labels of its examples."""
    known = task.training_classes()
    if known is None:
        return ""
    fix = "training_classes gives the tensor `labels` of every training example"
    size = task.size("train")
    need(len(known) == size, f"{len(known)} classes of {size} training examples", fix)
    first = _first_rows(task, "train", min(100, size))
    need("labels" in first, "a task that says its classes has no tensor `labels`", fix)
    other = int((first["labels"] != known[: len(first["labels"])]).sum())
    need(not other, f"{other} examples have labels that are not their classes", fix)
    return ""


def batches(task: Task) -> str:
    """Batches have one row per example in every tensor, and together are the whole split."""
    total = 0
    for batch in task.batches("valid"):
        sizes = {len(tensor) for tensor in batch.values()}
        need(len(sizes) == 1, f"a batch's tensors have {sorted(sizes)} rows", "one row per example in each")
        most = task.settings.eval_batch_size
        need(_rows(batch) <= most, f"a batch has {_rows(batch)} rows", f"at most eval_batch_size, {most}")
        total += _rows(batch)
    size = task.size("valid")
    need(total == size, f"the batches of valid have {total} rows of {size}", "each example in one batch")
    return ""


def order(task: Task) -> str:
    """A training batch is a function of the run's seed and the step."""

    def inputs(seed: int, step: int) -> torch.Tensor:
        return next(iter(task.batch(seed, step).values()))

    fix = "draw with a generator of (seed, epoch) alone"
    need(torch.equal(inputs(3, 5), inputs(3, 5)), "the same seed and step give other examples", fix)
    need(not torch.equal(inputs(3, 5), inputs(3, 6)), "two steps have the same examples", fix)
    need(not torch.equal(inputs(3, 5), inputs(4, 5)), "two seeds have the same examples", fix)
    size = task.settings.batch_size
    need(len(inputs(0, 0)) == size, f"a batch has {len(inputs(0, 0))} rows", f"batch_size is {size}")
    return ""


def epochs(task: Task) -> str:
    """An epoch visits every training example of a seed once, but for a last, smaller batch."""
    rows = task.rows("train", 0)
    size, examples = task.settings.batch_size, len(rows)
    steps = examples // size
    everything = task.examples("train", rows)
    *visited, known = _distinct(task, [*(task.batch(0, step) for step in range(steps)), everything])
    seen = set().union(*visited)
    fix = "take the examples of an epoch in a new order, batch by batch"
    need(seen <= known, f"{len(seen - known)} examples of an epoch are not in train", fix)
    duplicates = examples - len(known)
    missing = steps * size - duplicates - len(seen)
    need(missing <= 0, f"an epoch misses {missing} examples, or visits some twice", fix)
    return ""


def outputs(task: Task) -> str:
    """Losses and predictions have one row per example, whatever is beside it; metrics have the primary."""
    model = base_model(task, torch.device("cpu")).eval()
    batch = _first_rows(task, "train", 6)
    results = task.forward(model, batch)
    predicted = task.sample if task.generates else task.forward
    generated = predicted(model, batch)
    losses, predictions = task.losses(results, batch), task.predictions(generated, batch)
    need(losses.shape == (6,), f"losses of 6 rows have shape {tuple(losses.shape)}", "one per row, unreduced")
    need(bool(torch.isfinite(losses).all()), "the base model's losses are not finite", "mend model or data")
    need(len(predictions) == 6, f"predictions of 6 rows have {len(predictions)}", "one per row")
    need(predictions.is_floating_point(), f"predictions are {predictions.dtype}", "floats can be nan")
    metrics = task.metrics(predictions, batch)
    need(task.metric in metrics, f"no {task.metric} among metrics {sorted(metrics)}", "metric must be one")
    need(math.isfinite(metrics[task.metric]), f"{task.metric} of the base model is not finite", "define it")
    broken = task.metrics(task.predictions(generated * math.nan, batch), batch)[task.metric]
    fix = "predictions must be nan where outputs are not finite, and metrics where predictions are"
    need(math.isnan(broken), f"outputs that are nan give {task.metric} {broken}", fix)
    first = {name: value[:1] for name, value in batch.items()}
    fresh = _first_rows(task, "train", 1)  # padded to its own length
    for alone, values in ((first, losses), (fresh, predictions)):
        if values is losses:
            value = task.losses(task.forward(model, alone), alone)
        else:
            value = task.predictions(predicted(model, alone), alone)
        same = torch.allclose(value[0], values[0], rtol=1e-4, atol=1e-5)
        what = "loss" if values is losses else "prediction"
        need(same, f"a row's {what} depends on the rows beside it", "mask padding; no batch statistics")
    return ""


def generation(task: Task) -> str:
    """What is generated is a row's own and the same each time, and pictures to keep are of one size."""
    model = base_model(task, torch.device("cpu")).eval()
    batch = _first_rows(task, "test", min(4, task.size("test")))
    rows = _rows(batch)
    with torch.no_grad():
        outputs = (task.sample if task.generates else task.forward)(model, batch)
        if task.generates:
            need(len(outputs) == rows, f"{len(outputs)} samples of {rows} rows", "one per row")
            need(outputs.is_floating_point(), f"samples are {outputs.dtype}", "floats can be nan")
            fix = "start from noise that is one of the batch's tensors, and draw nothing"
            need(_close(task.sample(model, batch), outputs), "sampling twice gives other samples", fix)
            last = {name: value[-1:] for name, value in batch.items()}
            alone = task.sample(model, last)
            need(_close(alone, outputs[-1:]), "a row's sample depends on the rows beside it", fix)
        if task.kept_pictures:
            pictures = task.pictures(outputs, batch)
            shapes = {tuple(value.shape) for value in pictures.values()}
            one = len(shapes) == 1 and next(iter(shapes))[:2] == (rows, 3)
            need(one, f"pictures have shapes {sorted(shapes)}", "(rows, 3, height, width), all of one size")
            kinds = {value.dtype for value in pictures.values()}
            need(kinds == {torch.uint8}, f"pictures are {sorted(map(str, kinds))}", "uint8")
            broken = task.pictures(outputs * math.nan, batch)
            need(broken.keys() == pictures.keys(), "no pictures where outputs are nan", "draw them black")
    return ""


def training(task: Task) -> str:
    """In training mode too a row's loss is its own, two runs share a batch, and the model stays as it is."""
    model = base_model(task, torch.device("cpu"))
    seal = BaseSeal(model)
    train_mode(model)
    seeds, shared = [0, 1], ""
    parts = training_batches(task, seeds, step=0)

    def losses_of(seeds: list[int], batches: Sequence[Batch]) -> torch.Tensor:
        batch = task.collate(batches)
        streams = RunStreams(seeds, torch.device("cpu"))
        return streams.call("training", [0, 0], lambda: task.losses(task.forward(model, batch), batch))

    with torch.no_grad():
        alone = [losses_of([seed], [part]) for seed, part in zip(seeds, parts, strict=True)]
        first = losses_of([0], [{name: value[:1] for name, value in parts[0].items()}])
        fix = "no batch statistics, and no generator of its own in forward or losses"
        need(_close(first, alone[0][:1]), "in training a row's loss depends on the rows beside it", fix)
        try:
            together = losses_of(seeds, parts)
        except SharedDraw as error:
            shared = f"runs train one by one: {first_line(error)}"
        else:
            need(_close(together, torch.cat(alone)), "in training two runs together get other losses", fix)
        draws = RunStreams([0], torch.device("cpu")).draws(
            "training", [0, 0], lambda: task.losses(task.forward(model, parts[0]), parts[0])
        )
    moved = seal.changed()
    need(not moved, f"a forward in training mode changes {moved[:1]}", "a frozen model keeps no statistics")
    return "; ".join(filter(None, ["draws at random in training" if draws else "", shared]))


def _close(a: torch.Tensor, b: torch.Tensor) -> bool:
    return torch.allclose(a, b, rtol=1e-4, atol=1e-5)


def model(task: Task) -> str:
    """The base model is frozen, fresh and the same each time, and has the modules that are named."""
    first = task.model()
    trained = [name for name, p in first.named_parameters() if p.requires_grad]
    need(
        not trained,
        f"{len(trained)} parameters train, such as {trained[:1]}",
        "requires_grad_(False)",
    )
    modules = {name for name, _ in first.named_modules()}
    named = task.settings.target_modules
    absent = sorted(t for t in named if not any(name == t or name.endswith(f".{t}") for name in modules))
    need(not absent, f"target_modules {absent} are not in the model", "give ends of modules' names")
    absent = sorted(set(task.head_modules) - modules)
    need(not absent, f"head_modules {absent} are not in the model", "give their full names")
    need(first is not task.model(), "model() gives the same object twice", "load or copy it anew")
    one, two = (base_model(task, torch.device("cpu")).state_dict() for _ in range(2))
    other = [name for name, value in one.items() if not torch.equal(value, two[name])]
    fix = "draw nothing but from torch's generator, which is seeded before"
    need(not other, f"two base models differ in {len(other)} tensors, such as {other[:1]}", fix)
    return ""


_ALL = (splits, rows, classes, batches, order, epochs, outputs, generation, training, model)
CHECKS: dict[str, Callable[[Task], str]] = {check.__name__: check for check in _ALL}
"""By short name."""


def run(task: Task) -> list[Result]:
    """All checks of one loaded task; any other error counts as broken too."""
    return run_checks(CHECKS, task, unless="not checked: the splits are broken")

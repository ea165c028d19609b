"""A pack's forward and backward on a GPU, recorded once as a CUDA graph and then replayed.

A fast GPU runs the kernels of a step in less time than the host needs to launch them; `docs/speed.md` has
what replaying gains. A replay runs the very kernels that were recorded, so its numbers are those of a step
without it. But it also repeats what the host decided while it was recorded. So only passes that draw nothing
at random are recorded, and the first replay of each recording, on another batch than it was recorded with, is
held against steps without it. It may differ from one as two of them differ: some kernels add up in any order.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Hashable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from study.errors import first_line
from study.tasks import Batch

MOST_SHAPES = 8
"""Of batches that are recorded; each takes about a second. Texts are padded to many lengths."""

TOLERANCE, TIMES_NOISE = 1e-4, 4.0
"""How far a first replay may be from a step without it: relative to that step's length, and to the distance
between two such steps. In bfloat16 the gradients of attention differ from step to step."""

Results = tuple[Tensor, Tensor]
"""Each run's mean loss, (runs,), and gradient, (runs, num_params)."""

Passes = Callable[[Tensor, Batch], Results]
"""Forward and backward, given the runs' parameters, (runs, num_params), and their batch."""


@dataclass
class Recording:
    """Passes over tensors that stay where they are.

    Attributes:
        flat, batch: their inputs.
        results: what they leave there.
        replay: computes them from whatever the inputs hold.
        checked: whether a replay was held against passes that were not recorded.
    """

    flat: Tensor
    batch: Batch
    results: Results
    replay: Callable[[], None]
    checked: bool = False

    def __call__(self, flat: Tensor, batch: Batch) -> Results:
        with torch.no_grad():
            self.flat.copy_(flat)
            for name, value in batch.items():
                self.batch[name].copy_(value)
        self.replay()
        losses, grad = self.results
        return losses.clone(), grad.clone()


Record = Callable[[Passes, Tensor, Batch], Recording]


def record_cuda_graph(passes: Passes, flat: Tensor, batch: Batch) -> Recording:
    """Records them on copies of the inputs.

    Raises:
        RuntimeError: from PyTorch, for passes that cannot be recorded, such as those that wait for the GPU.
    """
    flat, batch = flat.detach().clone(), {name: value.clone() for name, value in batch.items()}
    other = torch.cuda.Stream()
    other.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(other):  # what libraries do at their first call is not to be recorded
        for _ in range(2):
            passes(flat, batch)
    torch.cuda.current_stream().wait_stream(other)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        results = passes(flat, batch)
    return Recording(flat, batch, results, graph.replay)


class RecordedPasses:
    """The recordings of one pack, one for each shape of its batches.

    What cannot be recorded is computed as ever; the log says why.
    """

    def __init__(self, record: Record = record_cuda_graph) -> None:
        self._record = record
        self._recordings: dict[Hashable, Recording] = {}
        self._given_up = False

    def __call__(self, passes: Passes, flat: Tensor, batch: Batch, plainly: Callable[[], Results]) -> Results:
        """What `plainly` gives: `passes` of these inputs, not recorded."""
        shapes = tuple((name, value.shape, value.dtype) for name, value in batch.items())
        recording = self._recordings.get(shapes)
        if self._given_up or (recording is None and len(self._recordings) == MOST_SHAPES):
            return plainly()
        if recording is None:
            with self._giving_up("cannot be recorded"):
                self._recordings[shapes] = self._record(passes, flat, batch)
            return plainly()
        if recording.checked:
            return recording(flat, batch)
        expected, again = plainly(), plainly()
        with self._giving_up("came out otherwise when they were replayed"):
            for got, wanted, other in zip(recording(flat, batch), expected, again, strict=True):
                allowed = max(TOLERANCE * _length(wanted), TIMES_NOISE * _distance(wanted, other))
                if not (away := _distance(wanted, got)) <= allowed:
                    raise RuntimeError(f"{away:.2g} away, where {allowed:.2g} is expected")
            recording.checked = True
        return expected

    @contextlib.contextmanager
    def _giving_up(self, what: str) -> Iterator[None]:
        try:
            yield
        except RuntimeError as error:
            self._recordings.clear()
            self._given_up = True
            print(f"steps {what}, so they are launched one by one: {first_line(error)}", flush=True)


def _length(values: Tensor) -> float:
    """Of what is finite."""
    return values[values.isfinite()].double().norm().item()


def _distance(values: Tensor, others: Tensor) -> float:
    """Over what is finite; infinite if that is not the same in both."""
    same = torch.equal(values.isfinite(), others.isfinite())
    return _length(values - others) if same else math.inf

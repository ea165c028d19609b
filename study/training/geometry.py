"""How far a transformed weight has moved: Frobenius distances and hyperspherical energy.

Neurons are the rows of torch's (f, d) weight, the columns of the paper's W.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from study.storage.rows import LayerRow
from study.training.packing import AdaptedLayer, PackedModel, Tensors

CLOSE = 1e-3
"""Squared distance below which |a - b|^2 = 2 - 2 a.b has lost digits and is computed anew."""

SAME = 1e-30
"""Squared distance up to which two float64 unit vectors differ by rounding alone."""


def frobenius(matrix: Tensor) -> Tensor:
    """|M|_F over the last two axes: (..., f, d) -> (...)."""
    return torch.linalg.vector_norm(matrix, dim=(-2, -1))


def distance_to_identity(blocks: Tensor) -> Tensor:
    """|T - I|_F of a block-diagonal T: (..., n, b, b) -> (...)."""
    identity = torch.eye(blocks.shape[-1], dtype=blocks.dtype, device=blocks.device)
    return torch.linalg.vector_norm(blocks - identity, dim=(-3, -2, -1))


_ENERGIES: dict[int, tuple[Callable[[Tensor], Tensor], float]] = {
    0: (lambda squared: -0.5 * squared.log_(), 1.0),
    1: (torch.Tensor.rsqrt_, math.inf),
    2: (torch.Tensor.reciprocal_, math.inf),
}
"""f_s of a squared distance, in place, and a squared distance at which it is zero. A general power takes
several times as long."""

PAIRS_AT_ONCE = 2**24
"""So many pairs of neurons are held at a time: 128 MiB in float64."""


def hyperspherical_energy(
    weight: Tensor, rows_at_once: int = 128, s: int = 1, half_space: bool = False
) -> tuple[float, int]:
    """`hyperspherical_energies` of one weight, (f, d)."""
    if weight.ndim != 2:
        raise ValueError(f"needs a matrix of at least two neurons, got shape {tuple(weight.shape)}")
    energies, duplicates = hyperspherical_energies(weight[None], rows_at_once, s, half_space)
    return energies.item(), int(duplicates.item())


@torch.no_grad()
def hyperspherical_energies(
    weights: Tensor, rows_at_once: int = 128, s: int = 1, half_space: bool = False
) -> tuple[Tensor, Tensor]:
    """Mean over pairs i != j of f_s(|w_i/|w_i| - w_j/|w_j||), in float64, on the weights' device.

    Liu et al. 2018 (arXiv 1805.09298), in the mean form that makes layers of any width comparable; no
    epsilon. f_1(r) = 1/r is the ETHER paper's (full space, s = 1); f_0 = log 1/r, f_2 = 1/r^2. Never
    holds more than (runs, rows_at_once, f) pairs, and less where these are more than PAIRS_AT_ONCE.

    Args:
        weights: (runs, f, d), f >= 2; any floating dtype.
        rows_at_once: rows of a pair matrix held at a time.
        s: 0, 1 or 2.
        half_space: counts every neuron's opposite as well, so that w and -w are close.

    Returns:
        Per run, (runs,) each, the energy over pairs of distinct directions, and the number of (unordered)
        pairs in the very same direction (or, in half space, the opposite one), which have infinite energy
        and are counted instead. nan if a neuron is not finite or zero, or no pair is left.

    Raises:
        ValueError: if a weight is not a matrix of two rows or more, or `s` is none of 0, 1, 2.
    """
    if weights.ndim != 3 or weights.shape[1] < 2:
        raise ValueError(f"needs matrices of at least two neurons, got shape {tuple(weights.shape)}")
    if s not in _ENERGIES:
        raise ValueError(f"s must be 0, 1 or 2, got {s!r}")
    energy, of_no_energy = _ENERGIES[s]
    weights = weights.double()
    neurons = weights / weights.norm(dim=-1, keepdim=True)
    finite = torch.isfinite(neurons).all(-1).all(-1)
    neurons = neurons.where(finite[:, None, None], 0.0)
    totals = torch.zeros(len(weights), dtype=torch.float64, device=weights.device)
    pairs = torch.zeros(len(weights), dtype=torch.int64, device=weights.device)
    duplicates = torch.zeros_like(pairs)
    for block, later, upper in _pairs_of_rows(neurons, rows_at_once):
        cosines = block @ later.mT  # (runs, rows, f - start)
        for sign in (1, -1) if half_space else (1,):
            squared = (cosines * (-2 * sign)).add_(2).masked_fill_(~upper, of_no_energy)
            same = torch.zeros_like(pairs)
            if squared.min() < CLOSE:
                run, i, j = torch.nonzero(squared < CLOSE, as_tuple=True)
                exact = (block[run, i] - sign * later[run, j]).square().sum(-1)
                same = same.index_add(0, run, (exact <= SAME).long())
                squared[run, i, j] = exact.where(exact > SAME, of_no_energy)
            totals += energy(squared).sum((-2, -1))
            pairs += upper.sum() - same
            duplicates += same
    # nan where no pair is left
    return (totals / pairs).where(finite, math.nan), duplicates.where(finite, 0)


def _pairs_of_rows(neurons: Tensor, rows_at_once: int) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """Some rows, (runs, rows, d), all from the first of these on, (runs, f - start, d), and which pairs of
    the two are of different rows, each once: (rows, f - start)."""
    runs, count, _ = neurons.shape
    rows_at_once = max(1, min(rows_at_once, PAIRS_AT_ONCE // (runs * count)))
    for start in range(0, count, rows_at_once):
        block, later = neurons[:, start : start + rows_at_once], neurons[:, start:]
        shape = block.shape[1], later.shape[1]
        yield block, later, torch.ones(shape, dtype=torch.bool, device=neurons.device).triu_(1)


EPSILON = 1e-4
"""What OFT's code adds to a neuron's squared length."""


def oft_energy(weight: Tensor, rows_at_once: int = 128) -> float:
    """`oft_energies` of one weight, (f, d)."""
    return oft_energies(weight[None], rows_at_once).item()


@torch.no_grad()
def oft_energies(weights: Tensor, rows_at_once: int = 128) -> Tensor:
    """Hyperspherical energy as OFT's code has it (arXiv 2306.07280), but in float64.

    Half space: over the 2f vectors w_i and -w_i, the mean over all pairs of (2 - 2 c)^(-1/2), where c is
    their product divided by their lengths, and a length is sqrt(|w|^2 + 1e-4). A neuron and its own opposite
    are a pair, and the epsilon keeps duplicates finite, so none is left out. Holds as many pairs as
    `hyperspherical_energies`.

    Args:
        weights: (runs, f, d); any floating dtype.
        rows_at_once: rows of a pair matrix held at a time.

    Returns:
        The energies, (runs,); nan if a neuron is not finite.
    """
    weights = weights.double()
    lengths = (weights.square().sum(-1, keepdim=True) + EPSILON).sqrt()
    neurons = weights / lengths
    count = neurons.shape[1]
    totals = (2 + 2 * neurons.square().sum(-1)).rsqrt().sum(-1)  # each with its own opposite
    for block, later, upper in _pairs_of_rows(neurons, rows_at_once):
        cosines = block @ later.mT
        both = (2 - 2 * cosines).rsqrt() + (2 + 2 * cosines).rsqrt()
        totals += 2 * both.where(upper, 0.0).sum((-2, -1))
    finite = torch.isfinite(neurons).all(-1).all(-1)
    return (totals / (count * (2 * count - 1))).where(finite, math.nan)


NUMBERS_AT_ONCE = 2**27
"""So many numbers of transformed weights are held at a time: 1 GiB in float64."""


class Geometry:
    """Distances and hyperspherical energy of a pack's layers; the base weights' energy is computed once.

    Args:
        energy: as the setting `task.energy`.
    """

    def __init__(self, packed: PackedModel, energy: str | None = None) -> None:
        self.packed, self.energy = packed, energy
        self._layers = packed.adapted_layers()
        self._base_energy: dict[str, float] = {}

    @torch.no_grad()
    def measure(self, flat: Tensor) -> list[list[LayerRow]]:
        """Every run's rows of the `layers` table.

        Args:
            flat: the runs' parameters, (runs, num_params).
        """
        rows: list[list[LayerRow]] = [[] for _ in range(self.packed.runs)]
        tensors = self.packed.tensors(flat)
        for name, layer in self._layers.items():
            of_sides = {
                side: distance_to_identity(layer.dense_blocks(side, tensors[name])).tolist()
                for side in layer.sides()
            } or {"weight": [math.nan] * self.packed.runs}
            for run, moved in enumerate(self._moved(name, layer, tensors[name])):
                rows[run] += [
                    LayerRow(
                        layer=name,
                        side=side,
                        transform_distance=distances[run],
                        weight_distance=moved.distance,
                        relative_distance=moved.relative_distance,
                        he=moved.energy,
                        he_change=moved.energy - self._base_energy[name],
                        duplicates=moved.duplicates,
                    )
                    for side, distances in of_sides.items()
                ]
        return rows

    def _moved(self, name: str, layer: AdaptedLayer, tensors: Tensors) -> Iterator[_Moved]:
        """How far each run's W' is from W; as many runs at once as NUMBERS_AT_ONCE allows."""
        at_once = max(1, NUMBERS_AT_ONCE // layer.num_weights)
        for start in range(0, self.packed.runs, at_once):
            of_runs = {tensor: value[start : start + at_once] for tensor, value in tensors.items()}
            weight, transformed = layer.effective_weights(of_runs)
            if name not in self._base_energy:
                self._base_energy[name] = self._energies_of(weight[None])[0].item()
            distances = frobenius(transformed - weight)
            energies, duplicates = self._energies_of(transformed)
            figures = distances, distances / frobenius(weight), energies, duplicates
            yield from map(_Moved, *(figure.tolist() for figure in figures))

    def _energies_of(self, weights: Tensor) -> tuple[Tensor, Tensor]:
        """The energies of (runs, f, d), and the pairs that they leave out, (runs,) each."""
        if self.energy == "oft":
            energies = oft_energies(weights)
            return energies, torch.zeros(len(energies), dtype=torch.int64)
        return hyperspherical_energies(weights)

    def summary(self, layers: Sequence[LayerRow]) -> dict[str, float]:
        """One run's geometry: the mean over layers (and sides) of each figure.

        OFT's change of energy is a sum over layers instead. That is the sum over all weights of the model:
        those that no adapter changes, convolutions among them, are the same before and after, and cancel.
        """
        names = ("transform_distance", "weight_distance", "he_change")
        if not layers:
            return dict.fromkeys(names, math.nan)
        figures = {name: sum(getattr(row, name) for row in layers) / len(layers) for name in names}
        if self.energy == "oft":
            figures["he_change"] = sum({row.layer: row.he_change for row in layers}.values())
        return figures


@dataclass(frozen=True)
class _Moved:
    """How far one run's weight is from the layer's own, and its energy and duplicates."""

    distance: float
    relative_distance: float
    energy: float
    duplicates: int

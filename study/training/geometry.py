"""How far a transformed weight has moved: Frobenius distances and hyperspherical energy.

Neurons are the rows of torch's (f, d) weight, the columns of the paper's W.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

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


@torch.no_grad()
def hyperspherical_energy(
    weight: Tensor, rows_at_once: int = 512, s: int = 1, half_space: bool = False
) -> tuple[float, int]:
    """Mean over pairs i != j of f_s(|w_i/|w_i| - w_j/|w_j||), in float64, on the weight's device.

    Liu et al. 2018 (arXiv 1805.09298), in the mean form that makes layers of any width comparable; no
    epsilon. f_1(r) = 1/r is the ETHER paper's (full space, s = 1); f_0 = log 1/r, f_2 = 1/r^2. Never
    holds more than (rows_at_once, f) pairs.

    Args:
        weight: (f, d), f >= 2; any floating dtype.
        rows_at_once: rows of the pair matrix held at a time.
        s: 0, 1 or 2.
        half_space: counts every neuron's opposite as well, so that w and -w are close.

    Returns:
        The energy over pairs of distinct directions, and the number of (unordered) pairs in the very
        same direction (or, in half space, the opposite one), which have infinite energy and are counted
        instead. nan if a neuron is not finite or zero, or no pair is left.

    Raises:
        ValueError: if `weight` is not a matrix of two rows or more, or `s` is none of 0, 1, 2.
    """
    if weight.ndim != 2 or len(weight) < 2:
        raise ValueError(f"needs a matrix of at least two neurons, got shape {tuple(weight.shape)}")
    if s not in (0, 1, 2):
        raise ValueError(f"s must be 0, 1 or 2, got {s!r}")
    weight = weight.double()
    neurons = weight / weight.norm(dim=1, keepdim=True)
    if not torch.isfinite(neurons).all():
        return float("nan"), 0
    total = torch.zeros((), dtype=torch.float64, device=weight.device)
    pairs, duplicates = 0, 0
    for start in range(0, len(neurons), rows_at_once):
        # Only pairs j > i: the block's own triangle, then every later row.
        block, later = neurons[start : start + rows_at_once], neurons[start:]
        cosines = block @ later.T  # (rows, f - start)
        for sign in (1, -1) if half_space else (1,):
            squared = 2 - 2 * sign * cosines
            i, j = torch.nonzero(squared < CLOSE, as_tuple=True)
            squared[i, j] = (block[i] - sign * later[j]).square().sum(1)
            upper = torch.ones_like(squared, dtype=torch.bool).triu_(1)
            distinct = squared[upper & (squared > SAME)]
            duplicates += int(upper.sum()) - len(distinct)
            pairs += len(distinct)
            total += -0.5 * distinct.log().sum() if s == 0 else distinct.pow(-s / 2).sum()
    return (total.item() / pairs if pairs else float("nan")), duplicates


EPSILON = 1e-4
"""What OFT's code adds to a neuron's squared length."""


@torch.no_grad()
def oft_energy(weight: Tensor, rows_at_once: int = 512) -> float:
    """Hyperspherical energy as OFT's code has it (arXiv 2306.07280), but in float64.

    Half space: over the 2f vectors w_i and -w_i, the mean over all pairs of (2 - 2 c)^(-1/2), where c is
    their product divided by their lengths, and a length is sqrt(|w|^2 + 1e-4). A neuron and its own opposite
    are a pair, and the epsilon keeps duplicates finite, so none is left out. Never holds more than
    (rows_at_once, f) pairs.

    Args:
        weight: (f, d); any floating dtype.
        rows_at_once: rows of the pair matrix held at a time.

    Returns:
        The energy; nan if a neuron is not finite.
    """
    weight = weight.double()
    lengths = (weight.square().sum(1, keepdim=True) + EPSILON).sqrt()
    neurons = weight / lengths
    count = len(neurons)
    if not torch.isfinite(neurons).all():
        return math.nan
    total = (2 + 2 * neurons.square().sum(1)).rsqrt().sum()  # each with its own opposite
    for start in range(0, count, rows_at_once):
        block, later = neurons[start : start + rows_at_once], neurons[start:]
        cosines = (block @ later.T)[torch.ones(len(block), len(later), device=weight.device).triu(1) > 0]
        total += 2 * ((2 - 2 * cosines).rsqrt() + (2 + 2 * cosines).rsqrt()).sum()
    return total.item() / (count * (2 * count - 1))


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
            sides = {
                side: distance_to_identity(layer.dense_blocks(side, tensors[name])) for side in layer.sides()
            } or {"weight": torch.full((self.packed.runs,), torch.nan)}
            for run, (weight, transformed) in enumerate(_weights(layer, tensors[name])):
                if name not in self._base_energy:
                    self._base_energy[name] = self._energy_of(weight)[0]
                distance = frobenius(transformed - weight)
                relative_distance = (distance / frobenius(weight)).item()
                energy, duplicates = self._energy_of(transformed)
                rows[run] += [
                    LayerRow(
                        layer=name,
                        side=side,
                        transform_distance=distances[run].item(),
                        weight_distance=distance.item(),
                        relative_distance=relative_distance,
                        he=energy,
                        he_change=energy - self._base_energy[name],
                        duplicates=duplicates,
                    )
                    for side, distances in sides.items()
                ]
        return rows

    def _energy_of(self, weight: Tensor) -> tuple[float, int]:
        """The energy, and the pairs that it leaves out."""
        return (oft_energy(weight), 0) if self.energy == "oft" else hyperspherical_energy(weight)

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


def _weights(layer: AdaptedLayer, tensors: Tensors) -> Iterator[tuple[Tensor, Tensor]]:
    """W and W' of one run after the other: (f, d) each."""
    runs = len(next(iter(tensors.values())))
    at_once = max(1, NUMBERS_AT_ONCE // layer.num_weights)
    for start in range(0, runs, at_once):
        of_runs = {name: value[start : start + at_once] for name, value in tensors.items()}
        weight, of_each_run = layer.effective_weights(of_runs)
        for transformed in of_each_run:
            yield weight, transformed

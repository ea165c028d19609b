"""Torch's random operations, each with its numbers from the runs' streams.

Written against `aten`, below autograd and vmap: there every draw passes, whatever called it (modules,
functional dropout, attention, distributions), and its tensors are plain ones with the runs leading.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import torch
from torch import Tensor

aten = torch.ops.aten


class SharedDraw(RuntimeError):
    """One draw for several runs, which no run's stream can give: they cannot train together."""


class Numbers(Protocol):
    """Where a draw's numbers come from; a shape is that of the tensor as `aten` has it."""

    def uniform(self, shape: Sequence[int]) -> Tensor: ...

    def normal(self, shape: Sequence[int]) -> Tensor: ...


Draw = Callable[..., Any]
DRAWS: dict[Any, Draw] = {}
"""By operation; each takes `Numbers`, then what the operation takes."""


def _draws(*operations: Any) -> Callable[[Draw], Draw]:
    def register(draw: Draw) -> Draw:
        DRAWS.update(dict.fromkeys(operations, draw))
        return draw

    return register


def does_not_draw(operation: Any, args: Sequence[Any], kwargs: dict[str, Any]) -> bool:
    """Whether an operation that can draw does not with these arguments: attention without dropout."""
    names = [argument.name for argument in operation._schema.arguments]
    given = dict(zip(names, args, strict=False)) | kwargs
    for name in ("dropout_p", "dropout"):
        if name in names:
            return not given.get(name)
    return False


# Dropout ---------------------------------------------------------------------------------------


@_draws(aten.bernoulli_.float, aten.bernoulli_.Tensor)
def bernoulli_(numbers: Numbers, x: Tensor, p: float | Tensor = 0.5, generator: Any = None) -> Tensor:
    return x.copy_(numbers.uniform(x.shape) < p)


@_draws(aten.bernoulli.p, aten.bernoulli.Tensor)
def bernoulli_like(numbers: Numbers, x: Tensor, p: float | Tensor, generator: Any = None) -> Tensor:
    return (numbers.uniform(x.shape) < p).to(x.dtype)


@_draws(aten.bernoulli.default)
def bernoulli(numbers: Numbers, p: Tensor, generator: Any = None) -> Tensor:
    return (numbers.uniform(p.shape) < p).to(p.dtype)


@_draws(aten.native_dropout.default)
def native_dropout(numbers: Numbers, x: Tensor, p: float, train: bool | None) -> tuple[Tensor, Tensor]:
    if train is False:
        return x.clone(), torch.ones_like(x, dtype=torch.bool)
    kept = numbers.uniform(x.shape) < 1 - p
    return x * kept * (1 / (1 - p) if p < 1 else 0.0), kept


@_draws(aten.dropout.default)
def dropout(numbers: Numbers, x: Tensor, p: float, train: bool) -> Tensor:
    return native_dropout(numbers, x, p, train)[0] if train else x


@_draws(aten.rrelu_with_noise.default)
def rrelu_with_noise(
    numbers: Numbers,
    x: Tensor,
    noise: Tensor,
    lower: float = 1 / 8,
    upper: float = 1 / 3,
    training: bool = False,
    generator: Any = None,
) -> Tensor:
    if not training:
        return torch.where(x < 0, x * (lower + upper) / 2, x)
    slopes = lower + (upper - lower) * numbers.uniform(x.shape).to(x.dtype)
    noise.copy_(torch.where(x <= 0, slopes, 1.0))
    return x * noise


# Uniform and normal ----------------------------------------------------------------------------


def _as(values: Tensor, options: dict[str, Any], like: Tensor | None = None) -> Tensor:
    default = torch.get_default_dtype() if like is None else like.dtype
    return values.to(options.get("dtype") or default)


@_draws(aten.rand.default, aten.rand.generator)
def rand(numbers: Numbers, size: Sequence[int], **options: Any) -> Tensor:
    return _as(numbers.uniform(size), options)


@_draws(aten.rand_like.default, aten.rand_like.generator)
def rand_like(numbers: Numbers, x: Tensor, **options: Any) -> Tensor:
    return _as(numbers.uniform(x.shape), options, x)


@_draws(aten.uniform_.default)
def uniform_(numbers: Numbers, x: Tensor, low: float = 0, high: float = 1, generator: Any = None) -> Tensor:
    return x.copy_(low + (high - low) * numbers.uniform(x.shape))


@_draws(aten.randn.default, aten.randn.generator)
def randn(numbers: Numbers, size: Sequence[int], **options: Any) -> Tensor:
    return _as(numbers.normal(size), options)


@_draws(aten.randn_like.default, aten.randn_like.generator)
def randn_like(numbers: Numbers, x: Tensor, **options: Any) -> Tensor:
    return _as(numbers.normal(x.shape), options, x)


@_draws(aten.normal_.default)
def normal_(numbers: Numbers, x: Tensor, mean: float = 0, std: float = 1, generator: Any = None) -> Tensor:
    return x.copy_(mean + std * numbers.normal(x.shape))


@_draws(aten.normal.float_float)
def normal(numbers: Numbers, mean: float, std: float, size: Sequence[int], **options: Any) -> Tensor:
    return _as(mean + std * numbers.normal(size), options)


@_draws(aten.normal.Tensor_float, aten.normal.float_Tensor, aten.normal.Tensor_Tensor)
def normal_around(numbers: Numbers, mean: Any, std: Any = 1.0, generator: Any = None) -> Tensor:
    like = mean if isinstance(mean, Tensor) else std
    shape = torch.broadcast_shapes(*(part.shape for part in (mean, std) if isinstance(part, Tensor)))
    return mean + std * numbers.normal(shape).to(like.dtype)


# Of other kinds, by their inverse distribution functions ----------------------------------------


@_draws(aten.exponential_.default)
def exponential_(numbers: Numbers, x: Tensor, rate: float = 1, generator: Any = None) -> Tensor:
    return x.copy_(-torch.log1p(-numbers.uniform(x.shape)) / rate).clamp_(min=torch.finfo(x.dtype).tiny)


@_draws(aten.log_normal_.default)
def log_normal_(
    numbers: Numbers, x: Tensor, mean: float = 1, std: float = 2, generator: Any = None
) -> Tensor:
    return x.copy_((mean + std * numbers.normal(x.shape)).exp())


@_draws(aten.cauchy_.default)
def cauchy_(
    numbers: Numbers, x: Tensor, median: float = 0, scale: float = 1, generator: Any = None
) -> Tensor:
    return x.copy_(median + scale * torch.tan(math.pi * (numbers.uniform(x.shape) - 0.5)))


@_draws(aten.geometric_.default)
def geometric_(numbers: Numbers, x: Tensor, p: float, generator: Any = None) -> Tensor:
    return x.copy_((torch.log1p(-numbers.uniform(x.shape)) / math.log1p(-p)).floor() + 1)


# Whole numbers ---------------------------------------------------------------------------------


def _integers(values: Tensor, low: int, high: int) -> Tensor:
    return (low + (values.double() * (high - low)).long()).clamp_(max=high - 1)


@_draws(aten.randint.default, aten.randint.generator)
def randint(numbers: Numbers, high: int, size: Sequence[int], **options: Any) -> Tensor:
    return randint_between(numbers, 0, high, size, **options)


@_draws(aten.randint.low, aten.randint.low_generator)
def randint_between(numbers: Numbers, low: int, high: int, size: Sequence[int], **options: Any) -> Tensor:
    return _integers(numbers.uniform(size), low, high).to(options.get("dtype") or torch.int64)


@_draws(aten.randint_like.default, aten.randint_like.generator)
def randint_like(numbers: Numbers, x: Tensor, high: int, **options: Any) -> Tensor:
    return _integers(numbers.uniform(x.shape), 0, high).to(options.get("dtype") or x.dtype)


@_draws(aten.randint_like.low_dtype, aten.randint_like.low_generator_dtype)
def randint_like_between(numbers: Numbers, x: Tensor, low: int, high: int, **options: Any) -> Tensor:
    return _integers(numbers.uniform(x.shape), low, high).to(options.get("dtype") or x.dtype)


@_draws(aten.multinomial.default)
def multinomial(
    numbers: Numbers, weights: Tensor, count: int, replacement: bool = False, generator: Any = None
) -> Tensor:
    """By the largest of log-weights plus Gumbel noise: one axis of noise for every draw with replacement."""
    logits = weights.double().log()
    if replacement and count > 1:
        noise = _gumbel(numbers.uniform((*weights.shape, count)))
        return (logits.unsqueeze(-1) + noise).argmax(-2)
    return (logits + _gumbel(numbers.uniform(weights.shape))).topk(count).indices


def _gumbel(values: Tensor) -> Tensor:
    values = values.double().add_(2.0**-25)  # in the middle of its step, so that it is neither 0 nor 1
    return -(-values.log()).log()

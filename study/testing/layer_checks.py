"""Checks of what a method's adapted layers compute: outputs, gradients, and the matrices they stand for."""

from __future__ import annotations

import re

import torch
from peft.tuners.tuners_utils import BaseTunerLayer
from torch import Tensor, nn

from study.errors import UsageError, first_line
from study.methods.multiplicative import MultiplicativeLayer
from study.testing.checks import Broken, need
from study.testing.toy import (
    MISFIT,
    MOVE,
    Options,
    Toy,
    Trial,
    derivatives,
    effective,
    far,
    named,
    normal,
)
from study.training.packing import RunLinear


def adapts(name: str, options: Options) -> str:
    """The config builds and adapts linear layers of widths 24x48 and 48x24."""
    try:
        trial = Trial(name, options)
        x, y = trial.x, trial.y
    except (ValueError, UsageError) as error:
        raise Broken(
            f"two layers, 24x48 and 48x24, are refused ({first_line(error)}): give options that fit"
        ) from error
    except Exception as error:
        fix = "initial must give one tensor per name in adapter_layer_names, shaped as pre and post use it"
        raise Broken(f"two layers, 24x48 and 48x24, cannot be adapted ({named(error)}): {fix}") from error
    left = [name for name, layer in trial.layers.items() if not isinstance(layer, BaseTunerLayer)]
    need(not left, f"layers {left} are left as they are", "adapt every module of target_modules")
    need(bool(trial.trained), "nothing is trained", "initial must return the tensors to train")
    fix = "pre must keep the shape (..., d), post (..., f), and both the dtype"
    need((y.shape, y.dtype) == (x.shape, x.dtype), f"outputs are {tuple(y.shape)}, {y.dtype}", fix)
    fix = "forward must take any value, or project must put it where it belongs after every step"
    need(far(y, y) == 0, f"outputs are not finite once parameters have moved by {MOVE}", fix)
    return ""


def shapes(name: str, options: Options) -> str:
    """Widths that do not fit raise a ValueError that names the width, before anything is trained."""
    notes = []
    for side, width, d, f in (("input", "in_features", MISFIT, 24), ("output", "out_features", 24, MISFIT)):
        trial, of_peft = None, Trial(name, options, moved=False).of_peft
        try:
            trial = Trial(name, options, Toy(d=d, f=f), targets=["first"])
            trial.layers["first"](normal(5, d)).sum().backward()
            for acts in trial.layers["first"].sides() if trial.exact else ():
                trial.layers["first"].dense_blocks(acts)
            continue
        except Exception as error:
            names_it = isinstance(error, ValueError | UsageError) and re.search(rf"\b{MISFIT}\b", str(error))
            if names_it and trial is None:
                continue
            how = "is accepted and fails later" if trial else "is refused in another way"
            notes.append(f"an {side} width of {MISFIT} that does not fit {how} ({named(error)})")
        fix = f"call block_width(self.{width}, config.blocks, where) in initial, which names layer and width"
        need(of_peft, notes[-1], fix)
    return "; ".join(notes)


@torch.no_grad()
def dense(name: str, options: Options) -> str:
    """Forward is x W'^T + b with one dense W', found by feeding the identity."""
    trial = Trial(name, options)
    for layer in trial.layers.values():
        weight, bias = effective(layer)
        for shape in ((5,), (2, 3)):
            x = normal(*shape, layer.get_base_layer().in_features)
            if (error := far(layer(x), x @ weight.T + bias)) > trial.close:
                if far(layer(2 * x), 2 * layer(x) - layer(0 * x)) > trial.close:
                    return "not linear in its input: weight distances are those of its image of the identity"
                fix = "every token of (..., d) must be transformed by itself, with the same numbers"
                raise Broken(f"outputs differ from those of its own dense weight by {error:.2g}: {fix}")
        error = far(bias, layer.get_base_layer().bias) if trial.exact else 0.0
        fix = "pre and post must add nothing that does not depend on their input"
        need(error < trial.close, f"a zero input gives other outputs than the bias, by {error:.2g}", fix)
    return ""


def gradients(name: str, options: Options) -> str:
    """Gradients equal finite differences in float64, for the input and every trained tensor."""
    notes = [_gradients(Trial(name, options, training=training)) for training in (False, True)]
    return "; ".join(dict.fromkeys(filter(None, notes)))


def _gradients(trial: Trial) -> str:
    target, mode = normal(5, 24, seed=4), " in training mode" if trial.model.training else ""
    # Coarse steps are for tuners that compute in float32, fine ones for those with kinks.
    steps, tolerance = ([1e-5], 1e-5) if trial.exact else ([1e-3, 1e-5], 1e-2)
    tensors: dict[str, Tensor] = {"the layer's input": trial.x.requires_grad_(), **trial.trained}

    @torch.no_grad()
    def slope(tensor: Tensor, way: Tensor, step: float) -> float:
        start, at = tensor.clone(), []
        for sign in (step, -step):
            tensor.copy_(start + sign * way)
            at.append(float((trial.y * target).sum()))
        tensor.copy_(start)
        return (at[0] - at[1]) / (2 * step)

    idle, wrong = [], ""
    by_autograd = derivatives((trial.y * target).sum(), list(tensors.values()))
    for (label, tensor), gradient in zip(tensors.items(), by_autograd, strict=True):
        size, effect = float(gradient.norm()), 0.0
        for seed in range(3):
            way = nn.functional.normalize(normal(tensor.numel(), seed=seed), dim=0).view_as(tensor)
            given = float((gradient * way).sum())
            true = min((slope(tensor, way, step) for step in steps), key=lambda true: abs(true - given))
            effect = max(effect, abs(true), size)
            fix = "no detach, .data, .item(), no_grad or new tensor between it and the output"
            need(
                size > 0 or effect < 1e-6, f"{label} gets no gradient{mode}, though outputs depend on it", fix
            )
            what = f"{label} has a wrong gradient{mode} ({given:.4g}, finite differences give {true:.4g})"
            fix = "let autograd derive all of forward; no detach of one use, no backward of its own"
            right = abs(given - true) <= tolerance * (abs(true) + 0.03 * size) + 1e-9
            need(right or trial.of_peft, what, fix)  # DoRA and others mean it
            wrong = wrong if right else what
        idle += [label] if effect < 1e-9 else []
    kinds = [label.split(".", 1)[-1] for label in tensors if label not in idle]  # names without the layer's
    dead = [label for label in idle if label.split(".", 1)[-1] not in kinds]
    fix = "use it in pre or post, or do not return it from initial"
    need(not dead or trial.of_peft, f"moving {', '.join(dead)} changes no output", fix)
    return wrong or (f"moving {', '.join(idle)} changes no output" if idle else "")


@torch.no_grad()
def rows(name: str, options: Options) -> str:
    """A row's output depends on nothing beside it, in evaluation mode and in training mode."""
    notes = []
    for training in (False, True):
        trial = Trial(name, options, training=training)
        mode = "training" if training else "evaluation"
        off = max(far(trial.output(trial.x[:rows]), trial.y[:rows]) for rows in (1, 3))
        what = f"in {mode} mode a row's output depends on the rows beside it, by {off:.2g}"
        fix = "no statistics of the batch: a run would depend on the runs and the padding beside it"
        need(off < trial.close or trial.of_peft, what, fix)
        notes += [what] if off >= trial.close else []
        notes += [f"draws at random in {mode}"] if trial.draws() else []
    return "; ".join(notes)


def frozen(name: str, options: Options) -> str:
    """Only the adapter is trained; the base model and the input stay as they are, bit for bit."""
    notes = [_frozen(Trial(name, options, training=training)) for training in (False, True)]
    return "; ".join(dict.fromkeys(filter(None, notes)))


def _frozen(trial: Trial) -> str:
    before = Toy().state_dict()
    layers = {n: layer.get_base_layer() for n, layer in trial.layers.items()}
    base = {f"{n}.{t}": p for n, layer in layers.items() for t, p in layer.named_parameters()}

    def changed() -> str:
        return ", ".join(n for n, p in base.items() if not torch.equal(p, before[n]))

    read_only = "read the base layer's tensors without writing them; trained tensors must be copies (clone)"
    note = f"adapting or moving parameters changes the base model's {changed()}" if changed() else ""
    need(not note or trial.of_peft, note, read_only)
    before = {n: p.clone() for n, p in base.items()}
    trained = [n for n, p in base.items() if p.requires_grad]
    need(not trained, f"the base model's {trained} are trained", "set requires_grad of the adapter alone")
    buffers = {n: b.clone() for n, b in trial.base.named_buffers()}
    loss = trial.y.square().sum()
    moved = [n for n, b in trial.base.named_buffers() if not torch.equal(b, buffers[n])]
    need(not moved or trial.of_peft, f"forward moves the buffers {moved}", "keep no statistics of batches")
    fix = "work out of place; only merge may write the base layer's weight"
    need(not changed(), f"forward changes the base model's {changed()}", fix)
    fix = "write x * a in pre, not x.mul_(a)"
    need(torch.equal(trial.x, normal(5, 24)), "forward changes its input in place", fix)
    fix = "use it in forward, without detach or no_grad, or do not train it"
    need(loss.requires_grad, "no trained tensor gets a gradient", fix)
    loss.backward()
    missed = [n for n, p in trial.trained.items() if p.grad is None]
    need(not missed, f"{', '.join(missed)} gets no gradient", fix)
    torch.optim.AdamW(trial.trained.values(), lr=0.1).step()
    need(not changed(), f"a step of the optimizer changes the base model's {changed()}", read_only)
    return note


@torch.no_grad()
def geometry(name: str, options: Options) -> str:
    """The diagonal blocks that distances are measured on, and a closed form, give the weight of forward."""
    trial = Trial(name, options)
    for layer in trial.layers.values() if trial.exact else ():
        expected = layer.base_weight() @ torch.block_diag(*layer.dense_blocks("in"))
        if "out" in layer.sides():
            expected = torch.block_diag(*layer.dense_blocks("out")) @ expected
        error = far(expected, effective(layer)[0])
        fix = 'pre and post must keep to config.blocks equal blocks, and sides() name "out" where post acts'
        need(error < trial.close, f"dense_blocks differ from what forward applies, by {error:.2g}", fix)
        if layer.has_closed_form():
            error = far(_closed_weight(layer), effective(layer)[0])
            fix = "it must follow pre and post; without it, packs map these over the runs"
            need(error < trial.close, f"closed_form differs from what forward applies, by {error:.2g}", fix)
    return "" if trial.exact else "not multiplicative: no distance of a transformation is recorded"


def _closed_weight(layer: MultiplicativeLayer) -> Tensor:
    """W', (f, d), as the method's closed form has it."""
    weight = layer.base_weight()
    parameters = {name: value.to(weight.dtype) for name, value in layer.parameters_of("default").items()}
    magnitudes = parameters.pop(layer.magnitude, torch.ones(len(weight), dtype=weight.dtype))
    of_one = {name: value[None, None] for name, value in parameters.items()}
    form = layer.closed_form(weight[None], of_one).by_layer()[0]
    own = RunLinear(weight, None, form, None).own_weights()[0].T
    return own * magnitudes.unsqueeze(1)


def bfloat16(name: str, options: Options) -> str:
    """Forward and backward are finite with a bfloat16 model, and under autocast."""
    fix = "compute on parameters in float32, then cast with .to(x.dtype)"
    for what, dtype in (("a bfloat16 model", torch.bfloat16), ("autocast to bfloat16", torch.float32)):
        trial = Trial(name, options, Toy(dtype))
        try:
            with torch.autocast("cpu", torch.bfloat16, enabled=dtype == torch.float32):
                y = trial.y
            y.float().square().mean().backward()
        except RuntimeError as error:
            raise Broken(f"{what} fails ({named(error)}): {fix}") from error
        need(y.dtype in (dtype, torch.bfloat16), f"{what} gives {y.dtype}", fix)
        low = [n for n, p in trial.trained.items() if trial.exact and p.dtype != torch.float32]
        need(not low, f"{', '.join(low)} are not float32 in {what}", "let initial return float32 tensors")
        slopes = {f"{n}'s gradient": p.grad for n, p in trial.trained.items() if p.grad is not None}
        odd = [n for n, value in ({"outputs": y} | slopes).items() if not torch.isfinite(value).all()]
        need(not odd, f"with {what}, {', '.join(odd)} are not finite", fix)
    return ""

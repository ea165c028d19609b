"""The contract of a method: what the study takes for granted of every one, as checks that say what to fix.

`run(name, options)` tries a method out on two small linear layers, 24 -> 48 -> 24. Each check of `CHECKS`
raises `Broken`, or returns a note (often empty) on what it does not demand.
"""

from __future__ import annotations

import copy
import re
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from peft import PeftModel
from peft.tuners.tuners_utils import BaseTunerLayer
from torch import Tensor, nn

from study import methods
from study.errors import UsageError, first_line
from study.testing.toy import (
    LAYERS,
    MISFIT,
    MOVE,
    Broken,
    Options,
    Toy,
    Trial,
    derivatives,
    effective,
    far,
    need,
    normal,
    quiet,
    said,
)
from study.training.packing import pack
from study.training.probe import why_unpackable


@dataclass(frozen=True)
class Result:
    """One check's answer: `what` it demands; in `message` what to fix or, where it is ok, a note."""

    check: str
    what: str
    ok: bool
    message: str
    seconds: float


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
        raise Broken(f"two layers, 24x48 and 48x24, cannot be adapted ({said(error)}): {fix}") from error
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
            named = isinstance(error, ValueError | UsageError) and re.search(rf"\b{MISFIT}\b", str(error))
            if named and trial is None:
                continue
            how = "is accepted and fails later" if trial else "is refused in another way"
            notes.append(f"an {side} width of {MISFIT} that does not fit {how} ({said(error)})")
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
    trial, target = Trial(name, options), normal(5, 24, seed=4)
    # Coarse steps are for tuners that compute in float32, fine ones for those with kinks.
    steps, tolerance = ([1e-5], 1e-5) if trial.exact else ([1e-3, 1e-5], 1e-2)
    tensors: dict[str, Tensor] = {"the layer's input": trial.x.requires_grad_(), **trial.trained}

    @torch.no_grad()
    def slope(tensor: Tensor, way: Tensor, step: float) -> float:
        kept, at = tensor.clone(), []
        for sign in (step, -step):
            tensor.copy_(kept + sign * way)
            at.append(float((trial.y * target).sum()))
        tensor.copy_(kept)
        return (at[0] - at[1]) / (2 * step)

    idle, wrong, found = [], "", derivatives((trial.y * target).sum(), list(tensors.values()))
    for (label, tensor), gradient in zip(tensors.items(), found, strict=True):
        size, effect = float(gradient.norm()), 0.0
        for seed in range(3):
            way = nn.functional.normalize(normal(tensor.numel(), seed=seed), dim=0).view_as(tensor)
            given = float((gradient * way).sum())
            true = min((slope(tensor, way, step) for step in steps), key=lambda true: abs(true - given))
            effect = max(effect, abs(true), size)
            fix = "no detach, .data, .item(), no_grad or new tensor between it and the output"
            need(size > 0 or effect < 1e-6, f"{label} gets no gradient, though outputs depend on it", fix)
            what = f"{label} has a wrong gradient ({given:.4g}, finite differences give {true:.4g})"
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


def frozen(name: str, options: Options) -> str:
    """Only the adapter is trained; the base model and the input stay as they are, bit for bit."""
    trial, before = Trial(name, options), Toy().state_dict()
    layers = {n: layer.get_base_layer() for n, layer in trial.layers.items()}
    base = {f"{n}.{t}": p for n, layer in layers.items() for t, p in layer.named_parameters()}

    def changed() -> str:
        return ", ".join(n for n, p in base.items() if not torch.equal(p, before[n]))

    own = "read the base layer's tensors without writing them; trained tensors must be copies (clone)"
    note = f"adapting or moving parameters changes the base model's {changed()}" if changed() else ""
    need(not note or trial.of_peft, note, own)
    before = {n: p.clone() for n, p in base.items()}
    trained = [n for n, p in base.items() if p.requires_grad]
    need(not trained, f"the base model's {trained} are trained", "set requires_grad of the adapter alone")
    loss = trial.y.square().sum()
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
    need(not changed(), f"a step of the optimizer changes the base model's {changed()}", own)
    return note


@torch.no_grad()
def merge(name: str, options: Options) -> str:
    """Merging gives the outputs of forward, and unmerging puts the base weights back."""
    trial = Trial(name, options)
    before, model, other = trial.y, trial.model, copy.deepcopy(trial.model)
    weight = "merged_weight" if trial.exact else "get_delta_weight"
    fix = f"{weight} must be the weight that forward applies, and forward linear in its input"
    keep = "merge must keep a copy of the base weight, and unmerge put that back"
    try:
        model.merge_adapter()
        merged = trial.y
        model.unmerge_adapter()
    except (NotImplementedError, AttributeError) as error:
        if not trial.of_peft:
            raise
        return f"cannot be merged and unmerged: {first_line(error)}"
    off, lost = far(merged, before), far(trial.y, before)
    need(off < trial.close, f"merge_adapter gives other outputs than forward, by {off:.2g}", fix)
    need(lost == 0 or not trial.exact, f"unmerge_adapter restores outputs but for {lost:.2g}", keep)
    unloaded = other.merge_and_unload()
    off = far(unloaded(trial.x), before) if type(unloaded.first) is nn.Linear else float("inf")
    need(off < trial.close, f"merge_and_unload gives other outputs than forward, by {off:.2g}", fix)
    if not trial.exact:
        return f"unmerging restores outputs but for {lost:.2g}" if lost > trial.close else ""
    model.merge_adapter()
    with model.disable_adapter():  # unmerges first
        trial.same(trial.y, Toy()(trial.x), "disable_adapter does not undo merge_adapter", keep)
    restored, original = model.unload().state_dict(), Toy().state_dict()
    changed = [n for n, p in restored.items() if not torch.equal(p, original[n])]
    need(not changed, f"unload leaves other {changed} than the base model had", keep)
    return ""


@torch.no_grad()
def saving(name: str, options: Options) -> str:
    """save_pretrained and from_pretrained restore outputs bit for bit, through safetensors alone."""
    trial = Trial(name, options, Toy(torch.float32))
    with tempfile.TemporaryDirectory() as folder, quiet(7):
        trial.model.save_pretrained(folder)
        files = {p.name for p in Path(folder).iterdir()} - {"README.md"}
        odd = sorted(files ^ {"adapter_config.json", "adapter_model.safetensors"})
        need(not odd, f"save_pretrained writes or lacks {odd}", "leave saving to peft, in safetensors alone")
        base = Toy(torch.float32)
        y = PeftModel.from_pretrained(base, folder).eval()(trial.x)
    saved = dict(base.named_parameters())
    lost = [n for n, p in trial.trained.items() if n not in saved or not torch.equal(p, saved[n])]
    what = f"loading gives other outputs ({', '.join(lost) or 'an option or buffer'} is not restored)"
    fix = "name every trained tensor in adapter_layer_names, and make every option a field of the config"
    need(torch.equal(y, trial.y), what, fix)
    return ""


@torch.no_grad()
def start(name: str, options: Options) -> str:
    """The same seed gives the same adapter, and so the same outputs at step 0."""
    one, two = (Trial(name, options, moved=False) for _ in range(2))
    first, again = one.base.state_dict(), two.base.state_dict()
    odd = [n for n, value in first.items() if not torch.equal(value, again[n])]
    same = not odd and torch.equal(one.y, two.y)
    fix = "draw with torch's own generator (torch.randn, uniform_), not with numpy, random or the time"
    need(same, f"the same seed gives other {', '.join(odd) or 'outputs'} at step 0", fix)
    error = far(one.y, Toy()(one.x))
    return "starts " + (
        "at the base model" if error < one.close else f"{error:.2g} off the base model's outputs"
    )


def packing(name: str, options: Options) -> str:
    """The study's trainer finds the gradients of `peft`'s model, and of two runs together those of each."""
    trial, base = Trial(name, options, Toy(torch.float32), seed=0, moved=False), Toy(torch.float32)
    task: Any = SimpleNamespace(
        settings=SimpleNamespace(precision="float32", accumulate=1),
        batch=lambda seed, step: {"x": trial.x, "y": normal(5, 24, seed=4).float()},
        join=lambda batches: {name: torch.cat([b[name] for b in batches]) for name in batches[0]},
        forward=lambda model, batch: model(batch["x"]),
        losses=lambda outputs, batch: (outputs - batch["y"]).square().mean(1),
    )
    packed, parameters = pack(base, trial.config, [0])
    base.eval()
    batch, tensors = task.batch(0, 0), [trial.trained[slot.full_name] for slot in packed.slots]
    loss = task.losses(trial.y, batch).sum()
    expected = torch.cat([d.flatten() for d in derivatives(loss, tensors)])
    flat = parameters.stack()
    outputs = packed(flat, task.forward, batch)
    error = far(derivatives(task.losses(outputs, batch).sum(), [flat])[0][0], expected)
    packed.close()
    fix = "forward must read the tensors that it is given (p, or self.NAME), not copies kept aside"
    close = 1e-4 * (1 + float(expected.abs().max()))
    need(error < close, f"gradients in the study's trainer are {error:.2g} off", fix)
    reason = why_unpackable(task, base, trial.config)
    return f"trains one by one: {reason}" if reason else ""


@torch.no_grad()
def geometry(name: str, options: Options) -> str:
    """The diagonal blocks that distances are measured on give the weight that forward applies."""
    trial = Trial(name, options)
    for layer in trial.layers.values() if trial.exact else ():
        expected = layer.base_weight() @ torch.block_diag(*layer.dense_blocks("in"))
        if "out" in layer.sides():
            expected = torch.block_diag(*layer.dense_blocks("out")) @ expected
        error = far(expected, effective(layer)[0])
        fix = 'pre and post must keep to config.blocks equal blocks, and sides() name "out" where post acts'
        need(error < trial.close, f"dense_blocks differ from what forward applies, by {error:.2g}", fix)
    return "" if trial.exact else "not multiplicative: no distance of a transformation is recorded"


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
            raise Broken(f"{what} fails ({said(error)}): {fix}") from error
        need(y.dtype in (dtype, torch.bfloat16), f"{what} gives {y.dtype}", fix)
        low = [n for n, p in trial.trained.items() if trial.exact and p.dtype != torch.float32]
        need(not low, f"{', '.join(low)} are not float32 in {what}", "let initial return float32 tensors")
        slopes = {f"{n}'s gradient": p.grad for n, p in trial.trained.items() if p.grad is not None}
        odd = [n for n, value in ({"outputs": y} | slopes).items() if not torch.isfinite(value).all()]
        need(not odd, f"with {what}, {', '.join(odd)} are not finite", fix)
    return ""


@torch.no_grad()
def adapters(name: str, options: Options) -> str:
    """Two adapters side by side leave each other alone; disabling them gives the base model's outputs."""
    trial = Trial(name, options)
    model, one = trial.model, trial.y
    apart = "keep tensors and options by the adapter's name (adapter_layer_names, self.configs)"
    try:
        model.add_adapter("two", methods.config(name, copy.deepcopy(options), LAYERS))
    except (ValueError, NotImplementedError) as error:
        if not trial.of_peft:
            raise
        return f"one adapter only: {first_line(error)}"
    trial.same(trial.y, one, "adding a second adapter changes the first one's outputs", apart)
    model.set_adapter("two")
    model.eval()
    trial.move(seed=5)
    need(far(one, trial.y) > 1e-6, "a second adapter, moved elsewhere, gives the same outputs", apart)
    with model.disable_adapter():
        off = "forward must return base_layer(x) when self.disable_adapters"
        trial.same(trial.y, Toy()(trial.x), "disable_adapter does not give the base model's outputs", off)
    model.set_adapter("default")
    trial.same(trial.y, one, "moving a second adapter changes the first one's outputs", apart)
    model.delete_adapter("two")
    trial.same(trial.y, one, "deleting a second adapter changes the first one's outputs", apart)
    return ""


_ONE = (adapts, shapes, dense, gradients, frozen, merge)
_TWO = (saving, start, packing, geometry, bfloat16, adapters)
CHECKS: dict[str, Callable[[str, Options], str]] = {check.__name__: check for check in (*_ONE, *_TWO)}
"""By short name, in the order in which they help: without the first none of the others means anything."""


def run(name: str, options: Options) -> list[Result]:
    """All checks of one method, as `methods.config` resolves it; any other error counts as broken too."""
    results: list[Result] = []
    for short, check in CHECKS.items():
        began, ok, message = time.perf_counter(), False, "not checked: the method adapts no layers"
        if not results or results[0].ok:
            try:
                with quiet(0):
                    ok, message = True, check(name, options)
            except Exception as error:
                ok, message = False, str(error) if isinstance(error, Broken) else said(error)
        what = (check.__doc__ or "").splitlines()[0]
        results.append(Result(short, what, ok, message, time.perf_counter() - began))
    return results

"""Checks of what `peft` and the study's trainer do with a method's adapter: merge, save, train in packs."""

from __future__ import annotations

import copy
import tempfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from peft import PeftModel
from torch import nn

from study import methods
from study.errors import first_line
from study.testing.checks import need
from study.testing.toy import LAYERS, Options, Toy, Trial, derivatives, far, normal, quiet
from study.training.packing import pack
from study.training.probe import why_unpackable


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
        collate=lambda batches: {name: torch.cat([b[name] for b in batches]) for name in batches[0]},
        forward=lambda model, batch: model(batch["x"]),
        losses=lambda outputs, batch: (outputs - batch["y"]).square().mean(1),
    )
    packed, parameters = pack(base, trial.config, [0])
    base.eval()
    batch, tensors = task.batch(0, 0), [trial.trained[slot.full_name] for slot in packed.slots]
    loss = task.losses(trial.y, batch).sum()
    expected = torch.cat([d.flatten() for d in derivatives(loss, tensors)])
    flat = parameters.copy()
    outputs = packed(flat, task.forward, batch)
    error = far(derivatives(task.losses(outputs, batch).sum(), [flat])[0][0], expected)
    packed.close()
    fix = "forward must read the tensors that it is given (p, or self.NAME), not copies kept aside"
    close = 1e-4 * (1 + float(expected.abs().max()))
    need(error < close, f"gradients in the study's trainer are {error:.2g} off", fix)
    reason = why_unpackable(task, base, trial.config)
    return f"trains one by one: {reason}" if reason else ""


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

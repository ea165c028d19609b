"""A method in a base model: put in as a seed draws it, taken out again with the base as it was."""

from __future__ import annotations

import copy
import warnings

import torch
from peft import PeftConfig, PeftModel, get_peft_model
from peft.tuners.tuners_utils import check_target_module_exists
from torch import Tensor, nn

from study.methods.full import FullConfig
from study.methods.multiplicative import MultiplicativeConfig
from study.training.frozen_base import BaseBuffers
from study.training.packing.functional import Tensors
from study.training.packing.slots import find_owners


class Injection:
    """Puts a method into `base`, as often as asked, and takes it out again.

    Some initialisations (PiSSA, OLoRA) move a part of the base weights into the adapter. The weights
    that a method might so replace are copied first.
    """

    def __init__(self, base: nn.Module, config: PeftConfig) -> None:
        self.base = base
        self.config = config
        self.buffers = BaseBuffers(base)
        self._before = [(weight, weight.detach().clone()) for weight in _at_risk(base, config)]

    def put_in(self, seed: int) -> PeftModel:
        """The base model adapted in place.

        Raises:
            UsageError, ValueError, TypeError: from the method, if it does not fit the model.
        """
        with torch.random.fork_rng(), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # peft's advice on defaults; errors are still raised
            torch.manual_seed(seed)
            model = get_peft_model(self.base, copy.deepcopy(self.config))
        if getattr(self.base, "is_activation_checkpointing", False):
            # peft asks for gradients down to the embeddings, which reentrant checkpointing alone needs.
            self.base.disable_input_require_grads()  # type: ignore[operator]
        assert isinstance(model, PeftModel)
        return model

    def take_out(self, model: PeftModel) -> None:
        """Gives the base model back as it was."""
        model.unload()
        changed = self.changed()
        for weight, before in self._before:
            if id(weight) in changed:
                weight.data = before.clone()

    def initial_state(self, seed: int) -> Tensors:
        """Every tensor of the adapted modules as this seed draws them, without the base layer's unchanged
        ones, by full name."""
        model = self.put_in(seed)
        changed = self.changed()
        state = {}
        for name, owner in find_owners(self.base).items():
            for tensor, value in [*owner.named_parameters(), *owner.named_buffers()]:
                of_base = tensor.startswith(("base_layer.", "original_module."))
                if not of_base or value.requires_grad or id(value) in changed:
                    state[f"{name}.{tensor}"] = value.detach().clone()
        self.take_out(model)
        return state

    def changed(self) -> dict[int, Tensor]:
        """Base weights that the method has replaced by others, as they were, by the id of the parameter."""
        return {id(w): before for w, before in self._before if not torch.equal(w.detach(), before)}

    def keep_only_changed(self) -> None:
        """Frees the copies of the weights that the method, put in, has left alone."""
        changed = self.changed()
        self._before = [(weight, before) for weight, before in self._before if id(weight) in changed]


def _at_risk(base: nn.Module, config: PeftConfig) -> list[nn.Parameter]:
    """Base weights that the method might replace when it is put in, as PiSSA does: those it adapts.

    Our own methods never touch one, and a copy of all would double a large model.
    """
    if isinstance(config, MultiplicativeConfig | FullConfig) or next(base.parameters()).is_meta:
        return []
    adapted = [
        module
        for name, module in base.named_modules()
        if config.target_modules in (None, "all-linear") or check_target_module_exists(config, name)  # type: ignore[attr-defined]
    ]
    return list(dict.fromkeys(weight for module in adapted for weight in module.parameters()))

"""Making methods known to `peft`, whose own registration takes only names it has already."""

from __future__ import annotations

from peft import PeftConfig, PeftType
from peft.mapping import PEFT_TYPE_TO_CONFIG_MAPPING
from peft.tuners.tuners_utils import BaseTuner
from peft.utils import register_peft_method


def add_peft_type(name: str) -> None:
    """Makes `name` a member of `peft`'s PeftType, once.

    `register_peft_method` refuses unknown members, and transformers' `load_adapter` breaks on plain
    strings, so the member must be a real one. This is the only place that adds any.
    """
    if name in PeftType.__members__:
        return
    member = str.__new__(PeftType, name)
    member._name_ = name
    member._value_ = name
    type.__setattr__(PeftType, name, member)
    PeftType._member_map_[name] = member
    PeftType._member_names_.append(name)
    PeftType._value2member_map_[name] = member


def register_tuner(name: str, config: type[PeftConfig], model: type[BaseTuner]) -> None:
    """Registers any tuner with `peft` under a name of its own; a second call changes nothing.

    Configs made from then on carry that name as their type, whatever they inherit.
    """
    add_peft_type(name.upper())
    if name.upper() in PEFT_TYPE_TO_CONFIG_MAPPING:
        return
    inherited = config.__post_init__

    def post_init(self: PeftConfig) -> None:
        inherited(self)
        self.peft_type = PeftType(name.upper())

    config.__post_init__ = post_init  # type: ignore[method-assign, assignment]
    register_peft_method(name=name, config_cls=config, model_cls=model, prefix=getattr(model, "prefix", None))

"""The `peft` config of a method, from its name and its options."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

from study.errors import UsageError
from study.methods import external
from study.methods.catalogue.names import own_names
from study.methods.catalogue.refusals import refusal
from study.settings import MethodOptions

if TYPE_CHECKING:
    from peft import PeftConfig

DEFAULTS: dict[str, MethodOptions] = {
    "ia3": {"feedforward_modules": []},  # peft knows none for most models: scale every layer's output
    "frod": {"progressbar": False},
}
"""Options of `peft`'s tuners whose own default does not do; what is given goes before."""


def config(
    name: str,
    options: MethodOptions,
    target_modules: list[str] | str | None = None,
    modules_to_save: list[str] | None = None,
) -> PeftConfig:
    """The `peft` config of a method.

    Raises:
        KeyError: if there is no such method.
        UsageError: if it cannot be trained here.
        TypeError, ValueError: from the config itself, if an option or its value is wrong.
    """
    given = {option: value for option, value in options.items() if option != external.SOURCE}
    modules = {"target_modules": target_modules, "modules_to_save": modules_to_save}
    return _config_class(name, options)(**modules | DEFAULTS.get(name.removeprefix("peft:"), {}) | given)


def _config_class(name: str, options: MethodOptions) -> type[PeftConfig]:
    if name in own_names():
        module = importlib.import_module(f"study.methods.{name}")
        return next(
            value
            for value in vars(module).values()
            if isinstance(value, type)
            and value.__module__ == module.__name__
            and vars(value).get("PEFT_NAME")
        )
    if name in external.sources():
        return external.config_class(name)
    from peft.mapping import PEFT_TYPE_TO_CONFIG_MAPPING

    config_class = PEFT_TYPE_TO_CONFIG_MAPPING[name.removeprefix("peft:").upper()]  # type: ignore[index]
    if reason := refusal(name, options):
        raise UsageError(f"method {name} cannot be trained here: {reason}")
    return config_class

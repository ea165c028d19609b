"""The method of a run, aimed at the layers of its task's model."""

from __future__ import annotations

from peft import PeftConfig
from torch import nn

from study import methods
from study.errors import UsageError
from study.methods.full import FullConfig
from study.planning.runs import Run
from study.tasks import Task
from study.tasks.loading.pretrained import block_layers


def peft_config(run: Run, task: Task, model: nn.Module) -> PeftConfig:
    """The run's method, aimed at the layers that the task's settings name.

    Raises:
        UsageError: if the model has none of those layers, or the method cannot be trained here.
        ValueError, TypeError: from the method, if an option or its value is wrong.
    """
    head = list(task.head_modules) if task.settings.trains_head else None
    config = methods.config(run.method, dict(run.options), target_modules(task, model), head)
    if isinstance(config, FullConfig) and run.options.get("target_modules") is None:
        config.target_modules = list(task.finetuned_parts) or None  # not the layers for adapters
    if task.settings.refit_steps and not getattr(config, "magnitudes", False):
        with_magnitudes = [n for n in sorted(methods.own_names()) if "magnitudes" in methods.options(n)]
        raise UsageError(
            f"task.refit_steps={task.settings.refit_steps}: {run.method} trains no magnitudes;"
            f" method.METHOD.magnitudes=true adds them to {', '.join(with_magnitudes)}"
        )
    return config


def target_modules(task: Task, model: nn.Module) -> list[str]:
    """The layers to adapt.

    Raises:
        UsageError: if the model has none of those that the settings name.
    """
    layers = block_layers(model)
    named = task.settings.target_modules
    module_names = [name for name, _ in model.named_modules()]
    for name in named:
        if not any(module == name or module.endswith(f".{name}") for module in module_names):
            model_name = task.settings.model
            raise UsageError(
                f"task.target_modules: {model_name} has no layer {name}; its blocks have: {', '.join(layers)}"
            )
    return named or layers

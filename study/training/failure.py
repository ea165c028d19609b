"""What went wrong in a worker, in one line for the user: the method, the task, the layer, and the error."""

from __future__ import annotations

from collections.abc import Iterator
from types import FrameType

from torch import nn

from study.errors import UsageError, first_line
from study.planning.runs import Run


def failure_line(error: BaseException, run: Run, model: nn.Module | None) -> str:
    """`method lily on task glue, layer h.0.attn.c_attn: NotImplementedError: ...`

    Args:
        model: the base model, in which the layer is looked for.
    """
    if isinstance(error, UsageError):
        return str(error)
    layer = layer_of(error, model) if model is not None else ""
    where = f", layer {layer}" if layer else ""
    return f"method {run.method} on task {run.task.name}{where}: {type(error).__name__}: {first_line(error)}"


def layer_of(error: BaseException, model: nn.Module) -> str:
    """Name in the model of the innermost module that was at work when the error was raised; empty if none."""
    names = {id(module): name for name, module in model.named_modules()}
    innermost = ""
    for frame in _frames(error):
        module = frame.f_locals.get("self")
        while isinstance(module, nn.Module) and id(module) not in names:
            module = vars(module)["_modules"].get("base_layer")  # what an adapter stands in for
        innermost = names.get(id(module)) or innermost
    return innermost


def _frames(error: BaseException) -> Iterator[FrameType]:
    """From the outermost to the innermost."""
    traceback = error.__traceback__
    while traceback is not None:
        yield traceback.tb_frame
        traceback = traceback.tb_next

"""Many runs of one method over one shared frozen base model, in one forward and backward.

    packed, parameters = pack(base, config, seeds=[0, 1, 2])
    flat = parameters.copy()
    outputs = packed(flat, task.forward, batch)     # batch: (runs * batch, ...)
    (grad,) = torch.autograd.grad(outputs.sum(), flat)
    parameters.set_gradients(grad)                  # for their optimizer
    packed.close()                                  # base is as it was

A packed model is a function: the runs' parameters go in, outputs come out, and nothing of a call is
left in the model.
"""

from study.training.packing.adapted_layer import AdaptedLayer
from study.training.packing.functional import Tensors
from study.training.packing.packed_model import Forward, PackedModel, pack
from study.training.packing.packed_module import checkpoint_contexts
from study.training.packing.parameters import RunParameters
from study.training.packing.run_linear import RunLinear

__all__ = [
    "AdaptedLayer",
    "Forward",
    "PackedModel",
    "RunLinear",
    "RunParameters",
    "Tensors",
    "checkpoint_contexts",
    "pack",
]

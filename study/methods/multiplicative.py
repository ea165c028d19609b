"""What a multiplicative method is written with: y = post(W pre(x)) + b, see `study.methods.tuner`.

A method is one file: a config (its options), a layer (its parameters, `pre`, and for two-sided
methods `post`), and a call of `register`. Forward, merge, unmerge, save and load are written
once, on the base classes of `peft`, so everything a `peft` user knows works on it.
"""

from study.methods.tuner.blocks import block_product, block_width, to_blocks
from study.methods.tuner.closed_form import ClosedForm, InputBlocks, LowRank, times
from study.methods.tuner.config import MultiplicativeConfig
from study.methods.tuner.layer import MultiplicativeLayer, Parameters
from study.methods.tuner.model import MultiplicativeModel, register

__all__ = [
    "ClosedForm",
    "InputBlocks",
    "LowRank",
    "MultiplicativeConfig",
    "MultiplicativeLayer",
    "MultiplicativeModel",
    "Parameters",
    "block_product",
    "block_width",
    "register",
    "times",
    "to_blocks",
]

"""The methods: a name -> a `peft` config.

A name is one of this folder's files (ether, ether_plus, oft, naive), a tuner of the installed `peft`
in lower case (lora, hra, boft, ...), `peft:NAME`, which means `peft`'s own where both have one
(`peft:oft`), or a method from elsewhere (`study.methods.external`). Names and options are read from the
source files, not by importing them, so that they can be checked before torch is loaded.
"""

from study.methods import external
from study.methods.catalogue.build import config
from study.methods.catalogue.names import names, own_names
from study.methods.catalogue.options import options
from study.methods.catalogue.refusals import refusal
from study.methods.catalogue.values import complaint

__all__ = ["complaint", "config", "external", "names", "options", "own_names", "refusal"]

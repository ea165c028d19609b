"""The methods: a name -> a `peft` config.

A name is one of this folder's files (ether, ether_plus, oft, naive), a tuner of the installed `peft`
in lower case (lora, hra, boft, ...), `peft:NAME`, which means `peft`'s own where both have one
(`peft:oft`), or a method from elsewhere (`study.methods.external`). Names and options are read from the
source files, not by importing them, so that they can be checked before torch is loaded.
"""

from __future__ import annotations

import ast
import importlib
import importlib.util
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from study.errors import UsageError
from study.methods import external

if TYPE_CHECKING:
    from peft import PeftConfig

FOLDER = Path(__file__).parent
SHARED = "multiplicative"
NO_METHODS = {"__init__", "bench", "contract", "external", "registry", SHARED}
NOT_OPTIONS = {"peft_type", "task_type", "auto_mapping", "base_model_name_or_path", "revision"}

DEFAULTS: dict[str, dict[str, Any]] = {
    "ia3": {"feedforward_modules": []},  # peft knows none for most models: scale every layer's output
    "frod": {"progressbar": False},
}
"""Options of `peft`'s tuners whose own default does not do; what is given goes before."""

REFUSED = {
    "adalora": "its ranks are reallocated by calls that a training loop of its own must make",
    "adaption_prompt": "it adds prompt tokens to the attention of Llama-like models",
    "poly": "it needs the number of each example's task (task_ids) as an input of the model",
    "shadow": "it runs a second network beside the blocks of a decoder",
    "trainable_tokens": "it trains rows of an embedding, not linear layers",
    "xlora": "it mixes LoRA adapters that were trained before",
}
REFUSED_OPTIONS: dict[tuple[str, str], dict[str, str]] = {
    ("adamss", "use_asa"): {"True": "it needs calls that a training loop of its own must make"},
    ("lora", "alora_invocation_tokens"): {"*": "it starts at tokens of a language model"},
    ("lora", "arrow_config"): {"*": "it mixes LoRA adapters that were trained before"},
    ("lora", "init_lora_weights"): {
        "corda": "it needs data before training",
        "eva": "it needs data before training, and is plain LoRA without",
        "lora_ga": "it needs gradients before training, and is plain LoRA without",
    },
    ("lora", "kasa_config"): {"*": "it needs a loss of its own"},
    ("lora", "monteclora_config"): {"*": "it needs a loss of its own"},
    ("lora", "trainable_token_indices"): {"*": "it trains rows of an embedding, not linear layers"},
    ("lora", "use_qalora"): {"True": "it acts on GPTQ-quantised layers, and is plain LoRA on others"},
}
"""What would fail late, or train as something else than it says."""


def own_names() -> set[str]:
    """Methods written here, one file each."""
    return {p.stem for p in FOLDER.glob("*.py")} - NO_METHODS


@cache
def _peft_folder() -> Path:
    spec = importlib.util.find_spec("peft")
    assert spec is not None and spec.origin is not None
    return Path(spec.origin).parent / "tuners"


def names() -> list[str]:
    """Every name that can stand behind `method=`."""
    of_peft = {p.parent.name for p in _peft_folder().glob("*/config.py")}
    return sorted({*own_names(), *of_peft, *external.sources(), *(f"peft:{name}" for name in of_peft)})


def options(name: str) -> list[str]:
    """Names of the options of a method's config, read from its source without importing it."""
    found = set()
    elsewhere = external.sources()
    if name in own_names() or name in elsewhere:
        path = elsewhere.get(name, FOLDER / f"{name}.py")
        source = path.read_text()
        shared = [other for other in own_names() | {SHARED} if f"study.methods.{other} import" in source]
        files = [path, *(FOLDER / f"{file}.py" for file in ([*shared, SHARED] if shared else []))]
        based = [
            p.parent.name
            for p in _peft_folder().glob("*/config.py")
            if f"peft.tuners.{p.parent.name} import" in source
        ]
        files += [_peft_folder() / base / "config.py" for base in based]
        found |= {external.SOURCE} if name in elsewhere else set()
    else:
        files = [_peft_folder() / name.removeprefix("peft:") / "config.py"]
    for file in files:
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.ClassDef) and node.name.endswith("Config"):
                fields = [n.target for n in node.body if isinstance(n, ast.AnnAssign)]
                found |= {f.id for f in fields if isinstance(f, ast.Name) and not f.id.isupper()}
    return sorted(found - NOT_OPTIONS)


def refusal(name: str, given: dict[str, Any]) -> str:
    """Why a method, or a value of one of its options, cannot be trained here; empty if nothing says so."""
    key = name.removeprefix("peft:")
    if name in own_names() or name in external.sources():
        return ""
    if key in REFUSED:
        return REFUSED[key]
    for option, value in given.items():
        reasons = REFUSED_OPTIONS.get((key, option), {})
        if value is not None and (reason := reasons.get(str(value), reasons.get("*"))):
            return f"{option}={value}: {reason}"
    return "" if "target_modules" in options(name) else "it learns a prompt, and adapts no linear layers"


def config(
    name: str,
    options: dict[str, Any],
    target_modules: list[str] | str | None = None,
    modules_to_save: list[str] | None = None,
) -> PeftConfig:
    """The `peft` config of a method.

    Raises:
        KeyError: if there is no such method.
        UsageError: if it cannot be trained here.
        TypeError, ValueError: from the config itself, if an option or its value is wrong.
    """
    if name in own_names():
        module = importlib.import_module(f"study.methods.{name}")
        found = [
            value
            for value in vars(module).values()
            if isinstance(value, type)
            and value.__module__ == module.__name__
            and vars(value).get("PEFT_NAME")
        ]
        config_class = found[0]
    elif name in external.sources():
        config_class = external.config_class(name)
    else:
        from peft.mapping import PEFT_TYPE_TO_CONFIG_MAPPING

        config_class = PEFT_TYPE_TO_CONFIG_MAPPING[name.removeprefix("peft:").upper()]  # type: ignore
        if reason := refusal(name, options):
            raise UsageError(f"method {name} cannot be trained here: {reason}")
    given = {"target_modules": target_modules, "modules_to_save": modules_to_save}
    own = {option: value for option, value in options.items() if option != external.SOURCE}
    return config_class(**given | DEFAULTS.get(name.removeprefix("peft:"), {}) | own)

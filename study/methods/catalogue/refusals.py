"""What of `peft` cannot be trained here, and why: known before anything is loaded."""

from __future__ import annotations

from study.methods import external
from study.methods.catalogue.names import own_names
from study.methods.catalogue.options import options
from study.settings import MethodOptions

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


def refusal(name: str, given: MethodOptions) -> str:
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

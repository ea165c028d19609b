"""What the field calls things that have another name here: methods, keys and options.

They are named in refusals, not accepted: a study has one name for each thing. What is merely misspelt is
found by nearness (`study.errors.nearest`).
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass


@dataclass(frozen=True)
class Variant:
    """A method that is another one with an option.

    Attributes:
        method: its name here.
        option: `use_dora=true`; empty if it is the method itself.
        remark: how it differs from what was asked for.
    """

    method: str
    option: str = ""
    remark: str = ""

    def as_overrides(self) -> str:
        """`method=lora method.lora.use_dora=true`"""
        option = f" method.{self.method}.{self.option}" if self.option else ""
        return f"method={self.method}{option}{f' ({self.remark})' if self.remark else ''}"

    def as_contender(self) -> str:
        """`lora,use_dora=true`"""
        option = f",{self.option}" if self.option else ""
        return f"{self.method}{option}{f' ({self.remark})' if self.remark else ''}"


METHODS = {
    "dora": Variant("lora", "use_dora=true"),
    "rslora": Variant("lora", "use_rslora=true"),
    "pissa": Variant("lora", "init_lora_weights=pissa"),
    "olora": Variant("lora", "init_lora_weights=olora"),
    "mica": Variant("lora", "init_lora_weights=mica"),
    "qlora": Variant("lora", remark="base models are not quantised here"),
    "loraplus": Variant("lora", remark="with one learning rate for both factors"),
    "lorafa": Variant("lora", remark="with both factors trained"),
    "oftv2": Variant("peft:oft", remark="the peft library's; oft is the paper's"),
    "oft2": Variant("peft:oft", remark="the peft library's; oft is the paper's"),
    "peftoft": Variant("peft:oft"),
    "etherplus": Variant("ether_plus"),
    "householder": Variant("hra"),
    **dict.fromkeys(["finetuning", "fullfinetuning", "fullft", "fft", "ft", "dreambooth"], Variant("full")),
    "bone": Variant("miss"),
    "krona": Variant("lokr"),
    "lohalora": Variant("loha"),
}
"""By what the field calls them, in lower case, without hyphens and the like; `+` is `plus`."""

KEYS = {
    "learning_rate": "lr", "learning_rates": "lr", "rate": "lr", "rates": "lr", "lrs": "lr", "eta": "lr",
    "n_seeds": "seeds", "num_seeds": "seeds", "nseeds": "seeds", "repeats": "seeds",
    "bs": "task.batch_size", "batch": "task.batch_size", "batchsize": "task.batch_size",
    "per_device_train_batch_size": "task.batch_size", "eval_bs": "task.eval_batch_size",
    "max_steps": "task.steps", "num_steps": "task.steps", "n_steps": "task.steps", "iterations": "task.steps",
    "epochs": "task.steps", "num_epochs": "task.steps", "num_train_epochs": "task.steps",
    "gradient_accumulation_steps": "task.accumulate", "gradient_accumulation": "task.accumulate",
    "base_model": "task.model", "model_name": "task.model", "model_name_or_path": "task.model",
    "checkpoint": "task.model", "backbone": "task.model",
    "dataset": "task.data", "data_path": "task.data", "dataset_name": "task.data", "train_file": "task.data",
    "wd": "task.weight_decay", "decay": "task.weight_decay", "warmup": "task.warmup_steps",
    "max_seq_length": "task.max_length", "max_len": "task.max_length", "seq_len": "task.max_length",
    "max_grad_norm": "task.clip", "grad_clip": "task.clip", "dtype": "task.precision",
    "torch_dtype": "task.precision", "bf16": "task.precision", "fp16": "task.precision",
    "targets": "task.target_modules", "modules": "task.target_modules",
    "gpu": "launcher.device", "cuda": "launcher.device", "gpus": "launcher.gpus_per_node",
    "num_gpus": "launcher.gpus_per_node", "n_gpus": "launcher.gpus_per_node", "mem": "launcher.mem_gb",
    "memory": "launcher.mem_gb", "jobs": "launcher.workers", "n_jobs": "launcher.workers",
    "num_workers": "launcher.workers", "processes": "launcher.workers", "cpus": "launcher.cpus_per_task",
    "time": "launcher.timeout_min", "time_limit": "launcher.timeout_min", "timeout": "launcher.timeout_min",
    "queue": "launcher.partition", "gpu_memory": "launcher.gpu_memory_gb",
    "compile": "launcher.cuda_graphs", "torch_compile": "launcher.cuda_graphs",
    "output": "results", "out": "results", "output_dir": "results", "outdir": "results", "folder": "results",
    "study": "name", "run_name": "name", "experiment": "name", "peft": "method", "adapter": "method",
    "dryrun": "dry_run", "plan": "dry_run", "save": "save_adapters", "retry_failed": "retry",
    "packsize": "pack_size", "pack": "pack_size", "subsets": "task.subset", "datasets": "task.data",
}  # fmt: skip
"""The keys of a sweep, by what else they are called."""

OPTIONS: dict[str, tuple[str, ...]] = {
    "rank": ("r",),
    "lora_r": ("r",),
    "lora_rank": ("r",),
    "dim": ("r",),
    "alpha": ("lora_alpha", "randlora_alpha", "psoft_alpha"),
    "scaling": ("lora_alpha",),
    "dropout": ("lora_dropout", "boft_dropout", "vera_dropout", "hira_dropout", "module_dropout"),
    "dora": ("use_dora",),
    "rslora": ("use_rslora",),
    "init": ("init_lora_weights", "init_weights"),
    "n": ("blocks",),
    "nblocks": ("blocks",),
    "n_blocks": ("blocks",),
    "num_blocks": ("blocks",),
    "block_num": ("blocks", "boft_block_num"),
    "block_size": ("oft_block_size", "boft_block_size", "blocks"),
    "targets": ("target_modules",),
    "modules": ("target_modules",),
}
"""Options of methods, by what else they are called: the first that a method has is meant."""


def variant(name: str) -> Variant | None:
    """The method that is meant by the field's name of it, such as `DoRA`; None if none is known."""
    plain = name.lower().removeprefix("peft:").replace("+", "plus")
    return METHODS.get("".join(letter for letter in plain if letter.isalnum()))


def key(name: str, known: Collection[str]) -> str:
    """The key of a sweep that is meant; empty if none is known."""
    meant = KEYS.get(name.lower().replace("-", "_"), "")
    return meant if meant in known else ""


def option(name: str, known: Collection[str]) -> str:
    """The option that is meant, of those that a method has; empty if none is known."""
    candidates = OPTIONS.get(name.lower().replace("-", "_"), ())
    return next((each for each in candidates if each in known), "")

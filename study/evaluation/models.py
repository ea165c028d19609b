"""Trained models as EleutherAI's lm-evaluation-harness asks them. Needs the extra `[eval]`."""

from __future__ import annotations

import contextlib
import functools
import importlib
import math
import sys
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import lm_eval
import torch
from lm_eval.models.huggingface import HFLM
from peft import PeftModel
from torch import nn
from transformers import AutoModelForCausalLM, PreTrainedTokenizerBase, set_seed
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

from study import methods
from study.errors import UsageError, first_line
from study.evaluation.benchmarks import Benchmark
from study.evaluation.candidates import Candidate
from study.methods import external
from study.naming import is_shipped
from study.tasks import shipped_checkpoint
from study.tasks.loading.pretrained import load_config, load_pretrained, load_tokenizer

REQUESTS = ("loglikelihood", "loglikelihood_rolling", "generate_until")
"""What a task may ask of a model."""


@dataclass(frozen=True)
class Answer:
    """A model's score on one benchmark; the fields are columns of benchmarks.csv."""

    score: float
    stderr: float
    examples: int
    form: str
    harness: str


class Asked:
    """A model as the harness asks it. `form` says what it is: `base`, `merged` or `adapted`.

    Likelihoods are computed in float32, whatever the model is in: sums in bfloat16 have three digits, so
    that answers tie, and of those the harness takes the first, in TruthfulQA the right one.
    """

    def __init__(
        self, model: nn.Module, form: str, tokenizer: PreTrainedTokenizerBase, batch_size: str
    ) -> None:
        self.form = form
        self.lm = HFLM(model.eval(), tokenizer=tokenizer, batch_size=batch_size, softmax_dtype="float32")
        for request in REQUESTS:  # bars are for terminals
            quiet = functools.partial(getattr(self.lm, request), disable_tqdm=not sys.stderr.isatty())
            setattr(self.lm, request, quiet)

    def close(self) -> None:
        """Lets go of the model at once; the harness's object refers to itself, and would keep it."""
        vars(self.lm).clear()

    def ask(self, benchmark: Benchmark, limit: int | None) -> Answer:
        """The model's score.

        Args:
            limit: examples per task; None for all.
        """
        set_seed(0)  # for tasks that sample
        results = lm_eval.evaluate(self.lm, benchmark.loaded, limit=limit)
        scores = results["results"][benchmark.task]
        metric, filtered = next(k.split(",") for k in scores if k.split(",")[0] == benchmark.metric)
        stderr = scores.get(f"{metric}_stderr,{filtered}", "N/A")
        return Answer(
            score=float(scores[f"{metric},{filtered}"]) if _finite(results["samples"]) else math.nan,
            stderr=math.nan if stderr == "N/A" else float(stderr),
            examples=scores["sample_len"],
            form=self.form,
            harness=lm_eval.__version__,
        )


def _finite(samples: Mapping[str, list[Any]]) -> bool:
    """Whether every log-likelihood is a finite number.

    Of nan the harness takes the first answer as the model's choice: in TruthfulQA that is the right one.

    Args:
        samples: by task, what the harness noted of each example; it has no type for that.
    """
    answers = [a for part in samples.values() for sample in part for a in sample["filtered_resps"]]
    likelihoods = [answer[0] if isinstance(answer, tuple | list) else answer for answer in answers]
    return all(math.isfinite(value) for value in likelihoods if isinstance(value, float))


def available_device(name: str) -> torch.device:
    """The device of this name; by default the GPU, if there is one.

    Raises:
        UsageError: if it is not there.
    """
    try:
        device = torch.device(name or ("cuda" if torch.cuda.is_available() else "cpu"))
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError) as error:
        raise UsageError(f"device={name}: {first_line(error)}") from None
    return device


def check(candidate: Candidate) -> None:
    """Makes the candidate's method known to `peft`.

    Raises:
        UsageError: if it cannot be; or if the model is not there, or no language model.
    """
    name = candidate.method
    if name in methods.own_names():
        importlib.import_module(f"study.methods.{name}")
    elif name in external.sources():
        external.config_class(name)
    elif candidate.adapter and name not in methods.names():
        raise UsageError(f"unknown method {name!r}; give its file: {external.VARIABLE}={name}=FILE.py")
    _path(candidate)


def load(candidate: Candidate, device: torch.device, batch_size: str) -> Asked:
    """The model of a candidate that was checked, to be asked.

    In float32 an adapter is merged, where its method can be. In bfloat16 it stays beside the weights, as it
    was trained: a weight to which less than 1/512 of it is added does not change, so that merging would undo
    much of what small learning rates do.

    Raises:
        UsageError: if the model, its tokenizer or the adapter cannot be loaded.
    """
    path = _path(candidate)
    tokenizer = load_tokenizer(path)

    def base() -> nn.Module:
        dtype = getattr(torch, candidate.precision)
        return load_pretrained(AutoModelForCausalLM, path, [], dtype=dtype).to(device)

    def adapted() -> Any:
        return _adapted(base(), candidate)

    if candidate.adapter is None:
        return Asked(base(), "base", tokenizer, batch_size)
    if candidate.precision == "float32":
        with contextlib.suppress(NotImplementedError, ValueError):  # raised perhaps with some layers merged
            return Asked(adapted().merge_and_unload(), "merged", tokenizer, batch_size)
    return Asked(adapted().to(device), "adapted", tokenizer, batch_size)


def _adapted(base: nn.Module, candidate: Candidate) -> Any:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            warnings.filterwarnings("error", "Found missing adapter keys")  # what is missing would be random
            return PeftModel.from_pretrained(base, str(candidate.adapter))  # type: ignore[arg-type]
    except Exception as error:
        raise UsageError(f"{candidate.adapter}: cannot be loaded: {first_line(error)}") from None


def _path(candidate: Candidate) -> str:
    """The base model's hub name or folder.

    Raises:
        UsageError: if it is no language model.
    """
    path = candidate.model
    if is_shipped(path):
        path = str(shipped_checkpoint(candidate.task, path))
    kind = load_config(path).model_type
    if kind not in MODEL_FOR_CAUSAL_LM_MAPPING_NAMES:
        raise UsageError(
            f"task.model={candidate.model}: a {kind} model writes no text; nothing can be asked of it"
        )
    return path

"""EleutherAI's lm-evaluation-harness: its tasks, and our models as it asks them. Needs the extra `[eval]`."""

from __future__ import annotations

import contextlib
import functools
import importlib
import logging
import math
import sys
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import lm_eval
import torch
from huggingface_hub.utils import logging as hub_logging
from lm_eval.models.huggingface import HFLM
from lm_eval.tasks import TaskManager
from peft import PeftModel
from torch import nn
from transformers import AutoModelForCausalLM, set_seed
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

from study import methods
from study.errors import UsageError, first_line, nearest
from study.methods import external
from study.tasks import shipped_checkpoint
from study.tasks.loading.pretrained import load_config, load_pretrained, load_tokenizer

if TYPE_CHECKING:
    from study.evaluate import Candidate

REQUESTS = ("loglikelihood", "loglikelihood_rolling", "generate_until")
"""What a task may ask of a model."""


# Tasks ----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Benchmark:
    """A task, or group of tasks, of the harness.

    Attributes:
        name: as the user calls it.
        task: as the harness does.
        metric: which of its metrics.
        loaded: what `TaskManager.load` gave.
    """

    name: str
    task: str
    metric: str
    loaded: Any


@functools.cache
def _tasks(include_path: str) -> TaskManager:
    """The index of all tasks, which takes seconds to make."""
    logging.getLogger("lm_eval").setLevel(logging.ERROR)  # it warns of what is meant here: a ready model
    hub_logging.set_verbosity_error()  # it tells of every retry; what fails in the end is one line below
    return TaskManager(include_path=include_path or None)


def load(wanted: dict[str, str], include_path: str) -> dict[str, Benchmark]:
    """The benchmarks with their data, zero-shot, by name.

    Args:
        wanted: the harness's TASK or TASK:METRIC by name. Without a metric, it is the task's first.
        include_path: folder with further tasks; may be empty.

    Raises:
        UsageError: if there is no such task or metric, or the data is not there.
    """
    return {name: _load(name, what, _tasks(include_path)) for name, what in wanted.items()}


def _load(name: str, what: str, tasks: TaskManager) -> Benchmark:
    task, _, metric = what.partition(":")
    entry = tasks.task_index.get(task)
    if entry is None:
        raise UsageError(f"unknown benchmark {task!r}; {nearest(task, tasks.all_tasks)}")
    if entry.kind.name == "TAG":
        raise UsageError(
            f"benchmark {name} has no score of its own; its tasks: {', '.join(sorted(entry.tags))}"
        )
    try:
        loaded = tasks.load([task])
    except ConnectionError as error:
        why = f"{first_line(error)}; run this once with internet and the same HF_HOME"
        raise UsageError(f"benchmark {name}: its data is not in the cache: {why}") from None
    except Exception as error:
        raise UsageError(f"benchmark {name}: its data cannot be loaded: {first_line(error)}") from None
    for part in loaded["tasks"].values():
        if getattr(part, "UNSAFE_CODE", False) or getattr(part, "MULTIMODAL", False):
            raise UsageError(f"benchmark {name} runs code or shows pictures; this command does neither")
        part.set_config("num_fewshot", 0)
    group = loaded["groups"].get(task)
    if group is None:
        metrics = list(loaded["tasks"][task].aggregation())
    else:
        metrics = [each.metric for each in group.aggregate_metric_list or []]
        if not metrics:
            raise UsageError(
                f"benchmark {name} has no score of its own; its tasks: {', '.join(group.child_names)}"
            )
    if metric and metric not in metrics:
        raise UsageError(f"benchmark {name} has no metric {metric!r}; {nearest(metric, metrics)}")
    return Benchmark(name, task, metric or metrics[0], loaded)


# Models ---------------------------------------------------------------------------------------


class Asked:
    """A model as the harness asks it. `form` says what it is: `base`, `merged` or `adapted`.

    Likelihoods are computed in float32, whatever the model is in: sums in bfloat16 have three digits, so
    that answers tie, and of those the harness takes the first, in TruthfulQA the right one.
    """

    def __init__(self, model: nn.Module, form: str, tokenizer: Any, batch_size: str) -> None:
        self.form = form
        self.lm = HFLM(model.eval(), tokenizer=tokenizer, batch_size=batch_size, softmax_dtype="float32")
        for request in REQUESTS:  # bars are for terminals
            quiet = functools.partial(getattr(self.lm, request), disable_tqdm=not sys.stderr.isatty())
            setattr(self.lm, request, quiet)

    def close(self) -> None:
        """Lets go of the model at once; the harness's object refers to itself, and would keep it."""
        vars(self.lm).clear()

    def ask(self, benchmark: Benchmark, limit: int | None) -> dict[str, Any]:
        """score, stderr, examples, form and harness, as in `study.evaluate.COLUMNS`.

        Args:
            limit: examples per task; None for all.
        """
        set_seed(0)  # for tasks that sample
        results = lm_eval.evaluate(self.lm, benchmark.loaded, limit=limit)
        found = results["results"][benchmark.task]
        metric, filtered = next(k.split(",") for k in found if k.split(",")[0] == benchmark.metric)
        stderr = found.get(f"{metric}_stderr,{filtered}", "N/A")
        return {
            "score": float(found[f"{metric},{filtered}"]) if _finite(results["samples"]) else math.nan,
            "stderr": math.nan if stderr == "N/A" else float(stderr),
            "examples": found["sample_len"],
            "form": self.form,
            "harness": lm_eval.__version__,
        }


def _finite(samples: dict[str, list[dict[str, Any]]]) -> bool:
    """Whether every log-likelihood is a finite number.

    Of nan the harness takes the first answer as the model's choice: in TruthfulQA that is the right one.
    """
    answers = [a for part in samples.values() for sample in part for a in sample["filtered_resps"]]
    likelihoods = [answer[0] if isinstance(answer, tuple | list) else answer for answer in answers]
    return all(math.isfinite(value) for value in likelihoods if isinstance(value, float))


def device(name: str) -> torch.device:
    """The device of this name; by default the GPU, if there is one.

    Raises:
        UsageError: if it is not there.
    """
    try:
        found = torch.device(name or ("cuda" if torch.cuda.is_available() else "cpu"))
        torch.empty(1, device=found)
    except (RuntimeError, AssertionError) as error:
        raise UsageError(f"device={name}: {first_line(error)}") from None
    return found


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


def ready(candidate: Candidate, device: torch.device, batch_size: str) -> Asked:
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
    if path == "shipped":
        path = str(shipped_checkpoint(candidate.task))
    kind = load_config(path).model_type
    if kind not in MODEL_FOR_CAUSAL_LM_MAPPING_NAMES:
        raise UsageError(
            f"task.model={candidate.model}: a {kind} model writes no text; nothing can be asked of it"
        )
    return path

"""What data and checkpoints are known by, to tell whether they still are what a run was trained on.

A fingerprint is text, and its first word says what it was made of:

    sha256:...    the whole content of a file or folder
    stat:...      of more than WHOLE bytes: names, sizes, times of change, and both ends of large files
    revision:...  the commit of a hub's repository in the cache of this machine
    examples:...  what a task makes or generates itself: its examples, number by number
    weights:...   the same of a model that a task builds itself
    rows:...      which examples of the training split are trained on (`task.train_examples`)
    labels:...    the classes that they are trained with (`task.label_noise`)
    unknown       none of these

Content counts, not when it was written: a file that is touched, copied or moved keeps its `sha256`.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor

from study.errors import UsageError
from study.settings import JUDGES, TaskSettings
from study.tasks import SPLITS, Task, base_model_path
from study.tasks.loading.pretrained import skeletons

UNKNOWN = "unknown"
WHOLE = 2**30
"""Bytes that are read as a whole; reading more would take longer than many a study."""
ENDS = 2**16
"""Bytes at either end of a file that are read where the whole is not."""

CHECKPOINT_FILES = (
    "*.safetensors", "*.safetensors.index.json", "config.json", "tokenizer*", "vocab*", "merges.txt",
    "special_tokens_map.json", "added_tokens.json", "*.model", "*processor_config.json", "model_index.json",
    "scheduler_config.json",
)  # fmt: skip
"""What is read of a checkpoint's folder; logs and optimizer states that lie beside it do not matter."""
NO_DATA = ("readme", "license", "licence")
"""How files begin that lie in a data set's folder and are no part of it."""


def model_fingerprint(task: Task) -> str:
    """Of the base model that the task's settings name; of a pipeline's folder, all its parts."""
    if known := checkpoint_fingerprint(base_model_path(task.settings)):
        return known
    with contextlib.suppress(UsageError), skeletons(), torch.random.fork_rng():
        torch.manual_seed(0)
        tensors = task.model().state_dict()
        if not any(tensor.is_meta for tensor in tensors.values()):
            return f"weights:{_digest(_described(tensors))}"
    return UNKNOWN


def made_fingerprints(task: Task) -> str:
    """Of what scores and training need beside data and model: the judges, what the task has drawn, and which
    of the data are trained on with which labels."""
    made = task.drawn() | task.training_set.fingerprints
    drawn = [f"{setting} {found}" for setting, found in made.items()]
    return ", ".join([*filter(None, [judge_fingerprints(task.settings)]), *drawn])


def judge_fingerprints(settings: TaskSettings) -> str:
    """Of the models by which scores are made: `segmenter sha256:..., inception sha256:...`."""
    named = {judge: name for judge in JUDGES if (name := getattr(settings, judge))}
    return ", ".join(f"{judge} {checkpoint_fingerprint(name) or UNKNOWN}" for judge, name in named.items())


def checkpoint_fingerprint(name: str) -> str:
    """Of a folder that `save_pretrained` wrote, of a file, or of a hub's repository; else empty."""
    path = Path(name).expanduser()
    if path.is_dir():
        parts = ("", "*/") if (path / "model_index.json").is_file() else ("",)
        patterns = [f"{part}{pattern}" for part in parts for pattern in CHECKPOINT_FILES]
        return _of_files(
            path, [file for pattern in patterns for file in path.glob(pattern) if file.is_file()]
        )
    if path.is_file():
        return _of_files(path.parent, [path], named=False)
    revision = _revision("models", name)
    return f"revision:{revision}" if revision else ""


def data_fingerprint(task: Task) -> str:
    """Of the data that the task's settings name."""
    known = source_fingerprint(task.settings)
    if known or "/" in task.settings.data:
        return known or UNKNOWN
    splits = (task.examples(split, torch.arange(task.size(split))) for split in SPLITS)
    return f"examples:{_digest(part for split in splits for part in _described(split))}"


def source_fingerprint(settings: TaskSettings) -> str:
    """Of data from elsewhere; empty where the task makes its data itself, or nothing is known."""
    path = Path(settings.data).expanduser()
    if path.is_dir():
        found = (Path(parent, name) for parent, _, names in os.walk(path, followlinks=True) for name in names)
        return _of_files(path, [file for file in found if _is_data(file.relative_to(path))])
    if path.is_file():
        return _of_files(path.parent, [path], named=False)
    revision = _revision("datasets", settings.data)
    return f"revision:{revision}" if revision else ""


def _is_data(file: Path) -> bool:
    hidden = any(part.startswith(".") for part in file.parts)
    return not (hidden or file.name.lower().startswith(NO_DATA))


def _of_files(folder: Path, files: Sequence[Path], named: bool = True) -> str:
    """Args: named: whether the files' names matter, as they do in a folder."""
    in_order = sorted(set(files))
    stats = [file.stat() for file in in_order]
    names = [file.relative_to(folder).as_posix() if named else "" for file in in_order]
    if sum(stat.st_size for stat in stats) <= WHOLE:
        parts = [f"{name}\n{_of_content(file)}\n" for name, file in zip(names, in_order, strict=True)]
        return f"sha256:{_digest(part.encode() for part in parts)}"
    parts = [
        f"{name}\n{stat.st_size} {stat.st_mtime_ns} {_of_ends(file, stat.st_size)}\n"
        for name, file, stat in zip(names, in_order, stats, strict=True)
    ]
    return f"stat:{_digest(part.encode() for part in parts)}"


def _of_content(file: Path) -> str:
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


def _of_ends(file: Path, size: int) -> str:
    """Of both ends of a large file: of a checkpoint's, the header and the last weights."""
    if size < 2**24:  # a data set of very many pictures would take minutes
        return ""
    with file.open("rb") as content:
        head = content.read(ENDS)
        content.seek(-ENDS, 2)
        return _digest([head, content.read(ENDS)])


def _revision(kind: str, name: str) -> str:
    """The commit of a hub's repository that the cache holds as `main`; empty if it holds none."""
    from huggingface_hub.constants import HF_HUB_CACHE

    main = Path(HF_HUB_CACHE) / f"{kind}--{name.replace('/', '--')}" / "refs" / "main"
    try:
        return main.read_text().strip()
    except OSError:
        return ""


def _described(tensors: Mapping[str, Tensor]) -> Iterable[bytes]:
    """Tensors in bytes: whole numbers as they are, others to four digits, for machines round differently."""
    for name, tensor in tensors.items():
        yield f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode()
        if tensor.dtype.is_floating_point and tensor.numel():
            sizes = tensor.detach().double().abs().flatten()
            sums = (sizes.mean().item(), (sizes * torch.linspace(1, 2, len(sizes))).mean().item())
            yield "{:.4g} {:.4g}\n".format(*sums).encode()
        else:
            yield tensor.detach().contiguous().numpy().tobytes()


def _digest(parts: Iterable[bytes]) -> str:
    hashed = hashlib.sha256()
    for part in parts:
        hashed.update(part)
    return hashed.hexdigest()[:16]

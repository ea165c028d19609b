"""A study of a tiny Llama, and the command that evaluates it on tiny data."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import datasets
import pytest
from support.texts.benchmark_data import hub, sentence
from support.tiny_llama import OPTIONS, make_study, save_llama

from study import evaluate


@pytest.fixture
def from_hub(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(datasets, "load_dataset", hub)


@pytest.fixture(scope="session")
def llama(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("llama")
    save_llama(folder)
    return folder


@pytest.fixture(scope="session")
def study(tmp_path_factory: pytest.TempPathFactory, llama: Path) -> Path:
    folder = tmp_path_factory.mktemp("results") / "alpaca"
    return make_study(folder, llama, dict.fromkeys(OPTIONS, 0.3))


@pytest.fixture(scope="session")
def own_tasks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for `include_path`: one task on a local JSON file, a group of it and a tag."""
    pytest.importorskip("lm_eval", reason="needs the extra [eval]")
    folder = tmp_path_factory.mktemp("tasks")
    rows = [{"question": sentence(), "texts": [sentence(1), sentence(4)], "gold": i % 2} for i in range(8)]
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    task = """
task: {name}
tag: ours_tag
dataset_path: json
dataset_kwargs: {{data_files: {{test: {folder}/{file}}}, cache_dir: {folder}/cache}}
test_split: test
num_fewshot: 3
output_type: multiple_choice
doc_to_text: "Question: {{{{question}}}}\\nAnswer:"
doc_to_choice: "{{{{texts}}}}"
doc_to_target: gold
metric_list: [{{metric: acc_norm}}, {{metric: acc}}]
"""
    (folder / "ours.yaml").write_text(task.format(name="ours", folder=folder, file="rows.jsonl"))
    (folder / "lost.yaml").write_text(task.format(name="lost", folder=folder, file="nowhere.jsonl"))
    (folder / "group.yaml").write_text("group: ours_group\ntask: [ours]\n")
    return folder


@pytest.fixture(scope="session")
def command(own_tasks: Path) -> Callable[..., int]:
    """The command; every call has the same `include_path`, so that all tasks are indexed once.

    Whoever is first reads data into the cache, and would find the progress of that beside its one line.
    """
    datasets.disable_progress_bars()
    return lambda folder, *more: evaluate.main([str(folder), f"include_path={own_tasks}", *more])


@pytest.fixture(scope="session")
def evaluated(study: Path, command: Callable[..., int]) -> Iterator[Path]:
    """The study with the paper's benchmarks."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(datasets, "load_dataset", hub)
        assert command(study) == 0
    yield study


@pytest.fixture
def asked(command: Any, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What is asked: benchmarks, in that order. Stops, as by Ctrl-C, before the fourth."""
    from study.evaluation.models import Asked

    names: list[str] = []
    ask = Asked.ask

    def noted(self: Asked, benchmark: Any, limit: int | None) -> dict[str, Any]:
        if len(names) == 3:
            raise KeyboardInterrupt
        names.append(benchmark.name)
        return ask(self, benchmark, limit)

    monkeypatch.setattr(Asked, "ask", noted)
    return names

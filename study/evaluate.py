"""`python -m study.evaluate NAME`: benchmarks of the language models that a study has trained.

Every run whose adapter was kept, and the untouched base model, answers MMLU, ARC, TruthfulQA or any other
task of EleutherAI's lm-evaluation-harness, zero-shot. `results/NAME/benchmarks.csv` gets a row per model and
benchmark as soon as it is there; a second call does what is missing.
"""

from __future__ import annotations

import dataclasses
import importlib.util
import os
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from study.cli.arguments import Arguments, Command, Key
from study.cli.studies import RESULTS, existing_study
from study.errors import UsageError
from study.evaluation.candidates import Candidate, candidates
from study.evaluation.scores_file import Score, read_scores, write_scores
from study.storage.lock import locked

if TYPE_CHECKING:
    from study.evaluation.benchmarks import Benchmark
    from study.evaluation.models import Answer

PAPER = {
    "mmlu": "mmlu:acc",
    "arc": "arc_challenge:acc",
    "tru1": "truthfulqa_mc1:acc",
    "tru2": "truthfulqa_mc2:acc",
}
"""The columns of the paper's Table 5, as the harness's TASK:METRIC.

Of ARC the paper says neither part nor metric. Its eight figures are multiples of 1/1172, so it is the test
split of ARC-Challenge; and its 42.92 % for Llama-2-7B is the plain accuracy (published: 43.4, standard error
1.4), not the one normalised by the answers' lengths (46.2).
"""


def _limit(value: str) -> str:
    return "" if re.fullmatch(r"[1-9]\d*", value) else "must be a number of examples, at least 1"


def _batch_size(value: str) -> str:
    return "" if re.fullmatch(r"auto|[1-9]\d*", value) else "must be a number of examples, or auto"


def _include_path(value: str) -> str:
    return "" if Path(value).is_dir() else "no such folder"


COMMAND = Command(
    module="study.evaluate",
    name="NAME_OR_FOLDER",
    about="""
Benchmarks the runs of results/NAME whose adapters were kept (train with save_adapters=best or all), and
their untouched base model, zero-shot with EleutherAI's lm-evaluation-harness, which comes with the extra:
pip install 'ether-study[eval]'. Leaves a row per model and benchmark in results/NAME/benchmarks.csv.
Interrupt it at will: the same command does what is missing.
""",
    keys={
        "benchmarks": Key(
            "those of the paper's Table 5 (default: all four): MMLU, ARC-Challenge, TruthfulQA with one and "
            "with several right answers; and any task or group of the harness, as TASK or TASK:METRIC, such "
            "as hellaswag:acc_norm",
            example=",".join(PAPER),
            default=",".join(PAPER),
        ),
        "include_path": Key("tasks of your own, as the harness's YAML files", "FOLDER", refuse=_include_path),
        "limit": Key(
            "a try: 20 examples per task, kept apart in benchmarks_limit20.csv", "20", refuse=_limit
        ),
        "batch_size": Key("examples at a time; auto: as many as fit", "8", default="8", refuse=_batch_size),
        "results": RESULTS,
        "device": Key("cpu | cuda | cuda:1; default: cuda if there is one", "cuda"),
    },
    exit=[("", "0 every benchmark is there, 1 the disk is full, 2 wrong usage, 130/143 after a signal")],
)


def main(arguments: list[str]) -> int:
    return COMMAND.run(arguments, evaluate)


def evaluate(arguments: Arguments) -> int:
    """Asks what is missing; returns the command's exit code.

    Raises:
        UsageError: before any benchmark, if something about the study or a benchmark's data is wrong; or when
            its turn comes, if a checkpoint or an adapter is damaged.
        CannotWrite: if the disk is full; nothing finished is lost.
    """
    keys = arguments.keys
    folder = existing_study(arguments.names[0], keys["results"], "runs.parquet")
    names = list(dict.fromkeys(keys["benchmarks"].split(",")))
    limit = int(keys["limit"]) if keys["limit"] else None
    path = folder / ("benchmarks.csv" if limit is None else f"benchmarks_limit{limit}.csv")
    with locked(folder):
        asked, scores = candidates(folder), read_scores(path)
        missing = _missing(asked, names, scores)
        left = sum(map(len, missing.values()))
        print(f"{', '.join(names)} on {len(asked)} models: {left} of {len(asked) * len(names)} to do")
        if missing:
            _require_harness()
            _hide_bars_off_terminals()
            from study.evaluation import benchmarks, models

            for candidate in missing:
                models.check(candidate)
            specs = {
                name: PAPER.get(name, name) for name in sorted({n for ns in missing.values() for n in ns})
            }
            loaded = benchmarks.load(specs, keys["include_path"])
            device = models.available_device(keys["device"])
        for candidate, missing_names in missing.items():
            model = models.load(candidate, device, keys["batch_size"])
            for name in missing_names:
                scores.append(_score(candidate, loaded[name], model.ask(loaded[name], limit)))
                write_scores(path, scores)
                _report(candidate, scores[-1])
            model.close()
        _summarise(asked, names, scores)
        print(f"benchmarks: {path}")
    return 0


def _summarise(asked: list[Candidate], names: list[str], scores: list[Score]) -> None:
    """Prints the mean of each benchmark over the seeds of a method's learning rate, and how many they are."""
    for cell in dict.fromkeys(candidate.cell for candidate in asked if candidate.adapter):
        run_ids = {candidate.run_id for candidate in asked if candidate.cell == cell}
        for name in names:
            found = [s.score for s in scores if s.run_id in run_ids and s.benchmark == name]
            seeds = "one seed" if len(found) == 1 else f"{len(found)} seeds"
            print(f"{cell}: {name} {sum(found) / len(found):.4f}, mean of {seeds}")


def _missing(asked: list[Candidate], names: list[str], scores: list[Score]) -> dict[Candidate, list[str]]:
    """The benchmarks that have no score yet, by model; models that have all are left out."""
    done = {(score.run_id, score.model, score.precision, score.benchmark) for score in scores}
    missing = {
        each: [name for name in names if (each.run_id, each.model, each.precision, name) not in done]
        for each in asked
    }
    return {candidate: left for candidate, left in missing.items() if left}


def _require_harness() -> None:
    """Raises UsageError if the extra is not installed."""
    if importlib.util.find_spec("lm_eval") is None:
        raise UsageError("the lm-evaluation-harness is not installed: pip install 'ether-study[eval]'")


def _hide_bars_off_terminals() -> None:
    """tqdm, which the harness draws its bars with, reads this when it is imported."""
    if not sys.stderr.isatty():
        os.environ.setdefault("TQDM_DISABLE", "1")


def _score(candidate: Candidate, benchmark: Benchmark, answer: Answer) -> Score:
    of_run = ("run_id", "method", "lr", "seed", "parameters", "model", "precision")
    return Score(
        **{name: getattr(candidate, name) for name in of_run},
        benchmark=benchmark.name,
        metric=benchmark.metric,
        **dataclasses.asdict(answer),
    )


def _report(candidate: Candidate, score: Score) -> None:
    words = f"{score.metric} {score.score:.4f} (standard error {score.stderr:.4f}, {score.examples} examples)"
    print(f"{candidate.title}: {score.benchmark} {words}", flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

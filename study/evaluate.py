"""`python -m study.evaluate NAME`: benchmarks of the language models that a study has trained.

Every run whose adapter was kept, and the untouched base model, answers MMLU, ARC, TruthfulQA or any other
task of EleutherAI's lm-evaluation-harness, zero-shot. `results/NAME/benchmarks.csv` gets a row per model and
benchmark as soon as it is there; a second call does what is missing.
"""

from __future__ import annotations

import csv
import dataclasses
import importlib.util
import io
import os
import re
import shlex
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from study.cli import exits
from study.errors import UsageError, nearest
from study.storage import adapters, tables
from study.storage.files import write_atomically
from study.storage.lock import locked

if TYPE_CHECKING:
    from study.evaluation.lm_eval import Benchmark

HELP = """\
usage: python -m study.evaluate NAME_OR_FOLDER [key=value ...]

Benchmarks the runs of results/NAME whose adapters were kept (train with save_adapters=best or all), and
their untouched base model, zero-shot with EleutherAI's lm-evaluation-harness, which comes with the extra:
pip install 'ether-study[eval]'. Leaves a row per model and benchmark in results/NAME/benchmarks.csv.
Interrupt it at will: the same command does what is missing.

keys     benchmarks=mmlu,arc,tru1,tru2   those of the paper's Table 5 (default: all four): MMLU,
                                         ARC-Challenge, TruthfulQA with one and with several right answers;
                                         and any task or group of the harness, as TASK or TASK:METRIC, such
                                         as hellaswag:acc_norm
         include_path=FOLDER             tasks of your own, as the harness's YAML files
         limit=20                        a try: 20 examples per task, kept apart in benchmarks_limit20.csv
         batch_size=8                    examples at a time; auto: as many as fit
         device=cuda                     cpu | cuda | cuda:1; default: cuda if there is one

exit     0 every benchmark is there, 1 the disk is full, 2 wrong usage, 130/143 after a signal
"""

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

DEFAULTS = {
    "benchmarks": ",".join(PAPER),
    "include_path": "",
    "limit": "",
    "batch_size": "8",
    "device": "",
}

COLUMNS = {
    "run_id": "as in runs.parquet; empty for the untouched base model",
    "method": "as in runs.parquet; `base` for the base model",
    "lr": "as in runs.parquet; empty for the base model",
    "seed": "as in runs.parquet; empty for the base model",
    "parameters": "as in runs.parquet; 0 for the base model",
    "benchmark": "as asked for",
    "metric": "the harness's name of what was measured",
    "score": "as the harness gives it, accuracies in [0, 1]; nan if the model's answers are not finite",
    "stderr": "its standard error over the examples; nan if the harness knows none",
    "examples": "how many were asked",
    "model": "the base model: the run's task.model",
    "precision": "of the base model: the run's task.precision",
    "form": "what was asked: the `base` model, or it with the adapter `merged` or `adapted`",
    "harness": "version of the lm-evaluation-harness",
}
"""The columns of benchmarks.csv."""

Row = dict[str, str]


@dataclass(frozen=True)
class Candidate:
    """A model to be asked: a base model, or one with the adapter of a run.

    Attributes:
        task: the study's task, which knows where a `shipped` model is.
        adapter: folder of the adapter; None for the base model.
    """

    model: str
    precision: str
    task: str
    adapter: Path | None = None
    run_id: str = ""
    method: str = "base"
    lr: float | None = None
    seed: int | None = None
    parameters: int = 0

    @property
    def title(self) -> str:
        return f"{self.method} lr={self.lr} seed={self.seed}" if self.adapter else f"{self.model}, untouched"

    @property
    def key(self) -> tuple[str, str, str]:
        return self.run_id, self.model, self.precision


def main(arguments: list[str]) -> int:
    if not arguments or arguments[0] in ("-h", "--help"):
        print(HELP)
        return 0 if arguments else 2
    command = shlex.join(["python", "-m", "study.evaluate", *arguments])
    return exits.resumable(lambda: evaluate(arguments), command)


def evaluate(arguments: list[str]) -> int:
    """Asks what is missing; returns the command's exit code.

    Raises:
        UsageError: before any benchmark, if something about the command, the study or a benchmark's data is
            wrong; or when its turn comes, if a checkpoint or an adapter is damaged.
        CannotWrite: if the disk is full; nothing finished is lost.
    """
    folder, options = _folder(arguments[0]), _options(arguments[1:])
    names = list(dict.fromkeys(options["benchmarks"].split(",")))
    limit = int(options["limit"]) if options["limit"] else None
    path = folder / ("benchmarks.csv" if limit is None else f"benchmarks_limit{limit}.csv")
    with locked(folder):
        found, rows = candidates(folder), read(path)
        done = {(row["run_id"], row["model"], row["precision"], row["benchmark"]) for row in rows}
        missing = {each: own for each in found if (own := [n for n in names if (*each.key, n) not in done])}
        left = sum(map(len, missing.values()))
        print(f"{', '.join(names)} on {len(found)} models: {left} of {len(found) * len(names)} to do")
        if missing:
            harness = _harness()
            for candidate in missing:
                harness.check(candidate)
            wanted = {name for own in missing.values() for name in own}
            benchmarks = harness.load({n: PAPER.get(n, n) for n in sorted(wanted)}, options["include_path"])
            device = harness.device(options["device"])
        for candidate, own in missing.items():
            model = harness.ready(candidate, device, options["batch_size"])
            for name in own:
                rows.append(_row(candidate, benchmarks[name], model.ask(benchmarks[name], limit)))
                _write(path, rows)
                _report(candidate, rows[-1])
            model.close()
        print(f"benchmarks: {path}")
    return 0


def _harness() -> Any:
    """The module that needs the extra.

    Raises:
        UsageError: if it is not installed.
    """
    if importlib.util.find_spec("lm_eval") is None:
        raise UsageError("the lm-evaluation-harness is not installed: pip install 'ether-study[eval]'")
    if not sys.stderr.isatty():
        os.environ.setdefault("TQDM_DISABLE", "1")  # bars are for terminals; tqdm reads it when imported
    from study.evaluation import lm_eval as harness

    return harness


# What is asked for ----------------------------------------------------------------------------


def _folder(name: str) -> Path:
    for folder in (Path(name), Path("results") / name):
        if (folder / "runs.parquet").is_file():
            return folder
    known = sorted(path.parent.name for path in Path("results").glob("*/runs.parquet"))
    raise UsageError(f"no study {name}; {nearest(name, known) if known else 'results holds no study yet'}")


def _options(arguments: list[str]) -> dict[str, str]:
    options = dict(DEFAULTS)
    for argument in arguments:
        key, _, value = argument.partition("=")
        if not value:
            raise UsageError(f"{argument!r} is not an option; write key=value, such as limit=20")
        if key not in options:
            raise UsageError(f"unknown key {key!r}; {nearest(key, options)}")
        options[key] = value
    if not re.fullmatch(r"([1-9]\d*)?", options["limit"]):
        raise UsageError(f"limit={options['limit']}: must be a number of examples, at least 1")
    if not re.fullmatch(r"auto|[1-9]\d*", options["batch_size"]):
        raise UsageError(f"batch_size={options['batch_size']}: must be a number of examples, or auto")
    if options["include_path"] and not Path(options["include_path"]).is_dir():
        raise UsageError(f"include_path={options['include_path']}: no such folder")
    return options


def candidates(folder: Path) -> list[Candidate]:
    """The base models of the runs whose adapters were kept, then those runs in the order of the table.

    Raises:
        UsageError: if there are none, or the table is damaged.
    """
    import pandas as pd

    table = folder / "runs.parquet"
    if table in tables.damaged_tables(folder):
        raise UsageError(f"{table} is damaged; the sweep's command makes it anew")
    kept = [
        Candidate(
            model=run["task.model"],
            precision=run["task.precision"],
            task=run["task"],
            adapter=adapter,
            **{name: run[name] for name in ("run_id", "method", "lr", "seed", "parameters")},
        )
        for run in pd.read_parquet(table).to_dict("records")
        if (adapter := adapters.folder_of(folder, run["run_id"])).is_dir()
    ]
    if not kept:
        raise UsageError(
            f"{folder} has kept no adapters; train with save_adapters=best (or all) and a new name="
        )
    bases = dict.fromkeys(Candidate(run.model, run.precision, run.task) for run in kept)
    return [*bases, *kept]


# The file -------------------------------------------------------------------------------------


def read(path: Path) -> list[Row]:
    """The rows of benchmarks.csv, each value as text; none if there is no such file.

    Raises:
        UsageError: if it is not one of ours.
    """
    if not path.exists():
        return []
    with path.open(newline="") as file:
        reader = csv.DictReader(file)
        rows = list(reader)
    if list(reader.fieldnames or []) != list(COLUMNS):
        raise UsageError(f"{path} has other columns than this command writes; move it out of the way")
    return rows


def _write(path: Path, rows: list[Row]) -> None:
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, list(COLUMNS), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_atomically(path, text.getvalue().encode())


def _row(candidate: Candidate, benchmark: Benchmark, answer: dict[str, Any]) -> Row:
    known = dataclasses.asdict(candidate) | {"benchmark": benchmark.name, "metric": benchmark.metric} | answer
    return {name: "" if known[name] is None else str(known[name]) for name in COLUMNS}


def _report(candidate: Candidate, row: Row) -> None:
    score, stderr = float(row["score"]), float(row["stderr"])
    words = f"{row['metric']} {score:.4f} (standard error {stderr:.4f}, {row['examples']} examples)"
    print(f"{candidate.title}: {row['benchmark']} {words}", flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

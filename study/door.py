"""The front door for Python: studies as tables, figures and adapters, by the same code as the commands.

    import study

    s = study.load("lr_grid")
    s.robustness()
    s.figure("robustness", highlight=["ETHER+"], width="column")

Whatever cannot be done raises `study.errors.UsageError`, with the line that the commands print.
"""

from __future__ import annotations

import dataclasses
import importlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from study import methods
from study.cli.arguments import Arguments
from study.cli.studies import existing_study, study_names
from study.coordination.rerun import recorded, run_of
from study.errors import UsageError, nearest
from study.methods import external
from study.planning.runs import Run
from study.settings import GROUPS
from study.storage import adapters

if TYPE_CHECKING:
    import pandas as pd
    from peft import PeftModel

    from analysis.data.table import Study

TABLE = "runs.parquet"


def load(name: str, results: str = "results") -> OpenStudy:
    """Opens a study that has been trained.

    Args:
        name: of the study, or its folder; of a comparison too, as `compare/gain`.
        results: where studies are kept.

    Raises:
        UsageError: if there is none, with the nearest that are.
    """
    return OpenStudy(existing_study(name, results, TABLE))


def studies(results: str = "results") -> list[str]:
    """Names of the studies that can be loaded."""
    return study_names(Path(results), TABLE)


def run(sweep: str, **settings: Any) -> OpenStudy:
    """Trains what is missing of a sweep and opens it, as `python -m study.sweep` does.

        study.run("lr_grid", method=["ether", "lora"], lr=[1e-3, 1e-2], seeds=3, name="mine")
        study.run("lr_grid", **{"task.steps": 100, "method.ether.blocks": [1, 4, 16]})

    Runs that failed are in the table with their reason; the same call does only what is missing.

    Args:
        sweep: its name, as in sweeps/NAME.yaml.
        settings: overrides by key. A list makes an axis of the grid; of a key that holds a list, such as
            `task.target_modules`, it is the value, and in `seeds=[3, 7]` it names the seeds.
            `{"log": [1e-4, 1]}` is a range of a space.

    Raises:
        UsageError: before any training, if the settings cannot be used.
        CannotWrite: if the disk is full; nothing finished is lost.
    """
    from study import config
    from study.sweep import sweep as carry_out

    overrides = [f"{key}={_text(key, value)}" for key, value in settings.items()]
    chosen = config.load(sweep, overrides)
    if chosen.dry_run or chosen.prefetch or chosen.detach:
        raise UsageError("dry_run, prefetch and detach leave no study to open; use python -m study.sweep")
    carry_out(Arguments([sweep], {"cfg": ""}, overrides))
    return load(chosen.name, chosen.results)


def _text(key: str, value: Any) -> str:
    """A value as it stands behind `key=` on the command line."""
    if isinstance(value, list | tuple):
        items = ",".join(_text(key, each) for each in value)
        return f"[{items}]" if key == "seeds" or key in _list_keys() else items
    if isinstance(value, dict):  # a range of a space
        return "{" + ",".join(f"{kind}:[{_text('', ends)}]" for kind, ends in value.items()) + "}"
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    return str(value)


def _list_keys() -> set[str]:
    """The keys of a task or launcher that hold a list."""
    return {
        f"{prefix}{field.name}"
        for prefix, group in GROUPS.items()
        for field in dataclasses.fields(group)
        if prefix and field.default_factory is list
    }


@dataclass(frozen=True)
class DrawnFigure:
    """A figure of a study; a notebook shows it.

    Attributes:
        png, pdf: the figure.
        data: a CSV of what it plots.
    """

    png: Path

    @property
    def pdf(self) -> Path:
        return self.png.with_suffix(".pdf")

    @property
    def data(self) -> Path:
        return self.png.with_suffix(".csv")

    def _repr_png_(self) -> bytes:
        return self.png.read_bytes()


class OpenStudy:
    """A study that has been trained: its tables, and what follows from them.

    Args:
        folder: that holds its tables.

    Attributes:
        name: the folder's.
    """

    def __init__(self, folder: Path) -> None:
        self.folder, self.name = folder, folder.resolve().name

    def __repr__(self) -> str:
        methods_there = ", ".join(self._study.labels)
        return f"<study {self.name}: {len(self.runs)} runs of {methods_there}>"

    @cached_property
    def _study(self) -> Study:
        from analysis.data.table import load as load_tables

        return load_tables(self.folder)

    @property
    def runs(self) -> pd.DataFrame:
        """A row per run (docs/schema.md); `label` is the method, with what its variants differ in."""
        return self._study.runs

    @property
    def history(self) -> pd.DataFrame:
        """A row per run and evaluation point, with the run's label, rate and seed beside its id."""
        return self._with_run(self._study.history)

    @property
    def layers(self) -> pd.DataFrame:
        """A row per run and adapted layer, with the run's label, rate and seed beside its id."""
        return self._with_run(self._study.layers)

    def _with_run(self, table: pd.DataFrame) -> pd.DataFrame:
        return table.merge(self.runs[["run_id", "label", "lr", "seed"]], on="run_id")

    def robustness(self) -> pd.DataFrame:
        """A row per method: tuned score, sensitivity, plateaus, each with interval (`_low`, `_high`)."""
        from analysis.statistics.robustness import robustness_table

        return robustness_table(self.runs)

    def best(self, method: str) -> pd.DataFrame:
        """The runs of a method at its tuned rate, all seeds: rows of `runs`.

        Args:
            method: its name, or the label of one of its variants.

        Raises:
            UsageError: if the study has none, or several variants of it.
        """
        from study.storage.tuned import tuned_lr

        runs = self.runs
        labels = {label for label, of in self._study.method_of.items() if method in (label, of)}
        if not labels:
            raise UsageError(f"{self.name} has no method {method!r}; {nearest(method, self._study.labels)}")
        if len(labels) > 1:
            raise UsageError(f"{self.name} has several of {method}; name one: {', '.join(sorted(labels))}")
        rows = runs[runs["label"].isin(labels)]
        if not rows["valid"].notna().any():
            raise UsageError(f"{self.name} has no run of {method} with a score")
        return rows[rows["lr"] == tuned_lr(rows)].sort_values("seed")

    def run(self, run_id: str) -> Run:
        """All settings of a run, by its id or how that begins.

        Raises:
            UsageError: if there is no such run.
        """
        return run_of(recorded(self.folder, run_id))

    def command(self, run_id: str) -> str:
        """What trains a run again and says whether the result is the same.

        Raises:
            UsageError: if there is no such run.
        """
        results = self.folder.parent
        where = [] if results == Path("results") else [f"results={results}"]
        return " ".join(["python -m study.rerun", self.name, self.run(run_id).run_id, *where])

    def adapter(self, method: str, seed: int | None = None) -> PeftModel:
        """The base model with the adapter of the tuned run, as `peft` loads it, on the CPU.

        Args:
            method: as in `best`.
            seed: of those at the tuned rate; by default the first whose adapter was kept.

        Raises:
            UsageError: if no such adapter was kept.
        """
        there = adapters.saved(self.folder)
        rows = self.best(method)
        wanted = rows if seed is None else rows[rows["seed"] == seed]
        run_id = next((each for each in wanted["run_id"] if each in there), None)
        if run_id is None:
            which = f" with seed {seed}" if seed is not None else ""
            example = f"; {self.command(rows['run_id'].iloc[0])} leaves one" if len(rows) else ""
            raise UsageError(
                f"{self.name} has kept no adapter of the tuned {method}{which}; train with save_adapters=best"
                f"{example}"
            )
        from peft import PeftModel

        from study import tasks

        run = self.run(run_id)
        if run.method in external.sources():
            external.config_class(run.method)
        elif run.method in methods.own_names():
            importlib.import_module(f"study.methods.{run.method}")
        base = tasks.load(run.task).model()
        return PeftModel.from_pretrained(base, str(there[run_id]))  # type: ignore[arg-type]

    def figures(self) -> list[str]:
        """Names of the figures that can be drawn."""
        from analysis.figures.catalogue import figures_of

        return [figure.draw.__name__.removeprefix("draw_") for figure in figures_of(self._study)]

    def figure(
        self, name: str, *, highlight: Sequence[str] = (), width: str = "", order: Sequence[str] = ()
    ) -> DrawnFigure:
        """Draws a figure, as PNG, PDF and CSV, in the study's folder `figures`.

        Args:
            name: one of `figures()`.
            highlight: methods in colour, the others grey.
            width: `column` or `page`, to be printed.
            order: methods that come first.

        Raises:
            UsageError: if there is no such figure or method, or the records have nothing for it to show.
        """
        from analysis.figures.catalogue import figures_of
        from analysis.figures.look import Look, looking

        draws = dict(zip(self.figures(), [figure.draw for figure in figures_of(self._study)], strict=True))
        if name not in draws:
            raise UsageError(f"no figure {name!r}; {nearest(name, draws)}")
        look = Look(width=width, highlight=tuple(highlight), order=tuple(order)).of(self._study)
        folder = self.folder / "figures" / (width or "from_python")
        with looking(look):
            path = draws[name](self._study, folder)
        if path is None:
            raise UsageError(f"{self.name} has nothing for the figure {name} to show")
        return DrawnFigure(path)

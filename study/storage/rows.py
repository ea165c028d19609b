"""The rows of a study's tables: every column with its type and meaning, and what one run leaves behind.

A *record* is all that one run leaves: a row of `runs`, and its rows of `history` and `layers`. `RunRecord` is
the one place where a row is put together; `study.storage.schema` makes the tables' schema of these fields.
"""

from __future__ import annotations

import dataclasses
import math
import typing
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, TypeVar

from study.planning.runs import Run

RECORD_VERSION = 6

FINISHED = ("ok", "diverged")
"""Statuses of the runs that were trained and tested to their end, and so count. One that *failed* is an
accident of the infrastructure and has no score; one that was *pruned* at a rung has none on test."""

Row = TypeVar("Row", bound="Identity | Outcome | Circumstances | HistoryRow | LayerRow")


def column(meaning: str, since: int = 1, varies: bool = False, **default: Any) -> Any:
    """A field that is a column.

    Args:
        meaning: what stands in it, for the schema's page.
        since: the record version that brought it; older records have its default.
        varies: whether two runs of one command on one machine may differ in it.
    """
    return dataclasses.field(metadata={"meaning": meaning, "since": since, "varies": varies}, **default)


@dataclass(frozen=True)
class Identity:
    """Which run it is. `settings` has every hyperparameter: `method.<name>.<option>` and `task.<setting>`.

    Method options are as open as `peft` is, so `settings` is a mapping and not a dataclass.
    """

    run_id: str = column("hash of the run's canonical, resolved configuration")
    sweep: str = column("name of the sweep, as in sweeps/NAME.yaml")
    task: str = column("name of the task")
    scale: str = column("mini | paper")
    method: str = column("name of the method")
    lr: float = column("peak learning rate of the adapter")
    seed: int = column("seeds initialisation and data order")
    settings: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    @classmethod
    def of(cls, run: Run, sweep: str) -> Identity:
        task = run.task
        return cls(run.run_id, sweep, task.name, task.scale, run.method, run.lr, run.seed, run.settings())


METRIC = "metric."
"""How the columns of further metrics begin."""

LOWER_IS_BETTER = "lower_is_better"
TRADE_OFF = "trade_off"
"""The column of the further metrics of which less is better, in tables of tasks that have any."""

SHARPNESS = ("sharpness_start", "sharpness_end")
"""The columns of the largest eigenvalue of the Hessian of the training loss in the adapter's parameters, in
tables of studies with `task.sharpness=true`; nan where it was not measured, or is not finite."""

PICTURES = "pictures"
"""The column of the digest of a run's picture file, in tables of tasks that keep pictures."""


@dataclass(frozen=True)
class Outcome:
    """How a run ended, and what was measured of it.

    `further` has the task's metrics beside the primary one, on test: columns `metric.<name>`. Tasks name
    them, so it is a mapping. `lower_is_better` names those of which less is better, `trade_off` the two
    that the primary one is the harmonic mean of: columns of those names, with commas between, if there are.
    `sharpness` is that at the start and at the end, if it was measured: columns `SHARPNESS`.
    """

    status: str = column("ok | diverged | failed | pruned (since 6)")
    reason: str = column("why it diverged, failed or was pruned, empty if ok", default="")
    diverged_at: int | None = column("step at which it diverged, empty if it did not", default=None)
    metric: str = column("name of the primary metric", default="")
    higher_is_better: bool = column("direction of the primary metric", default=False)
    chance: float = column("primary metric of a guess", default=math.nan)
    base_valid: float = column("primary metric of the untouched base model on validation", default=math.nan)
    base_test: float = column("primary metric of the untouched base model on test", default=math.nan)
    valid: float = column(
        "primary metric on validation at the end, or where it was pruned; chance where not finite",
        default=math.nan,
    )
    test: float = column(
        "primary metric on test at the end; chance where not finite, nan if pruned", default=math.nan
    )
    loss_first: float = column("validation loss at step 0 (nan where not finite)", default=math.nan)
    loss_last: float = column("validation loss at the end (nan where not finite)", default=math.nan)
    steps: int = column("optimizer steps of the configuration", default=0)
    parameters: int = column("trainable parameters, heads included", default=0)
    transform_distance: float = column(
        "|T - I|_F at the end, mean over layers and sides; nan if not multiplicative", default=math.nan
    )
    weight_distance: float = column("|W' - W|_F at the end, mean over layers", default=math.nan)
    he_change: float = column(
        "HE(W') - HE(W) at the end, mean over layers (task.energy=oft: sum)", default=math.nan
    )
    parameter_growth: float = column(
        "length of the adapter's parameter vector at the end over that at step 0; nan if that was 0",
        default=math.nan,
    )
    seconds: float = column(
        "this run's share of its pack's wall time, evaluation included", varies=True, default=math.nan
    )
    step_seconds: float = column(
        "this run's share of one training step of its pack", varies=True, default=math.nan
    )
    pack_size: int = column("runs trained together", default=0)
    further: Mapping[str, float] = dataclasses.field(default_factory=dict)
    lower_is_better: tuple[str, ...] = ()
    trade_off: tuple[str, ...] = ()
    sharpness: tuple[float, float] | None = None


@dataclass(frozen=True)
class Circumstances:
    """In what surroundings a run was trained, the same for its whole pack."""

    pack_id: str = column("hash of the run_ids trained together", default="")
    attempt: int = column(
        "how often its pack was begun until it was done; 1 if undisturbed", since=2, varies=True, default=1
    )
    halved: bool = column("its pack ran out of memory and was cut in two", since=2, default=False)
    memory_mb: float = column(
        "most memory that its pack took of a GPU, in MB (2^20 bytes); nan on a CPU",
        since=3,
        varies=True,
        default=math.nan,
    )
    device: str = column("cpu, or the GPU's name", default="")
    versions: str = column(
        "study, torch, transformers, peft, diffusers where it is installed, python", default=""
    )
    git_sha: str = column("commit of the checkout, empty outside one", default="")
    git_dirty: bool = column("whether the checkout had uncommitted changes", default=False)
    record_version: int = column("version of this schema", default=RECORD_VERSION)
    data_fingerprint: str = column(
        "what the content of its data is known by; empty in older records", since=4, default=""
    )
    model_fingerprint: str = column(
        "what the content of its base model is known by; empty in older records", since=4, default=""
    )
    judge_fingerprints: str = column(
        "the same of the models that its scores are made by, of pictures that its base model drew, and of a"
        " reduced or relabelled training set, each after its setting; empty without any",
        since=4,
        default="",
    )


@dataclass(frozen=True)
class HistoryRow:
    """One run at one evaluation point; `further` as in `Outcome`, on validation."""

    step: int = column("optimizer steps done; 0 is before training")
    train_loss: float = column("mean training loss since the previous point; nan at step 0")
    valid: float = column("primary metric on validation")
    valid_loss: float = column("mean loss on validation")
    transform_distance: float = column("as in runs")
    weight_distance: float = column("as in runs")
    he_change: float = column("as in runs")
    parameter_growth: float = column("as in runs")
    further: Mapping[str, float] = dataclasses.field(default_factory=dict)


@dataclass(frozen=True)
class LayerRow:
    """One adapted layer of one run at the end, on one side."""

    layer: str = column("name of the adapted module")
    side: str = column("in | out for multiplicative methods, weight for the others")
    transform_distance: float = column("|T - I|_F of this side; nan on side `weight`")
    weight_distance: float = column("|W' - W|_F of the layer, repeated on each side")
    relative_distance: float = column("|W' - W|_F / |W|_F, repeated on each side")
    he: float = column("HE(W'), mean over pairs, repeated on each side")
    he_change: float = column("HE(W') - HE(W), repeated on each side")
    duplicates: int = column("pairs of neurons of W' in the same direction, left out of HE")


@dataclass(frozen=True)
class RunRecord:
    """All that one run leaves behind.

    Attributes:
        pictures: the digest of its picture file (`study.storage.pictures`); empty if it keeps none.
    """

    identity: Identity
    outcome: Outcome
    circumstances: Circumstances
    history: tuple[HistoryRow, ...] = ()
    layers: tuple[LayerRow, ...] = ()
    pictures: str = ""

    def row(self) -> dict[str, Any]:
        """The run's row of `runs`, by column."""
        known = vars(self.identity) | vars(self.outcome) | vars(self.circumstances)
        settings = known.pop("settings")
        kept = {name: ",".join(known.pop(name)) for name in (LOWER_IS_BETTER, TRADE_OFF)}
        kept |= {PICTURES: self.pictures}
        known |= dict(zip(SHARPNESS, known.pop("sharpness") or (), strict=False))
        return _with_metrics(known) | {name: value for name, value in kept.items() if value} | dict(settings)

    def to_json(self) -> dict[str, Any]:
        """In plain parts, of which `study.storage.records` makes columns."""
        return {
            "row": self.row(),
            "history": [_with_metrics(vars(row)) for row in self.history],
            "layers": [vars(row) for row in self.layers],
        }

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> RunRecord:
        """Reads what any version wrote; what a version did not write yet is as its column says, or empty."""
        row = content["row"]
        settings = {key: value for key, value in row.items() if key.startswith(("method.", "task."))}
        return cls(
            dataclasses.replace(_filled(Identity, row), settings=settings),
            dataclasses.replace(
                _filled(Outcome, row),
                further=_metrics_in(row),
                lower_is_better=tuple(filter(None, row.get(LOWER_IS_BETTER, "").split(","))),
                trade_off=tuple(filter(None, row.get(TRADE_OFF, "").split(","))),
                sharpness=_sharpness_in(row),
            ),
            _filled(Circumstances, row),
            tuple(
                dataclasses.replace(_filled(HistoryRow, point), further=_metrics_in(point))
                for point in content["history"]
            ),
            tuple(_filled(LayerRow, layer) for layer in content["layers"]),
            row.get(PICTURES, ""),
        )


def _with_metrics(row: dict[str, Any]) -> dict[str, Any]:
    """A row by column, with the columns of its further metrics."""
    columns = {f"{METRIC}{name}": value for name, value in row["further"].items()}
    return {name: value for name, value in row.items() if name != "further"} | columns


def _metrics_in(row: Mapping[str, Any]) -> dict[str, float]:
    return {name.removeprefix(METRIC): value for name, value in row.items() if name.startswith(METRIC)}


def _sharpness_in(row: Mapping[str, Any]) -> tuple[float, float] | None:
    start, end = (row.get(name) for name in SHARPNESS)
    return None if start is None or end is None else (start, end)


_EMPTY: dict[Any, Any] = {str: "", bool: False, int: 0, float: math.nan}


@cache
def _defaults(kind: Any) -> dict[str, object]:
    """Every column of a kind of row, with what stands in it where nothing was written."""
    types = typing.get_type_hints(kind)
    return {
        field.name: _EMPTY[types[field.name]] if field.default is dataclasses.MISSING else field.default
        for field in dataclasses.fields(kind)
        if "meaning" in field.metadata
    }


def _filled(kind: type[Row], content: Mapping[str, Any]) -> Row:
    defaults = _defaults(kind)  # type: ignore[arg-type]  # every type is hashable
    return kind(**{name: content.get(name, default) for name, default in defaults.items()})

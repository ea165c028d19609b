"""What a study is asked to do, as typed settings: a task, a launcher, a whole sweep.

The fields are what YAML files under `sweeps/` and overrides on the command line may set. What each of them
means, and which values it takes, stands beside it as an `About`; checks and documentation read it from there.
"""

from __future__ import annotations

from dataclasses import Field, dataclass, field, fields
from typing import Any, TypeVar

from omegaconf import MISSING

SAMPLERS = ("random", "qmc", "tpe", "gp")
"""Optuna's, by which trials are drawn from a space; qmc is Sobol's sequence, tpe and gp learn."""

PRUNERS = ("none", "halving", "hyperband")
"""See `study.planning.rungs`."""

SAVE_ADAPTERS = ("none", "best", "all")

TRACKERS = ("wandb", "mlflow", "trackio", "tensorboard")

MethodOptions = dict[str, Any]
"""A method's options by name: as open as `peft` is, whose configs alone know their types."""

T = TypeVar("T")


@dataclass(frozen=True)
class About:
    """What is known of one setting beside its type and default.

    Attributes:
        help: what it means, in a few words.
        above: its value must be larger.
        at_least: its value must not be smaller.
        at_most: its value must not be larger.
        choices: the values it can take; any, if there are none here.
        per_run: may differ between runs that train together in one pack; all other settings may not.
        axis: whether `a,b,c` makes it an axis of the grid; None: as its group says (`GROUPS`).
    """

    help: str
    above: float | None = None
    at_least: float | None = None
    at_most: float | None = None
    choices: tuple[str, ...] = ()
    per_run: bool = False
    axis: bool | None = None


def setting(
    default: T,
    help: str,
    *,
    above: float | None = None,
    at_least: float | None = None,
    at_most: float | None = None,
    choices: tuple[str, ...] = (),
    per_run: bool = False,
    axis: bool | None = None,
) -> T:
    """A dataclass field with this default and its `About`."""
    metadata = {"about": About(help, above, at_least, at_most, choices, per_run, axis)}
    return field(default=default, metadata=metadata)


def described(help: str, axis: bool | None = None) -> dict[str, About]:
    """The metadata of a field that needs a `default_factory`."""
    return {"about": About(help, axis=axis)}


def about(setting: Field[Any]) -> About:
    """What stands beside a setting below. Raises KeyError if the field is a group of settings."""
    return setting.metadata["about"]


@dataclass
class TaskSettings:
    """One task at one scale: base model, data, and how a run trains on it."""

    name: str = setting(MISSING, "one of the files in study/tasks", axis=False)
    scale: str = setting("mini", "mini (ships with the project) | paper", axis=False)
    model: str = setting(MISSING, "hub name, local path, or `shipped`; vtab: `shipped-width16`, 32, 64, 128")
    data: str = setting(MISSING, "a data set's hub name, a local path, or the task's own")
    subset: str | None = setting(None, "which of the task's data sets")
    kind: str | None = setting(
        None, "what labels are; null: by the rule in docs/data.md", choices=("classification", "regression")
    )
    text_column: list[str] = field(
        default_factory=list,
        metadata=described("columns of the text, or of a pair; []: by their usual names"),
    )
    label_column: str | None = setting(None, "column of what is learnt; null: by its usual name")
    train_examples: int | None = setting(
        None, "of the training split, as many of each class; the same for every run; null: all", above=0
    )
    label_noise: float | None = setting(
        None, "share of the training labels that are replaced by another class", at_least=0, at_most=1
    )
    max_length: int | None = setting(None, "tokens; null: what the task says for its data", above=0)
    target_modules: list[str] = field(
        default_factory=list, metadata=described("layers to adapt; []: each linear layer of the blocks")
    )
    steps: int = setting(MISSING, "optimizer steps", at_least=0)
    batch_size: int = setting(MISSING, "examples per optimizer step", above=0)
    eval_batch_size: int = setting(256, "examples at a time where nothing is trained", above=0)
    evaluations: int = setting(6, "points after step 0 at which score and geometry are measured", above=0)
    weight_decay: float = setting(0.0, "of AdamW", at_least=0, per_run=True)
    warmup_steps: int = setting(0, "of a linear warm-up; then cosine to zero", at_least=0)
    refit_steps: int | None = setting(
        None, "of the steps: the last ones, which train an adapter's magnitudes alone; null: none", above=0
    )
    refit_lr: float | None = setting(None, "peak rate of those steps; null: the adapter's", above=0)
    accumulate: int = setting(1, "parts of a batch that go through the model one after the other", above=0)
    gradient_checkpointing: bool = setting(False, "activations are computed again in the backward pass")
    clip: float | None = setting(None, "largest norm of one run's gradient", above=0)
    segmenter: str | None = setting(
        None, "what sees the classes in generated pictures: hub name or folder; null: the miniature's"
    )
    inception: str | None = setting(None, "file of Inception's weights, for the FID; null: none is measured")
    sampling_steps: int | None = setting(None, "of generating a picture; null: 50", above=0)
    guidance: float | None = setting(
        None, "by how much a caption's effect on a generated picture is enlarged; null: 9", at_least=1
    )
    subject_token: str | None = setting(
        None, "the word that stands for a new subject in captions and prompts; null: qwe"
    )
    class_pictures: int | None = setting(
        None,
        "of a subject's class, drawn by the untouched model and trained on beside it; null: 200; 0: none",
        at_least=0,
    )
    dino: str | None = setting(
        None,
        "whose features say how alike pictures of a subject are: hub name or folder; null: the miniature's",
    )
    clip_model: str | None = setting(
        None, "which says how well a picture fits its prompt: hub name or folder; null: the miniature's"
    )
    lpips: str | None = setting(
        None, "file of AlexNet's weights, for LPIPS between pictures; null: none is measured"
    )
    precision: str = setting("float32", "of the frozen base model", choices=("float32", "bfloat16"))
    head_lr: float | None = setting(
        None, "fixed rate of a trained head; null: the head stays frozen", above=0
    )
    head_lr_cap: float | None = setting(
        None, "instead of a fixed rate: a head trains at the adapter's, up to this", above=0
    )
    energy: str | None = setting(
        None, "oft: hyperspherical energy as OFT's code has it; null: as docs/schema.md", choices=("oft",)
    )
    sharpness: bool | None = setting(
        None, "true: the largest eigenvalue of the loss's Hessian is measured at the start and the end"
    )
    noise: float = setting(
        0.0,
        "size of a random move of the adapter before training (steps=0: instead of it)",
        at_least=0,
        per_run=True,
    )

    @property
    def trains_head(self) -> bool:
        """Whether the task's head modules are trained beside the adapter."""
        return self.head_lr is not None or self.head_lr_cap is not None

    def evaluation_steps(self) -> set[int]:
        """The numbers of finished steps after which runs are measured; the last is among them."""
        count = min(self.evaluations, self.steps)
        return {round(self.steps * (i + 1) / count) for i in range(count)}

    def head_rate(self, lr: float) -> float | None:
        """Peak rate of a head beside an adapter that trains at `lr`; None if it stays frozen."""
        return self.head_lr if self.head_lr_cap is None else min(lr, self.head_lr_cap)


@dataclass
class LauncherSettings:
    """Where jobs run: this machine (`local`) or a Slurm cluster (`slurm`), one pack per array task."""

    name: str = setting("local", "local | slurm")
    device: str | None = setting(None, "null: cuda if there is one", choices=("cpu", "cuda"))
    workers: int | None = setting(
        None, "local: processes; null: one per core or GPU that no other study uses", above=0
    )
    cuda_graphs: bool = setting(True, "a GPU replays recorded training steps, where they can be recorded")
    gpu_memory_gb: float | None = setting(
        None, "packs are no larger than fits in it, by an estimate", above=0
    )
    partition: str | None = setting(None, "Slurm's partition")
    account: str | None = setting(None, "Slurm's account")
    qos: str | None = setting(None, "Slurm's quality of service")
    constraint: str | None = setting(None, "features of the nodes, as sbatch's --constraint")
    exclude: str | None = setting(None, "nodes not to run on, as sbatch's --exclude")
    gpus_per_node: int | None = setting(None, "GPUs of one task", at_least=0)
    cpus_per_task: int = setting(1, "cores of one task", above=0)
    mem_gb: float | None = setting(None, "main memory of one task", above=0)
    timeout_min: int = setting(240, "a task's time limit; it goes on in another task after that", above=0)
    array_parallelism: int = setting(
        16, "tasks at a time; packs are cut so that all have something to do", above=0
    )
    max_array: int = setting(
        1000, "tasks per array at most; fewer where the cluster takes fewer (MaxArraySize)", above=0
    )
    setup: list[str] = field(
        default_factory=list, metadata=described("shell lines before the task, such as module load")
    )
    additional_parameters: dict[str, Any] = field(
        default_factory=dict, metadata=described("sbatch options by their name")
    )


@dataclass
class SweepSettings:
    """A study: which runs, on what, how launched, and where the results go."""

    sweep: str = setting(MISSING, "the YAML file's name under sweeps/")
    name: str = setting(
        MISSING, "folder under `results`; by default the sweep's name, and the task if it is another"
    )
    methods: list[str] = field(
        default_factory=list, metadata=described("method names; `method=` on the command line", axis=True)
    )
    lr: list[float] = field(default_factory=list, metadata=described("peak learning rates", axis=True))
    seeds: int = setting(5, "how many: 0, 1, 2, ...; or which: [3,7]", above=0)
    seed: list[int] = field(
        default_factory=list, metadata=described("these seeds alone; []: as `seeds` says", axis=True)
    )
    axes: dict[str, list[Any]] = field(
        default_factory=dict, metadata=described("further axes of the grid: values by key")
    )
    points: list[dict[str, Any]] = field(
        default_factory=list, metadata=described("settings that belong together")
    )
    space: dict[str, Any] = field(
        default_factory=dict,
        metadata=described("instead of a grid: what trials are drawn from, a range or choices by key"),
    )
    trials: int = setting(40, "drawn from a space, of each method", above=0)
    sampler: str = setting("random", "what draws the trials of a space", choices=SAMPLERS)
    sampler_seed: int = setting(0, "of the sampler", at_least=0)
    wave: int = setting(10, "sampler=tpe, gp: trials of each method that are drawn at a time", above=0)
    pruner: str = setting("none", "what ends the worse trials of a space early", choices=PRUNERS)
    reduction: int = setting(3, "pruner: one of so many trials goes on at a rung", at_least=2)
    rungs: int = setting(2, "pruner: how often a trial is judged before its end", above=0)
    method: dict[str, MethodOptions] = field(default_factory=dict, metadata=described("options by method"))
    task: TaskSettings = field(default_factory=TaskSettings)
    launcher: LauncherSettings = field(default_factory=LauncherSettings)
    pack_size: int | None = setting(None, "runs trained together; null: measured by a probe", above=0)
    checkpoint_s: float = setting(60.0, "seconds between two checkpoints of a pack in training", above=0)
    save_adapters: str = setting(
        "none",
        "none | best (all seeds of each method's tuned rate, once all its runs have ended) | all",
        choices=SAVE_ADAPTERS,
    )
    results: str = setting("results", "folder of all studies")
    detach: bool = setting(False, "launcher=slurm: submit and return; the same command attaches again")
    prefetch: bool = setting(
        False, "only load models and data once, so that nodes without internet find them"
    )
    dry_run: bool = setting(False, "print the plan, run nothing")
    retry: str | None = setting(None, "`failed`: repeat the runs that failed", choices=("failed",))
    mixed_versions: bool = setting(
        False,
        "add runs to a study that was begun with other versions of torch, transformers, peft or this project",
    )
    track: str | None = setting(
        None, "a tracker that is told of every run, from its record", choices=TRACKERS
    )
    report: bool = setting(True, "draw the learning-rate report at the end")

    @property
    def chosen_seeds(self) -> list[int]:
        """The seeds of the study: those that are named, else as many as are wanted, from 0."""
        return self.seed or list(range(self.seeds))


READ_BY_SOME_TASKS = (
    "subset", "kind", "text_column", "label_column", "max_length", "segmenter", "inception", "sampling_steps",
    "guidance", "subject_token", "class_pictures", "dino", "clip_model", "lpips",
)  # fmt: skip
"""A task's settings about data or scores of one kind; all others are read whatever the task is."""

JUDGES = ("segmenter", "inception", "dino", "clip_model", "lpips")
"""A task's settings that name a model by which scores are made: a folder, a file or a hub name."""

TRAINING_SET = ("train_examples", "label_noise")
"""A task's settings that change what is trained on, and nothing that is scored."""

GROUPS = {"": SweepSettings, "task.": TaskSettings, "launcher.": LauncherSettings}
"""The groups of settings, by what their keys begin with. A task's settings may be axes of a grid unless they
say otherwise; the others may not unless they say so."""


def settings_by_key() -> dict[str, About]:
    """What is known of every single setting, by the key that sets it: `seeds`, `task.steps`, ..."""
    return {
        f"{prefix}{each.name}": about(each)
        for prefix, group in GROUPS.items()
        for each in fields(group)
        if "about" in each.metadata
    }


def is_axis(key: str) -> bool:
    """Whether several values under this key make a grid: methods, their options, rates, a task's settings."""
    if key == "method" or key.startswith("method."):
        return True
    known = settings_by_key().get(key)
    if known is None:
        return False
    return key.startswith("task.") if known.axis is None else known.axis


def switches() -> set[str]:
    """The keys that are true or false."""
    return {
        f"{prefix}{each.name}"
        for prefix, group in GROUPS.items()
        for each in fields(group)
        if isinstance(each.default, bool)
    }


def per_run_settings() -> tuple[str, ...]:
    """Names of the task's settings that may differ within a pack."""
    return tuple(each.name for each in fields(TaskSettings) if about(each).per_run)

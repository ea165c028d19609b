"""What a study is asked to do, as typed settings: a task, a launcher, a whole sweep.

The fields are what YAML files under `sweeps/` and overrides on the command line may set.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from omegaconf import MISSING

SAVE_ADAPTERS = ("none", "best", "all")


@dataclass
class TaskSettings:
    """One task at one scale: base model, data, and how a run trains on it."""

    name: str = MISSING
    scale: str = "mini"
    model: str = MISSING  # hub name, local path, or `shipped`
    data: str = MISSING  # a data set's hub name, a local path, or the task's own
    subset: str | None = None  # which of the task's data sets
    max_length: int | None = None  # tokens; null: what the task says for its data
    target_modules: list[str] = field(default_factory=list)  # []: each linear layer of the blocks
    steps: int = MISSING
    batch_size: int = MISSING
    eval_batch_size: int = 256
    evaluations: int = 6  # points after step 0 at which score and geometry are measured
    weight_decay: float = 0.0
    warmup_steps: int = 0  # linear; then cosine to zero
    accumulate: int = 1  # parts of a batch that go through the model one after the other
    gradient_checkpointing: bool = False  # activations are computed again in the backward pass
    clip: float | None = None  # largest norm of one run's gradient
    precision: str = "float32"  # float32 | bfloat16
    head_lr: float | None = None  # fixed rate of a trained head; null: the head stays frozen
    noise: float = 0.0  # size of a random move of the adapter before training (steps=0: instead of it)


@dataclass
class LauncherSettings:
    """Where jobs run: this machine (`local`) or a Slurm cluster (`slurm`), one pack per array task."""

    name: str = "local"
    device: str | None = None  # cpu | cuda; null: cuda if there is one
    workers: int | None = None  # local: processes; null: one per core, or one per GPU
    gpu_memory_gb: float | None = None  # packs are no larger than fits in it, by an estimate
    partition: str | None = None
    account: str | None = None
    qos: str | None = None
    constraint: str | None = None
    exclude: str | None = None
    gpus_per_node: int | None = None
    cpus_per_task: int = 1
    mem_gb: float | None = None
    timeout_min: int = 240  # a task's time limit; it goes on in another task after that
    array_parallelism: int = 16  # tasks at a time; packs are cut so that all have something to do
    max_array: int = 1000  # tasks per array, as far as the cluster allows (MaxArraySize)
    setup: list[str] = field(default_factory=list)  # shell lines before the task, such as module load
    additional_parameters: dict[str, Any] = field(default_factory=dict)  # sbatch options by their name


@dataclass
class SweepSettings:
    """A whole study: which runs, on what, launched how, kept where."""

    sweep: str = MISSING
    name: str = MISSING  # folder under `results`; by default the sweep's name, and the task if it is another
    methods: list[str] = field(default_factory=list)
    lr: list[float] = field(default_factory=list)
    seeds: int = 5
    axes: dict[str, list[Any]] = field(default_factory=dict)
    points: list[dict[str, Any]] = field(default_factory=list)  # settings that belong together
    method: dict[str, dict[str, Any]] = field(default_factory=dict)
    task: TaskSettings = field(default_factory=TaskSettings)
    launcher: LauncherSettings = field(default_factory=LauncherSettings)
    pack_size: int | None = None  # runs trained together; null: found by a probe
    checkpoint_s: float = 60.0  # seconds between two checkpoints of a pack in training
    save_adapters: str = "none"  # none | best (the best run's per method) | all
    results: str = "results"
    detach: bool = False  # launcher=slurm: submit and return; the same command attaches again
    prefetch: bool = False  # only load models and data once, so that nodes without internet find them
    dry_run: bool = False
    retry: str | None = None  # `failed`: repeat the runs that failed
    report: bool = True  # draw the learning-rate report at the end

"""The tables of a study: every column, its type and its meaning, in one place.

A *record* is all that one run leaves behind. Records are gathered into three tables,
`results/<name>/runs.parquet`, `history.parquet` and `layers.parquet`, and analysis reads
those and nothing else, so column names are an interface: add, never rename.

Beside the columns below, `runs` has one `method.<name>.<option>` column per method option
(empty for the other methods' runs) and one `task.<setting>` column per task setting.
"""

RECORD_VERSION = 3

RUNS: dict[str, tuple[str, str]] = {
    "run_id": ("string", "hash of the run's canonical, resolved configuration"),
    "sweep": ("string", "name of the sweep, as in sweeps/NAME.yaml"),
    "task": ("string", "name of the task"),
    "scale": ("string", "mini | paper"),
    "method": ("string", "name of the method"),
    "lr": ("float64", "peak learning rate of the adapter"),
    "seed": ("int64", "seeds initialisation and data order"),
    "status": ("string", "ok | diverged | failed"),
    "reason": ("string", "why it diverged or failed, empty if ok"),
    "diverged_at": ("Int64", "step at which it diverged, empty if it did not"),
    "metric": ("string", "name of the primary metric"),
    "higher_is_better": ("bool", "direction of the primary metric"),
    "chance": ("float64", "primary metric of a guess"),
    "base_valid": ("float64", "primary metric of the untouched base model on validation"),
    "base_test": ("float64", "primary metric of the untouched base model on test"),
    "valid": ("float64", "primary metric on validation at the end; chance where not finite"),
    "test": ("float64", "primary metric on test at the end; chance where not finite"),
    "loss_first": ("float64", "validation loss at step 0 (nan where not finite)"),
    "loss_last": ("float64", "validation loss at the end (nan where not finite)"),
    "steps": ("int64", "optimizer steps of the configuration"),
    "parameters": ("int64", "trainable parameters, heads included"),
    "transform_distance": (
        "float64",
        "|T - I|_F at the end, mean over layers and sides; nan if not multiplicative",
    ),
    "weight_distance": ("float64", "|W' - W|_F at the end, mean over layers"),
    "he_change": ("float64", "HE(W') - HE(W) at the end, mean over layers"),
    "parameter_growth": (
        "float64",
        "length of the adapter's parameter vector at the end over that at step 0; nan if that was 0",
    ),
    "seconds": ("float64", "this run's share of its pack's wall time, evaluation included"),
    "step_seconds": ("float64", "this run's share of one training step of its pack"),
    "pack_size": ("int64", "runs trained together"),
    "pack_id": ("string", "hash of the run_ids trained together"),
    "attempt": ("int64", "how often its pack was begun until it was done; 1 if undisturbed"),
    "halved": ("bool", "its pack ran out of memory and was cut in two"),
    "memory_mb": ("float64", "most memory that its pack took of a GPU, in MB (2^20 bytes); nan on a CPU"),
    "device": ("string", "cpu, or the GPU's name"),
    "versions": ("string", "study, torch, transformers, peft, python"),
    "git_sha": ("string", "commit of the checkout, empty outside one"),
    "git_dirty": ("bool", "whether the checkout had uncommitted changes"),
    "record_version": ("int64", "version of this schema"),
}

HISTORY: dict[str, tuple[str, str]] = {
    "run_id": ("string", "as in runs"),
    "step": ("int64", "optimizer steps done; 0 is before training"),
    "train_loss": ("float64", "mean training loss since the previous point; nan at step 0"),
    "valid": ("float64", "primary metric on validation"),
    "valid_loss": ("float64", "mean loss on validation"),
    "transform_distance": ("float64", "as in runs"),
    "weight_distance": ("float64", "as in runs"),
    "he_change": ("float64", "as in runs"),
    "parameter_growth": ("float64", "as in runs"),
}

LAYERS: dict[str, tuple[str, str]] = {
    "run_id": ("string", "as in runs"),
    "layer": ("string", "name of the adapted module"),
    "side": ("string", "in | out for multiplicative methods, weight for the others"),
    "transform_distance": ("float64", "|T - I|_F of this side; nan on side `weight`"),
    "weight_distance": ("float64", "|W' - W|_F of the layer, repeated on each side"),
    "relative_distance": ("float64", "|W' - W|_F / |W|_F, repeated on each side"),
    "he": ("float64", "HE(W'), mean over pairs, repeated on each side"),
    "he_change": ("float64", "HE(W') - HE(W), repeated on each side"),
    "duplicates": ("int64", "pairs of neurons of W' in the same direction, left out of HE"),
}

TABLES = {"runs": RUNS, "history": HISTORY, "layers": LAYERS}

ADDED = {"attempt": 1, "halved": False, "memory_mb": float("nan")}
"""Columns that tables of older versions lack, and what was true of their runs."""

CIRCUMSTANCES = ("seconds", "step_seconds", "attempt", "memory_mb")
"""The only columns in which two runs of one command on one machine may differ."""

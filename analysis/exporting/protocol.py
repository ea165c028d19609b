"""How a study was made and what it cost, as the paragraph that a paper's appendix needs."""

from __future__ import annotations

import pandas as pd

from analysis.data.labels import setting_text
from analysis.data.names import label_name, metric_name
from analysis.data.studies import key_of
from analysis.data.table import Study
from analysis.reporting.number_text import number_text, rate_text


def protocol(study: Study) -> str:
    """One paragraph of plain sentences, from the records alone."""
    runs = study.runs
    counted = runs[runs["counted"]]
    task, scale, subset = key_of(study)
    names = [label_name(label, study.method_of[label]) for label in study.labels]
    rates, seeds = sorted(runs["lr"].unique()), sorted(int(seed) for seed in runs["seed"].unique())
    sentences = [
        f"We compare {_listed(names)} on {' '.join(filter(None, (task, subset)))} ({scale}"
        f"{_setting(runs, 'task.model', ', model {}')}{_setting(runs, 'task.data', ', data {}')}).",
        f"Every method is trained at {len(rates)} learning rates from {rate_text(rates[0])} to "
        f"{rate_text(rates[-1])} with {len(seeds)} seed{'s' if len(seeds) != 1 else ''} each, "
        f"{len(runs)} runs in "
        f"all{_setting(runs, 'task.steps', ', for {} steps')}"
        f"{_setting(runs, 'task.batch_size', ' at batch size {}')}"
        f"{_setting(runs, 'task.warmup_steps', ' with {} steps of warm-up and cosine decay')}.",
        "A seed fixes the initialisation and the order of the data, the same for every method.",
        "A method's tuned learning rate is the one with the best mean validation "
        f"{metric_name(str(counted['metric'].iloc[0]))} over all seeds; all scores are on test.",
        "Intervals are Student's 95 % intervals over seeds; methods are compared by paired t-tests over "
        "seeds with Holm's correction.",
        "Runs whose loss or gradient is not finite, or whose validation loss ends more than 5 % above where "
        "it began with a score no better than then, count as diverged with the score they have: "
        f"{int((runs['status'] == 'diverged').sum())} did.",
        *_failed(runs),
        _compute(counted),
        _versions(runs),
    ]
    return " ".join(filter(None, sentences))


def _compute(runs: pd.DataFrame) -> str:
    """`Training took 0.03 hours in all on cpu ...`"""
    hours = runs["seconds"].astype(float).sum() / 3600
    devices = _listed(sorted({str(device) for device in runs["device"]}))
    return (
        f"Training, evaluations included, took {number_text(hours)} device-hours in all on {devices}, each "
        "run counted with its share of the runs that were trained together."
    )


def _versions(runs: pd.DataFrame) -> str:
    commits = sorted({str(sha)[:12] for sha in runs["git_sha"] if sha})
    versions = "; ".join(sorted(set(runs["versions"])))
    return f"Software: {versions}" + (f"; commit {_listed(commits)}." if commits else ".")


def _failed(runs: pd.DataFrame) -> list[str]:
    failed, pruned = (int((runs["status"] == status).sum()) for status in ("failed", "pruned"))
    return [
        *[f"{failed} runs failed for reasons of the infrastructure and are left out."] * bool(failed),
        *[f"{pruned} runs were pruned before their end and are left out."] * bool(pruned),
    ]


def _setting(runs: pd.DataFrame, column: str, text: str) -> str:
    """The text with the values of a setting; empty where it is not known."""
    values = sorted({setting_text(value) for value in runs[column]}) if column in runs else []
    return text.format(" or ".join(values)) if values and values != ["none"] else ""


def _listed(names: list[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"

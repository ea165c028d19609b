"""What lets an adapter travel: a model card and, where `peft` does not know the method, a module to load it.

`peft` finds an adapter's classes by the name of its method, in a table that this project adds its own methods
to when they are imported. In a process that has not imported them, `PeftModel.from_pretrained` ends with
`KeyError: 'ETHER'`; `peft` has no hook that could import them. So `load_adapter.py`, beside the adapter,
imports them and then calls it, and without this project says what is needed. A method from a file of the
user's own travels with the adapter.
"""

from __future__ import annotations

import json
from pathlib import Path

from study import methods
from study.methods import external
from study.naming import is_shipped
from study.planning.runs import Run
from study.storage import adapters
from study.storage.files import write_atomically
from study.storage.rows import Outcome

LOADER = "load_adapter.py"

LOADER_TEXT = '''\
"""Loads the adapter beside this file: `model = load(base_model)`.

peft does not know the method {name} by itself; `{statement}` tells it.
"""

from pathlib import Path

from peft import PeftModel

HERE = Path(__file__).resolve().parent

try:
{imports}
except ModuleNotFoundError as error:
    raise ImportError(
        "this adapter is of the method {name}, which peft does not know by itself: install the package "
        "ether-study, then `{statement}` before PeftModel.from_pretrained"
    ) from error


def load(base_model, **options):
    """The base model with the adapter in it; options as those of PeftModel.from_pretrained."""
    return PeftModel.from_pretrained(base_model, str(HERE), **options)
'''

CARD_TEXT = """\
---
library_name: peft
{base}tags:
- {method}
- ether-study
metrics:
- {metric}
---

# {title}

An adapter that [peft](https://huggingface.co/docs/peft) loads, trained by ether-study.

| | |
|---|---|
{rows}

## Loading it

```python
{code}
```

{words}

## Training it again

```bash
python -m study.rerun {study} {run_id}
```
"""


def write(folder: Path, run: Run, outcome: Outcome) -> None:
    """Puts card and loader beside the adapter that a run has just left.

    Args:
        folder: the study's.

    Raises:
        CannotWrite: if the disk is full.
    """
    here = adapters.new_folder(folder, run)
    if source := external.files().get(run.method):
        write_atomically(here / source.name, source.read_bytes())
    if loader := _loader(run.method):
        write_atomically(here / LOADER, loader.encode())
    write_atomically(here / "README.md", card(folder, run, outcome, bool(loader)).encode())


def _loader(method: str) -> str:
    """The module's text; empty for a method of `peft`'s."""
    if path := external.files().get(method):
        statement = f"external.offer({method!r}, HERE / {path.name!r}); external.config_class({method!r})"
        lines = ["from study.methods import external", "", *statement.split("; ")]
        statement = f"from study.methods import external; {statement}"
    elif path := external.sources().get(method):
        statement = f"from study.methods import external; external.config_class({method!r})"
        lines = statement.split("; ")
    elif method in methods.own_names():
        lines = [statement := f"import study.methods.{method}"]
    else:
        return ""
    imports = "\n".join(f"    {line}" if line else "" for line in lines)
    return LOADER_TEXT.format(name=method.upper(), statement=statement.replace('"', "'"), imports=imports)


def card(folder: Path, run: Run, outcome: Outcome, has_loader: bool) -> str:
    """The model card in Markdown, with the header that the hub reads."""
    task, options = run.task, {k: v for k, v in run.options.items() if k != external.SOURCE}
    on_hub = "/" in task.model and not Path(task.model).expanduser().exists()
    data = " ".join(filter(None, [task.data, task.subset]))
    facts = {
        "method": run.method,
        "options": ", ".join(f"{key}={value}" for key, value in options.items()) or "the method's own",
        "task": f"{task.name} ({task.scale}), data {data}",
        "base model": f"`{task.model}`"
        if not is_shipped(task.model)
        else f"`{task.model}`, ships with ether-study, task {task.name}",
        "peak learning rate": f"{run.lr:g}",
        "seed": str(run.seed),
        "steps, batch": f"{task.steps}, {task.batch_size}",
        "parameters": f"{outcome.parameters:,}",
        f"{outcome.metric} on test": f"{outcome.test:.4g} (untouched base model: {outcome.base_test:.4g})",
        f"{outcome.metric} on validation": f"{outcome.valid:.4g}",
        "status": " ".join(filter(None, [outcome.status, outcome.reason])),
        "run": f"`{run.run_id}`",
    }
    rows = "\n".join(f"| {name} | {_cell(value)} |" for name, value in facts.items())
    if has_loader:
        code = "from load_adapter import load  # the module beside this card\n\nmodel = load(base_model)"
        words = (
            "`load_adapter.py` makes the method known to peft, which needs the package `ether-study`; in a "
            "process that has not, `PeftModel.from_pretrained` ends with a `KeyError`."
        )
    else:
        code = (
            "from peft import PeftModel\n\n"
            "model = PeftModel.from_pretrained(base_model, PATH)  # of this card's folder"
        )
        words = "`peft` knows the method by itself."
    return CARD_TEXT.format(
        base=f"base_model: {json.dumps(task.model)}\n" if on_hub else "",
        method=json.dumps(run.method),
        metric=outcome.metric,
        title=f"{run.title}, lr {run.lr:g}, seed {run.seed}",
        rows=rows,
        code=code,
        words=words + " `base_model` is the model that the table names, as `transformers` loads it.",
        study=folder.name,
        run_id=run.run_id,
    )


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")

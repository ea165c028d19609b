"""Whole command lines: what is refused is one line and exit code 2, leaves nothing, and loads no torch."""

from __future__ import annotations

import importlib
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

REFUSED = [
    ("study.sweep lr_gird", "unknown sweep 'lr_gird'; nearest: lr_grid"),
    ("study.sweep results/lr_grid", "unknown sweep 'results/lr_grid'; nearest: lr_grid"),
    ("study.sweep seeds=3", "no sweep given; name one of:"),
    ("study.sweep lr_grid blocks", "'blocks' is not an override; write key=value"),
    ("study.sweep lr_grid dry_run=True,False", "dry_run takes one value: it is not an axis of the grid"),
    ("study.sweep lr_grid --results", "--results needs a value"),
    ("study.sweep lr_grid --baseline lora", "unknown key 'baseline'"),
    ("study.sweep lr_grid --multirun", "--multirun: leave it out"),
    ("study.sweep lr_grid 'lr=interval(1e-4,1e-1)'", "say how many: lr=1e-4..1e-1:7"),
    ("study.sweep lr_grid lr=0,001", "a decimal comma makes two values"),
    ("study.sweep lr_grid method=lora method.lora.r=4.5", "method lora: r=4.5 must be a whole number"),
    ("study.sweep lr_grid method=lora method.lora.r=4,-1", "method lora: r=-1 must be positive"),
    ("study.sweep lr_grid method=adalora", "method adalora cannot be trained here"),
    ("study.sweep lr_grid method=lora method.hra.r=4", "method.hra.r=4 reaches no run"),
    ("study.sweep lr_grid 'name=a\nb' seeds=0", "seeds=0 must be positive"),
    ("study.sweep lr_grid 'seeds=a\nb'", "seeds=a"),
    ("study.compare seeds=2", "no method to compare; name one"),
    ("study.compare peft:HRA r=4", "r=4: an option goes with its method, after a comma: peft:HRA,r=4"),
    ("study.compare h=peft:HRA,apply_GS=true rank=4", "after a comma: h=peft:HRA,apply_GS=true,r=4"),
    ("study.compare peft:HRA,r=4.5", "method peft:HRA: r=4.5 must be a whole number"),
    ("study.compare peft:HRA,r=-1", "method peft:HRA: r=-1 must be positive"),
    ("study.compare ether,blocks=many", "method ether: blocks=many must be a whole number"),
    ("study.compare adalora", "method adalora cannot be trained here"),
    ("study.compare DoRA", "unknown method 'DoRA'; write lora,use_dora=true"),
    ("study.compare peft:DoRA", "the installed peft has no tuner 'DoRA'; write lora,use_dora=true"),
    ("study.compare ETHER", "unknown method 'ETHER'; nearest: ether"),
    ("study.compare ether", "ether is the baseline; name another method, or another baseline=METHOD"),
    ("study.compare hra hra", "hra stands there twice"),
    ("study.compare hra hra,r=4", "two methods are called hra; give one a LABEL=, as in hra2=hra,r=4"),
    ("study.compare a=hra b=peft:HRA", "a and b are the same, options included; nothing to compare"),
    ("study.compare hra sweep=glue_paper", "sweep glue_paper has points for other methods than hra"),
    ("study.compare hra --baseline ehter", "unknown method 'ehter'; nearest: ether"),
    ("study.compare hra learning_rate=3", "unknown key 'learning_rate'; nearest: lr"),
    ("study.compare hra batch_size=3", "unknown key 'batch_size'; nearest: task.batch_size"),
    ("study.compare hra seeds=1,2", "seeds takes one value"),
    ("study.compare missing.py", "missing.py: no such file"),
    ("study.compare --check missing.py", "missing.py: no such file"),
    ("study.compare missing.py --check", "missing.py: no such file"),
    ("study.status nope", "no study results/nope; results holds no study yet"),
    ("study.status results/nope", "no study results/nope"),
    ("study.status nope --results here", "no study here/nope; here holds no study yet"),
    ("study.rerun nope 12fe", "no study results/nope"),
    ("study.rerun nope", "give a study and a run"),
    ("study.sweep lr_grid seed=a", "seed=a: a seed is a whole number"),
    ("study.sweep lr_grid seed=-1", "seed=-1 must be zero or more"),
    ("study.sweep lr_grid seed=3,3", "seed repeats 3"),
    ("study.sweep lr_grid seed=3 seeds=4", "give one, how many seeds or which"),
    ("study.sweep lr_grid seeds=[]", "seeds=[]: it is empty"),
    ("study.cli.completion csh", "no completion for csh; there is one for: bash, zsh, fish"),
    ("study.__main__ swep", "unknown command 'swep'; nearest: sweep"),
    ("study.__main__ lr_grid", "it is a sweep: ether-study sweep lr_grid"),
    ("study.__main__ sweep lr_gird", "unknown sweep 'lr_gird'; nearest: lr_grid"),
    ("study.evaluate nope", "no study results/nope"),
    ("study.evaluate nope --results=here", "no study here/nope"),
    ("analysis.report nope", "no results in results/nope"),
    ("analysis.report nope results=here", "no results in here/nope"),
    ("analysis.compare nope --results here", "no results in here/nope"),
    ("analysis.compare compare/nope", "no results in results/compare/nope"),
    ("analysis.paper", "results=results: no such folder"),
    ("analysis.paper --results here", "results=here: no such folder"),
]  # fmt: skip


@pytest.mark.parametrize("line,message", REFUSED)
def test_refused(
    line: str,
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    module, *arguments = shlex.split(line)
    main = importlib.import_module({"analysis.paper": "analysis.paper.report"}.get(module, module)).main
    code = main(arguments)
    err = capsys.readouterr().err
    assert code == 2 and err.startswith("error: ") and err.count("\n") == 1, err
    assert message in err
    assert not list(tmp_path.iterdir()), "something was created"


def test_refusals_load_no_torch(tmp_path: Path) -> None:
    lines = [line for line, _ in REFUSED if line.startswith(("study.sweep", "study.compare", "study.status"))]
    code = (
        "import importlib, shlex, sys\n"
        f"for line in {lines!r}:\n"
        "    module, *arguments = shlex.split(line)\n"
        "    assert importlib.import_module(module).main(arguments) == 2, line\n"
        "    assert not {'torch', 'pandas'} & set(sys.modules), line\n"
    )
    result = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr[-2000:]


@pytest.mark.parametrize("line", [
    "lr_grid method=ether lr=1e-3,1e-2 seeds=2 dry_run=true results=here",
    "lr_grid --method ether --lr 1e-3,1e-2 --seeds 2 --dry-run --results here",
    "--dry_run sweeps/lr_grid.yaml --method=ether --lr=1e-3..1e-2:2 --seeds=2 --results=here",
    "lr_grid methods=[ether] 'lr=logspace(-3,-2,2)' seeds=2 dry_run=yes results=here",
])  # fmt: skip
def test_one_plan_in_every_way_to_write_it(
    line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from study.sweep import main

    monkeypatch.chdir(tmp_path)
    assert main(shlex.split(line)) == 0
    out = capsys.readouterr().out
    assert "lr_grid: vtab (mini), 4 runs, results in here/lr_grid" in out
    assert not list(tmp_path.iterdir())

"""`analysis.report` of several studies: ranks and rates that travel, or one line."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
from support.records import synthetic
from support.records.synthetic import hill

from analysis.report import main


@pytest.fixture
def results(tmp_path: Path) -> Path:
    """Two grids: the digits and topics, on which LoRA's best rate is ten times higher."""
    curves = {"ether": hill(-2, 6), "lora": hill(-2, 1)}
    synthetic.write(tmp_path / "lr_grid", synthetic.records(curves, seeds=3))
    moved = curves | {"lora": hill(-1, 1)}
    topic = synthetic.records(moved, seeds=3, task="glue", **{"task.subset": "topic"})
    synthetic.write(tmp_path / "lr_grid_glue_topic", topic)
    return tmp_path


def test_several_names_make_one_report(results: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = results / "across"
    assert main(["lr_grid", "lr_grid_glue_topic", f"results={results}", f"out={out}"]) == 0
    assert str(out / "report.html") in capsys.readouterr().out
    table = pd.read_csv(out / "transfer.csv").set_index("label")
    assert table.loc["ether", "regret"] < 0.05 < 0.5 < table.loc["lora", "regret"]
    assert {"transfer.csv", "profile.csv", "ranks.csv"} <= {path.name for path in (out / "figures").iterdir()}
    html = (out / "report.html").read_text()
    assert "LoRA: a rate tuned on one task loses" in html and "glue topic" in html


@pytest.mark.parametrize(
    "arguments,said",
    [
        (["lr_grid", "lr_grid_glue_topic", "export=latex"], "export=latex is of one study"),
        (["lr_grid", "lr_grid"], "are both of vtab; give one for each task"),
        (["lr_grid", "nothing"], "no results in"),
    ],
)
def test_what_cannot_be_is_said_in_one_line(
    arguments: list[str], said: str, results: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*arguments, f"results={results}", f"out={results / 'across'}"]) == 2
    assert said in capsys.readouterr().err and not (results / "across").exists()

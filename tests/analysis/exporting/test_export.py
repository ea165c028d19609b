"""Exports: the numbers of the report in LaTeX, Markdown and CSV, the protocol, and references."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pandas as pd
import pytest
from support.records import synthetic
from support.records.synthetic import hill

from analysis.data.studies import split
from analysis.exporting.bibliography import REFERENCES, bibliography
from analysis.exporting.formats import latex_text
from analysis.exporting.protocol import protocol
from analysis.exporting.results_table import results_table
from analysis.report import main

CURVES = {
    "ether": hill(-2, 4, 0.9, noise=0.01),
    "lora": hill(-2, 1, 0.6, noise=0.01),
    "my_50%_$x$": hill(-2, 4, 0.9, noise=0.012),
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = synthetic.records(CURVES, seeds=5, seconds=36.0)
    made[3]["row"]["status"] = "diverged"
    return synthetic.write(tmp_path / "s", made)


def test_the_best_is_marked_and_who_is_worse(folder: Path) -> None:
    (study,) = split(folder)
    rows = {row.label: row for row in results_table(study).rows}
    assert [row.score.is_best for row in rows.values()].count(True) == 1 and rows["lora"].score.is_worse
    assert rows["lora"].sensitivity.is_worse and not any(
        r.score.is_best and r.score.is_worse for r in rows.values()
    )
    tuned = study.runs[(study.runs["method"] == "lora") & (study.runs["lr"] == 1e-2)]["test"]
    half = 2.776445 * tuned.std() / 5**0.5  # Student's t with four degrees of freedom
    figure = rows["lora"].score
    assert (figure.value, figure.high) == (pytest.approx(tuned.mean()), pytest.approx(tuned.mean() + half))


def test_latex_is_booktabs_and_escapes_names(folder: Path) -> None:
    assert main(["s", f"results={folder.parent}", "--export", "latex"]) == 0
    text = (folder / "export" / "s.tex").read_text()
    rows = re.findall(r"^    (.*) \\\\$", text, re.MULTILINE)
    assert len(rows) == 4 and all(row.count(" & ") == 6 for row in rows)
    assert r"\toprule" in text and r"\bottomrule" in text and text.count(r"\textbf{") == 2
    assert r"my\_50\%\_\$x\$ &" in text and r"LoRA~\citep{hu2022lora}" in text and "$^{*}$" in text
    for opened, closed in (("{", "}"), (r"\begin", r"\end")):
        assert text.replace(r"\{", "").count(opened) == text.replace(r"\}", "").count(closed)
    references = (folder / "export" / "methods.bib").read_text()
    for key in re.findall(r"\\citep\{(.*?)\}", text):
        assert f"{{{key}," in references
    assert "% No reference is known here of: my_50%_$x$" in references
    assert latex_text("a_b & 5 % \\ ≥") == r"a\_b \& 5 \% \textbackslash{} $\ge$"


@pytest.mark.skipif(not shutil.which("pdflatex"), reason="no TeX on this machine")
def test_latex_compiles_and_fits_the_text(folder: Path) -> None:
    assert main(["s", f"results={folder.parent}", "--export", "latex"]) == 0
    (folder / "export" / "paper.tex").write_text(
        r"\documentclass{article}\usepackage{booktabs,graphicx}\usepackage[numbers]{natbib}\begin{document}"
        r"\input{s.tex}\bibliographystyle{plainnat}\bibliography{methods}\end{document}"
    )
    pdflatex = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "paper.tex"]
    for command in (pdflatex, ["bibtex", "paper"], pdflatex, pdflatex):
        done = subprocess.run(command, cwd=folder / "export", capture_output=True, text=True)
        assert done.returncode == 0, done.stdout
    assert "Overfull" not in done.stdout and "undefined" not in done.stdout


def test_markdown_and_csv_have_the_same_rows(folder: Path) -> None:
    for form in ("markdown", "csv"):
        assert main(["s", f"results={folder.parent}", "--export", form]) == 0
    lines = [line for line in (folder / "export" / "s.md").read_text().splitlines() if line.startswith("|")]
    table = pd.read_csv(folder / "export" / "s.csv")
    assert len(lines) == 2 + len(table) == 5
    assert table["name"].tolist() == [line.split("|")[1].strip() for line in lines[2:]]
    assert f"{table['score'][1]:.3f}" in lines[3] and "\\*" in lines[3]


def test_the_protocol_counts_runs_and_compute(folder: Path) -> None:
    (study,) = split(folder)
    text = protocol(study)
    assert "75 runs in all" in text and "5 learning rates from 0.0001 to 1 with 5 seeds each" in text
    assert "took 0.750 device-hours" in text  # 75 runs of 36 s
    assert "count as diverged with the score they have: 1 did." in text and "for 10 steps" in text


def test_a_folder_of_several_studies_has_a_table_for_each(tmp_path: Path) -> None:
    made = []
    for subset in ("topic", "similarity"):
        rows = synthetic.records({"ether": hill(-2, 2), "lora": hill(-2, 1)}, seeds=3)
        for record in rows:
            record["row"] |= {
                "task": "glue",
                "task.subset": subset,
                "run_id": f"{subset}{record['row']['run_id']}",
            }
        made += rows
    folder = synthetic.write(tmp_path / "s", made)
    assert main(["s", f"results={tmp_path}", "export=latex"]) == 0
    text = (folder / "export" / "s.tex").read_text()
    assert text.count(r"\begin{table}") == 2 and r"\label{tab:s-glue-topic}" in text


def test_references_are_well_formed_and_each_is_given_once() -> None:
    text = bibliography(REFERENCES)
    keys = re.findall(r"@\w+\{(\w+),", text)
    assert len(keys) == len(set(keys)) == len({reference.key for reference in REFERENCES.values()})
    assert text.count("{") == text.count("}") and len(re.findall(r"eprint = \{\d{4}\.\d{5}\}", text)) == len(
        keys
    )


def test_an_unknown_format_is_said_in_one_line(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["s", f"results={folder.parent}", "export=word"]) == 2
    assert capsys.readouterr().err.strip().count("\n") == 0

"""Figures and report: files, what they hold, escaping, and the page in a real browser."""

from __future__ import annotations

import json
import math
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from support.records import synthetic
from support.records.synthetic import LRS, hill

from analysis.data.table import load
from analysis.figures.style import method_styles
from analysis.report import draw, main
from analysis.reporting.summary import summary
from analysis.statistics.robustness import robustness_table

FIGURES = ("robustness", "tuning_cost", "convergence", "distances", "he_training")
BROWSER = shutil.which("chromium") or shutil.which("google-chrome")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A drawn study with a method that packs a hostile name, a diverged and a failed run."""
    made = synthetic.records({"ether": hill(-2, 2, noise=0.02), "lora": hill(-3, 1, noise=0.02)}, seeds=3)
    row = made[7]["row"]
    row |= {"status": "diverged", "reason": "<script>alert(1)</script> not finite in step 3", "valid": 0.1}
    made[-1]["row"] |= {"status": "failed", "reason": "out of & memory", "valid": math.nan, "test": math.nan}
    for record in made:
        if record["row"]["method"] == "lora":
            record["row"]["transform_distance"] = math.nan
    made[20]["row"]["weight_distance"] = math.inf
    folder = synthetic.write(tmp_path_factory.mktemp("results") / "study", made)
    draw(folder)
    return folder


def test_every_figure_comes_as_png_pdf_and_csv(folder: Path) -> None:
    for name in FIGURES:
        assert Image.open(folder / "figures" / f"{name}.png").size[0] > 700
        assert (folder / "figures" / f"{name}.pdf").read_bytes().startswith(b"%PDF")
    assert len(list((folder / "figures").iterdir())) == 5 * len(FIGURES)  # .svg and .json, too


def test_the_csv_holds_what_is_plotted(folder: Path) -> None:
    plotted = pd.read_csv(folder / "figures" / "robustness.csv")
    runs = load(folder).runs
    cell = runs[(runs["method"] == "ether") & (runs["lr"] == 1e-2)]["test"]
    row = plotted.query("label == 'ether' and lr == 0.01 and split == 'test'").iloc[0]
    half = 4.302653 * cell.std() / math.sqrt(3)  # Student's t with two degrees of freedom
    assert row["mean"] == pytest.approx(cell.mean())
    assert (row["low"], row["high"]) == (pytest.approx(cell.mean() - half), pytest.approx(cell.mean() + half))


@pytest.mark.slow
def test_drawing_again_from_records_alone_gives_the_same_files(folder: Path) -> None:
    def contents() -> dict[str, bytes]:
        files = [p for p in folder.rglob("*") if p.suffix in (".csv", ".png", ".html", ".pdf")]
        return {str(p): p.read_bytes() for p in files}

    before = contents()
    assert main(["study", "--results", str(folder.parent)]) == 0
    assert contents() == before


def test_the_report_is_one_file_that_names_every_accident_and_escapes_it(folder: Path) -> None:
    page = (folder / "report.html").read_text()
    assert "<script>alert(1)" not in page and "&lt;script&gt;alert(1)" in page
    assert "out of &amp; memory" in page and "lora-1-2" in page
    assert page.count('src="data:image/svg+xml,') == page.count('class="chart"') == len(FIGURES)
    assert "1 runs diverged." in page and "1 runs failed." in page
    assert "study 0" in page and "abc" in page and "method.ether.blocks" in page


def test_the_summary_says_what_the_table_says() -> None:
    class Study:
        def __init__(self, curves: dict) -> None:
            self.runs = synthetic.runs(curves)
            self.labels = list(curves)
            self.method_of = {name: name for name in curves}

    texts = []
    for curves in (
        {"ether": hill(-2, 3), "lora": hill(-2, 0.7)},
        {"ether": hill(-2, 0.7), "lora": hill(-2, 3)},
    ):
        study = Study(curves)
        texts.append(" ".join(summary(study, robustness_table(study.runs))))  # type: ignore[arg-type]
    assert "ETHER has the widest plateau" in texts[0] and "LoRA has the widest plateau" in texts[1]


@pytest.mark.slow
@pytest.mark.parametrize("case", ["one seed", "one rate", "twelve methods", "lower is better", "no geometry"])
def test_unusual_studies_are_drawn(case: str, tmp_path: Path) -> None:
    curves = {"ether": hill(-2, 2), "lora": hill(-2, 1)}
    made = {
        "one seed": lambda: synthetic.records(curves, seeds=1),
        "one rate": lambda: synthetic.records(curves, [1e-3]),
        "twelve methods": lambda: synthetic.records({f"m{i}": hill(-2, 2) for i in range(12)}, seeds=2),
        "lower is better": lambda: synthetic.records(curves, higher_is_better=False, metric="perplexity"),
        "no geometry": lambda: synthetic.records(
            curves, transform_distance=math.nan, weight_distance=math.nan, he_change=math.nan
        ),
    }[case]()
    report = draw(synthetic.write(tmp_path / "study", made))
    assert report.stat().st_size > 50_000


def test_styles_are_distinct_and_fixed_for_the_papers_methods() -> None:
    labels = ["ether", "ether_plus", "lora", "oft", "naive", *(f"m{i}" for i in range(7))]
    styles = method_styles(labels, {label: label for label in labels})
    assert len({(style.colour, style.marker) for style in styles.values()}) == len(labels)
    assert styles["ether_plus"].name == "ETHER+"
    assert method_styles(["ether"], {"ether": "ether"})["ether"] == styles["ether"]


def test_wrong_usage_is_one_line_and_exit_code_two(study_command: Callable, tmp_path: Path) -> None:
    result = study_command("analysis.report", "nothing")
    assert result.returncode == 2 and len(result.stderr.strip().splitlines()) == 1
    assert "python -m study.sweep" in result.stderr


@pytest.mark.skipif(BROWSER is None, reason="no Chromium on this machine (apt-get install chromium)")
def test_the_report_in_a_real_browser(folder: Path, tmp_path: Path) -> None:
    """Opened headless: it paints, and its table sorts when a heading is clicked."""
    page = (folder / "report.html").read_text()
    click = (
        "<script>document.querySelectorAll('#robustness-table th button')[1].click();"
        "document.title = JSON.stringify([...document.querySelectorAll('#robustness-table tbody tr')]"
        ".map(r => r.cells[1].dataset.value));</script></body>"
    )
    probe = tmp_path / "probe.html"
    probe.write_text(page.replace("</body>", click))
    flags = [
        "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
        "--disable-background-networking", "--disable-component-update", "--disable-sync",
        f"--user-data-dir={tmp_path / 'profile'}",
    ]  # fmt: skip
    picture = tmp_path / "report.png"
    subprocess.run(
        [str(BROWSER), *flags, "--window-size=1200,2400", f"--screenshot={picture}", folder / "report.html"],
        check=True, capture_output=True, timeout=60,
    )  # fmt: skip
    pixels = np.asarray(Image.open(picture).convert("RGB"))
    assert pixels.shape[:2] == (2400, 1200) and len(np.unique(pixels.reshape(-1, 3), axis=0)) > 500
    dumped = subprocess.run(
        [str(BROWSER), *flags, "--dump-dom", probe], check=True, capture_output=True, text=True, timeout=60
    ).stdout
    title = dumped.split("<title>")[1].split("</title>")[0].replace("&quot;", '"')
    values = [float(value) for value in json.loads(title)]
    assert len(values) == 2 and values == sorted(values, reverse=True)
    assert 'aria-sort="descending"' in dumped
    assert len(LRS) == 5


def test_a_run_that_is_not_finite_is_counted_and_leaves_no_mean(folder: Path) -> None:
    plotted = pd.read_csv(folder / "figures" / "distances.csv")
    hit = plotted[plotted["not_finite"] > 0]
    assert hit[["label", "lr", "not_finite"]].to_dict("records") == [
        {"label": "lora", "lr": load(folder).runs.query("weight_distance == inf")["lr"].item(),
         "not_finite": 1}
    ]  # fmt: skip
    assert hit["mean"].isna().all() and plotted["mean"].notna().sum() == len(plotted) - 1


@pytest.mark.slow
def test_names_with_dollar_signs_are_no_formula(tmp_path: Path) -> None:
    page = draw(
        synthetic.write(tmp_path / "s", synthetic.records({"my$x_$": hill(-2, 2)}, seeds=2))
    ).read_text()
    assert "my$x_$" in page


def test_the_summary_admits_overlap_cut_windows_and_empty_methods(tmp_path: Path) -> None:
    made = synthetic.records({"ether": hill(-1, 2, noise=0.05), "lora": hill(-1, 2.01, noise=0.05)})
    lost = synthetic.records({"oft": hill(-1, 2)}, status="failed", valid=math.nan, test=math.nan)
    study = load(synthetic.write(tmp_path / "s", made + lost))
    text = " ".join(summary(study, robustness_table(study.runs)))
    assert "its interval overlaps that of" in text
    assert "The grid ends inside that window for ETHER, LoRA" in text
    assert "Every run failed, so there is no figure, for OFT." in text

"""A comparison's report: files, what they say, escaping, and the page in a real browser."""

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
from support.records.comparisons import BASE, LRS, diverge, judged, of, pair, write
from support.records.synthetic import hill

from analysis.compare import draw, main, page, tables
from analysis.comparison.compared import read
from analysis.comparison.pareto import draw_pareto
from analysis.comparison.table import comparison_table
from analysis.reporting.page import Picture

BROWSER = shutil.which("chromium") or shutil.which("google-chrome")
PICTURES = ("pareto", "robustness", "tuning_cost", "convergence", "distances", "he_training")


def page_of(folder: Path) -> str:
    """The page with a stand-in for every picture but the first."""
    study = read(folder)
    drawn = draw_pareto(study, folder / "figures")
    other = drawn.with_name("robustness.png")
    other.write_bytes(b"")
    return page(study, tables(study), [Picture(drawn, ""), Picture(other, "")])


def test_one_seed_decides_nothing_and_says_so(tmp_path: Path) -> None:
    verdicts = judged(tmp_path / "s", pair(hill(-2.2, 4, 0.9), seeds=1))
    assert verdicts["score"][0] == verdicts["robustness"][0] == "no decision possible"
    assert "one seed" in verdicts["score"][1]
    assert verdicts["robustness"][1].startswith("No decision is possible")
    html = page_of(tmp_path / "s")
    assert "With one seed there is no verdict" in html and "the same command with seeds=5" in html
    assert "there are no intervals" in html and "In simulations" not in html
    rows = html.split('id="comparison-table"')[1].split("</table>")[0]
    assert rows.count("<td>–</td>") == 8 and rows.count(">no decision possible<") == 4
    assert not any(word in rows for word in ("nan", "inf", "NaN"))
    assert comparison_table(read(tmp_path / "s"))[["low", "high", "p"]].isna().all(axis=None)


def test_a_missing_seed_and_a_failed_run_leave_out_what_needs_them(tmp_path: Path) -> None:
    made = [r for r in pair(hill(-2.2, 2, 0.85, noise=0.02)) if r["row"]["run_id"].split("-")[-1] != "4"
            or r["row"]["method"] == "ether"]  # fmt: skip
    far = next(row for row in of(made, "hra") if row["lr"] == LRS[0] and row["seed"] == 2)
    far |= {"status": "failed", "reason": "out of memory", "test": math.nan, "valid": math.nan}
    study = read(write(tmp_path / "s", made))
    seeds = comparison_table(study).set_index("quantity")["seeds"]
    assert seeds.to_dict() == {"tuned_test": 4, "regret_window": 4, "plateau_10": 3, "divergence_rate": 3}
    html = page_of(tmp_path / "s")
    assert "1 runs failed." in html and "10 runs that were planned are missing" in html


def test_wrong_usage_is_one_line_and_exit_code_two(study_command: Callable, tmp_path: Path) -> None:
    result = study_command("analysis.compare", "nothing")
    assert result.returncode == 2 and len(result.stderr.strip().splitlines()) == 1


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A drawn comparison of two methods with the baseline, one of a hostile name."""
    made = synthetic.records({"ether": BASE, "a<b>$x_$": hill(-2, 3, 0.9, noise=0.02), "boft": BASE}, LRS, 3)
    diverge(of(made, "boft"), 0.2)
    folder = write(tmp_path_factory.mktemp("results") / "study", made)
    draw(folder)
    return folder


def test_everything_is_drawn_and_again_the_same(folder: Path) -> None:
    def contents() -> dict[str, bytes]:
        return {str(p): p.read_bytes() for p in folder.rglob("*") if p.is_file()}

    before = contents()
    for name in PICTURES:
        assert Image.open(folder / "figures" / f"{name}.png").size[0] > 700
        assert {p.suffix for p in (folder / "figures").glob(f"{name}.*")} == {
            ".png", ".pdf", ".svg", ".csv", ".json"
        }  # fmt: skip
    front = pd.read_csv(folder / "figures" / "pareto.csv")
    assert front.groupby("quantity").size().tolist() == [3, 3] and front["optimal"].sum() == 2
    assert len(pd.read_csv(folder / "verdicts.csv")) == 6 and len(pd.read_csv(folder / "comparison.csv")) == 8
    assert main([str(folder)]) == 0
    assert contents() == before


def test_the_page_needs_nothing_else_and_escapes_names(folder: Path) -> None:
    html = (folder / "report.html").read_text()
    assert "a<b>" not in html and "a&lt;b&gt;$x_$" in html and "compare it" in html
    assert html.count('src="data:image/svg+xml,') == len(PICTURES)
    assert "paired t-test with 2 degrees of freedom" in html and "(Holm 1979)" in html


@pytest.mark.skipif(BROWSER is None, reason="no Chromium on this machine (apt-get install chromium)")
def test_the_report_in_a_real_browser(folder: Path, tmp_path: Path) -> None:
    flags = [
        "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
        "--disable-background-networking", "--disable-component-update", "--disable-sync",
        f"--user-data-dir={tmp_path / 'profile'}", "--window-size=1200,2400",
    ]  # fmt: skip
    picture, probe = tmp_path / "report.png", tmp_path / "probe.html"
    subprocess.run(
        [str(BROWSER), *flags, f"--screenshot={picture}", folder / "report.html"],
        check=True, capture_output=True, timeout=60,
    )  # fmt: skip
    pixels = np.asarray(Image.open(picture).convert("RGB"))
    assert pixels.shape[:2] == (2400, 1200) and len(np.unique(pixels.reshape(-1, 3), axis=0)) > 500
    ask = (
        "<script>addEventListener('load', () => { document.title = JSON.stringify({"
        "decisions: [...document.querySelectorAll('#comparison-table tbody td:last-child')]"
        ".map(cell => cell.innerText),"
        "sentences: document.querySelectorAll('#verdicts p').length,"
        "painted: [...document.images].every(i => i.naturalWidth > 500),"
        "wide: document.documentElement.scrollWidth,"
        "cut: (box => box.scrollWidth - box.clientWidth)"
        "(document.querySelector('#comparison-table').parentElement)}); })</script></body>"
    )
    probe.write_text((folder / "report.html").read_text().replace("</body>", ask))
    dumped = subprocess.run(
        [str(BROWSER), *flags, "--dump-dom", probe], check=True, capture_output=True, text=True, timeout=60
    ).stdout
    answers = json.loads(dumped.split("<title>")[1].split("</title>")[0].replace("&quot;", '"'))
    assert answers["decisions"] == pd.read_csv(folder / "comparison.csv")["decision"].tolist()
    assert answers["sentences"] == 6 and answers["painted"]
    assert answers["wide"] <= 1200 and answers["cut"] == 0

"""Report pages in a real browser: nothing is loaded, charts can be explored, on phones and in the dark."""

from __future__ import annotations

import html
import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from support.records import synthetic
from support.records.comparisons import write
from support.records.synthetic import hill

from analysis.compare import draw as draw_comparison
from analysis.report import draw

BROWSER = shutil.which("chromium") or shutil.which("google-chrome")
pytestmark = pytest.mark.skipif(
    BROWSER is None, reason="no Chromium on this machine (apt-get install chromium)"
)
FLAGS = [
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--hide-scrollbars",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
    "--virtual-time-budget=8000", "--allow-file-access-from-files",
]  # fmt: skip
CURVES = {"ether": hill(-2, 2, noise=0.02), "hra": hill(-3, 1, noise=0.02), "lora": hill(-2, 1, noise=0.02)}
LRS = [1e-4, 1e-3, 1e-2, 1e-1]

ASK = """
const page = frame.contentDocument, view = frame.contentWindow;
const charts = [...page.querySelectorAll("figure.chart")];
const shown = () => view.getComputedStyle(page.querySelector("figure.chart > img")).display !== "none";
const button = page.querySelector("figure.live button.key[data-name=HRA]");
const line_in = (panel, name) => panel?.data?.find(t => t.name === name && t.mode.startsWith("lines+"));
const panel = charts.map(f => f.querySelector(".panel")).find(p => line_in(p, "HRA"));
const line = name => line_in(panel, name);
const answer = {
  wide: page.documentElement.scrollWidth,
  loaded: view.performance.getEntriesByType("resource").map(r => r.name).filter(n => !n.startsWith("data:")),
  buttons: [...page.querySelectorAll(".modebar-btn")].map(b => b.dataset.title),
  live: charts.filter(f => f.classList.contains("live")).length, charts: charts.length,
  pictures: shown(), painted: [...page.images].every(i => i.naturalWidth > 0),
  paper: view.getComputedStyle(page.body).backgroundColor,
  anchors: [...page.querySelectorAll("nav.contents a")].every(a => page.querySelector(a.hash)),
};
if (button) {
  const point = line("HRA");
  answer.hover = point.text[1];
  button.click();
  answer.pressed = page.querySelector("td [data-name=HRA]").getAttribute("aria-pressed");
  answer.faded = [line("HRA").opacity, line("LoRA").opacity];
  button.click();
  answer.restored = line("LoRA").opacity;
  panel.emit("plotly_click", {points: [{customdata: point.customdata[1]}]});
  answer.told = [...page.querySelectorAll("#details code")].map(code => code.textContent);
  answer.open = !page.getElementById("details").hidden;
  page.querySelector("td [data-name=LoRA]").click();
  answer.row = button.parentElement.querySelector("[data-name=LoRA]").getAttribute("aria-pressed");
}
document.title = JSON.stringify(answer);
"""


def ask(report: Path, tmp_path: Path, width: int = 1200, scripts: bool = True, dark: bool = False) -> Any:
    """What the browser says of the report in a window of that width."""
    sandbox = "" if scripts else ' sandbox="allow-same-origin"'
    page = tmp_path / "frame.html"
    page.write_text(
        f'<iframe id="frame" src="{report.as_uri()}"{sandbox}'
        f' style="width:{width}px;height:2000px;border:0"></iframe>'
        f"<script>addEventListener('load', () => setTimeout(() => {{ {ASK} }}, 4000))</script>"
    )
    flags = [*FLAGS, f"--user-data-dir={tmp_path / 'profile'}", "--window-size=1300,2100"]
    flags += ["--blink-settings=preferredColorScheme=0"] if dark else []
    dumped = subprocess.run(
        [str(BROWSER), *flags, "--dump-dom", page], check=True, capture_output=True, text=True, timeout=120
    ).stdout
    found = re.search(r"<title>(.*?)</title>", dumped, re.DOTALL)
    assert found, dumped[-500:]
    return json.loads(html.unescape(found[1]))


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = synthetic.records(CURVES, LRS, 3)
    return draw(synthetic.write(tmp_path_factory.mktemp("results") / "study", made))


def test_a_report_can_be_explored(report: Path, tmp_path: Path) -> None:
    said = ask(report, tmp_path)
    assert said["live"] == said["charts"] == 5 and not said["pictures"]
    assert said["loaded"] == [] and said["painted"] and said["anchors"]
    assert said["buttons"] and not any("hare" in title for title in said["buttons"])  # sends nothing away
    assert "HRA" in said["hover"] and "3 seeds" in said["hover"] and "[" in said["hover"]
    assert said["pressed"] == "true" and said["faded"][0] > 0.9 and said["faded"][1] < 0.1
    assert said["restored"] > 0.9 and said["row"] == "true"
    assert said["open"] and said["told"] == [f"ether-study rerun study hra-0.001-{seed}" for seed in range(3)]


@pytest.mark.parametrize("width", [1200, 400])
def test_nothing_is_wider_than_the_window(width: int, report: Path, tmp_path: Path) -> None:
    assert ask(report, tmp_path, width)["wide"] <= width


def test_without_scripts_the_pictures_are_there(report: Path, tmp_path: Path) -> None:
    said = ask(report, tmp_path, 400, scripts=False)
    assert said["live"] == 0 and said["pictures"] and said["painted"] and said["wide"] <= 400


def test_in_the_dark_the_page_is_dark(report: Path, tmp_path: Path) -> None:
    colours = [ask(report, tmp_path, dark=dark)["paper"] for dark in (False, True)]
    assert colours == ["rgb(255, 255, 255)", "rgb(22, 24, 28)"]


@pytest.mark.slow
def test_a_comparison_is_served_in_the_same_way(tmp_path: Path) -> None:
    page = draw_comparison(write(tmp_path / "s", synthetic.records(CURVES, LRS, 3)))
    said = ask(page, tmp_path, 400)
    assert said["live"] == said["charts"] == 6 and said["wide"] <= 400 and said["loaded"] == []
    assert said["pressed"] == "true"


def test_every_run_has_its_command_and_every_figure_its_files(report: Path) -> None:
    text = report.read_text()
    assert report.stat().st_size < 5e6
    commands = re.findall(r'<code class="command">(.*?)</code>', text)
    assert len(commands) == len(set(commands)) == 36 and "ether-study rerun study lora-0.1-2" in commands
    for link in re.findall(r'<a href="((?:figures|runs|pairs)[^"#]*)"', text):
        assert (report.parent / link).is_file(), link
    assert 'href="figures/robustness.pdf"' in text and 'href="runs.parquet"' in text
    assert re.search(r"Drawn on \d{4}-\d\d-\d\d by <code>python -m analysis.report study</code>", text)

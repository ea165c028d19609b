"""`python -m analysis.paper` on records that are there in part."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
import synthetic
from synthetic import hill
from test_claims import GOOD

from analysis.paper import FIGURES, main

pytestmark = pytest.mark.slow


def test_it_makes_what_records_allow_and_names_the_rest(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made = synthetic.records(GOOD)
    for record in made:
        record["layers"] = [{"layer": "a", "side": "in", "transform_distance": 1.0}]
    synthetic.write(tmp_path / "lr_grid", made)
    assert main(["--results", str(tmp_path)]) == 0
    said = capsys.readouterr().out
    for name in ("perturbation", "hyperspherical", "blocks", "mechanism"):
        assert f"no records of {name}: python -m study.sweep {name}" in said
    claims = pd.read_csv(tmp_path / "paper" / "claims.csv").fillna("")
    verdicts = claims[claims["part"] == ""].set_index("claim")["verdict"]
    assert verdicts["C7"] == "no records" and verdicts["C1"] != "no records"
    page = (tmp_path / "paper" / "report.html").read_text()
    assert page.count("data:image/png;base64,") == sum(name == "lr_grid" for name, _, _ in FIGURES)
    assert "python -m study.sweep perturbation" in page and "https://" not in page


def test_with_every_study_every_claim_is_judged(tmp_path: Path) -> None:
    def write(name: str, methods: list[str], columns: dict[str, list], lrs: list[float]) -> None:
        made = []
        first = next(iter(columns))
        for values in columns[first]:
            for method in methods:
                for record in synthetic.records({method: hill(-2, 3)}, lrs, 3):
                    record["row"] |= {first.replace("METHOD", method): values, "transform_distance": 1.0}
                    for other, constant in list(columns.items())[1:]:
                        record["row"][other.replace("METHOD", method)] = constant[0]
                    made.append(record)
        for index, record in enumerate(made):
            record["row"]["run_id"] = f"{index}"
            record["layers"] = [{"layer": "a", "side": "in", "transform_distance": 1.0}]
        synthetic.write(tmp_path / name, made)

    everyone = ["ether", "ether_plus", "lora", "oft", "naive"]
    write("lr_grid", everyone, {"method.METHOD.blocks": [4]}, synthetic.LRS)
    write("perturbation", everyone, {"task.noise": [0.1, 1.0]}, [1.0])
    write("hyperspherical", ["ether", "oft"], {"method.METHOD.blocks": [4]}, [1e-3, 1e-2])
    write("blocks", ["ether", "ether_plus"], {"method.METHOD.blocks": [1, 4, 16]}, [1e-3, 1e-2])
    held = {"method.METHOD.init_scale": [0.1, 1.0, 10.0], "method.METHOD.renormalise": [False]}
    write("mechanism", ["ether", "ether_plus"], held, [1e-3, 1e-2])
    assert main(["--results", str(tmp_path)]) == 0
    claims = pd.read_csv(tmp_path / "paper" / "claims.csv").fillna("")
    assert "no records" not in set(claims["verdict"])
    page = (tmp_path / "paper" / "report.html").read_text()
    assert page.count("data:image/png;base64,") == len(FIGURES) and "moves the learning-rate axis" in page
    assert len(pd.read_csv(tmp_path / "paper" / "mechanism.csv")) == 6

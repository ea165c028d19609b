"""Which studies the paper is made of."""

from __future__ import annotations

from pathlib import Path

from support.records import synthetic
from support.records.synthetic import FLAT

from analysis.paper.records import gather


def blocks(folder: Path, sweep: str, **columns: object) -> None:
    made = []
    for count in (1, 4):
        for record in synthetic.records({"ether": FLAT}, seeds=3, sweep=sweep, **columns):
            record["row"] |= {"run_id": f"{record['row']['run_id']}-{count}", "method.ether.blocks": count}
            for step in record["history"]:
                step["run_id"] = record["row"]["run_id"]
            made.append(record)
    synthetic.write(folder, made)


def test_blocks_on_a_whole_grid_of_rates_answer_where_they_are(tmp_path: Path) -> None:
    assert gather(tmp_path).missing()["blocks_lr"] == "python -m study.sweep blocks_lr"
    blocks(tmp_path / "blocks", "blocks")
    blocks(tmp_path / "blocks_s2i", "blocks", task="s2i")
    records = gather(tmp_path)
    assert records.named["blocks"].name == "blocks" and "blocks_lr" not in records.missing()
    blocks(tmp_path / "blocks_lr", "blocks_lr")
    blocks(tmp_path / "blocks_lr_s2i", "blocks_lr", task="s2i")
    records = gather(tmp_path)
    assert records.named["blocks"].name == "blocks_lr"
    assert [study.name for study in records.blocks] == ["blocks_lr", "blocks_lr_s2i"]

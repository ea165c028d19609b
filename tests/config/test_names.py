"""What a user calls things, and what the refusal says that they are called here."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from study import config, methods
from study.config import aliases
from study.config.names import sweep_name
from study.errors import MOST_NAMES, UsageError, nearest
from study.settings import settings_by_key


@pytest.mark.parametrize("override,message", [
    ("method.lora.rank=4", "method lora has no option 'rank'; nearest: r"),
    ("method.hra.rank=4", "method hra has no option 'rank'; nearest: r"),
    ("method.lora.alpha=4", "nearest: lora_alpha"),
    ("method.lora.dropout=.1", "nearest: lora_dropout"),
    ("method.ether.n=4", "nearest: blocks"),
    ("method.lora.R=4", "nearest: r"),
    ("method.lora={r:4}", "method.lora: give one of its options, such as method.lora.r=8"),
    ("method=ETHER", "unknown method 'ETHER'; nearest: ether"),
    ("method=Ether-Plus", "unknown method 'Ether-Plus'; write method=ether_plus"),
    ("method=ETHER+", "write method=ether_plus"),
    ("method=dora", "unknown method 'dora'; write method=lora method.lora.use_dora=true"),
    ("method=ether,DoRA", "write method=lora method.lora.use_dora=true"),
    ("method=rsLoRA", "write method=lora method.lora.use_rslora=true"),
    ("method=pissa", "write method=lora method.lora.init_lora_weights=pissa"),
    ("method=qlora", "write method=lora .base models are not quantised here"),
    ("method=oftv2", "write method=peft:oft"),
    ("method=(IA)3", "nearest: .*ia3"),
    ("method=adalora", "method adalora cannot be trained here: its ranks are reallocated"),
    ("method=prompt_tuning", "method prompt_tuning cannot be trained here: it learns a prompt"),
    ("n_seeds=5", "unknown key 'n_seeds'; nearest: seeds"),
    ("learning_rate=1", "unknown key 'learning_rate'; nearest: lr"),
    ("rate=1", "nearest: lr"),
    ("LR=1", "nearest: lr"),
    ("batch_size=3", "unknown key 'batch_size'; nearest: task.batch_size"),
    ("task.bs=3", "nearest: task.batch_size"),
    ("steps=3", "nearest: task.steps"),
    ("model=x", "nearest: task.model"),
    ("data=x", "nearest: task.data"),
    ("gpu=1", "nearest: launcher.device"),
    ("gpus=2", "nearest: launcher.gpus_per_node"),
    ("partition=a", "nearest: launcher.partition"),
    ("output_dir=x", "nearest: results"),
    ("task=glue/paper", "unknown task 'glue/paper'; write task=glue scale=paper"),
])  # fmt: skip
def test_what_it_is_called_here(override: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        config.load("lr_grid", [override])


def test_every_alias_leads_to_something_that_is_there() -> None:
    assert not set(aliases.KEYS) & {*settings_by_key(), "method"}
    assert set(aliases.KEYS.values()) <= {*settings_by_key(), "method"}
    for meant in aliases.METHODS.values():
        overrides = re.sub(r" \(.*", "", meant.as_overrides()).split()
        assert config.load("lr_grid", overrides).methods == [meant.method]
    options = {option for method in methods.names() for option in methods.options(method)}
    assert {option for candidates in aliases.OPTIONS.values() for option in candidates} <= options


def test_never_more_than_ten_names() -> None:
    names = [f"name{i}" for i in range(40)]
    for word in ("name1", "xyz", "NAME3"):
        assert len(re.findall("name", nearest(word, names))) <= MOST_NAMES
    assert nearest("xyz", names).endswith(" and 30 more")
    with pytest.raises(UsageError) as raised:
        config.load("lr_grid", ["method=zzzzzzzzz"])
    assert str(raised.value).count(",") <= MOST_NAMES


@pytest.mark.parametrize("word,known,expected", [
    ("ETHER", ["ether", "ether_plus"], "nearest: ether"),
    ("batch-size", ["task.batch_size", "task.eval_batch_size"], "nearest: task.batch_size"),
    ("workers", ["a.workers", "b.workers"], "nearest: a.workers, b.workers"),
    ("xyz", ["abc"], "known: abc"),
])  # fmt: skip
def test_nearness(word: str, known: list[str], expected: str) -> None:
    assert nearest(word, known) == expected


def test_a_sweep_by_its_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert (
        sweep_name("lr_grid") == sweep_name("sweeps/lr_grid.yaml") == sweep_name("lr_grid.yaml") == "lr_grid"
    )
    (tmp_path / "study").mkdir()
    (tmp_path / "study" / "plan.json").write_text("{}")
    (tmp_path / "mine.yaml").write_text("")
    for text, message in (
        ("sweeps/lr_gird", "unknown sweep 'lr_gird'; nearest: lr_grid"),
        ("study", "study is a study's folder; name its sweep: python -m study.sweep SWEEP name=study"),
        ("mine.yaml", "mine.yaml is not where sweeps are found; put it into ./sweeps"),
    ):
        with pytest.raises(UsageError, match=message):
            sweep_name(text)

"""Configs that are refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from peft import (
    PeftConfig,
    get_peft_model,
)
from support.peft_models import (
    config_of,
    every_method,
    sequential,
)


@every_method
def test_bad_configs_are_refused(method: str, tmp_path: Path) -> None:
    with pytest.raises(TypeError, match="unexpected keyword argument 'dropout'"):
        config_of(method, dropout=0.1)  # the methods have none
    with pytest.raises(ValueError, match="Invalid task type: 'POETRY'"):
        config_of(method, task_type="POETRY")
    with pytest.raises(
        ValueError, match="layers_to_transform cannot be used when target_modules is a string"
    ):
        config_of(method, ".*query", layers_to_transform=[0])
    with pytest.raises(ValueError, match="layers_pattern needs layers_to_transform"):
        config_of(method, layers_pattern="layer")
    with pytest.raises(ValueError, match="not found in the base model"):
        get_peft_model(sequential(), config_of(method, ["q_proj"]))
    with pytest.raises(ValueError, match="specify `target_modules`"):
        get_peft_model(sequential(), config_of(method, None))
    config_of(method).save_pretrained(tmp_path)
    file = tmp_path / "adapter_config.json"
    file.write_text(file.read_text().replace('"blocks": 4', '"blocks": "four"'))
    with pytest.raises(ValueError, match="blocks must be a positive integer, got 'four'"):
        PeftConfig.from_pretrained(tmp_path)


@pytest.mark.parametrize("sides", [0, 3, True, 2.0, "2"])
def test_bad_sides(sides: Any) -> None:
    with pytest.raises(ValueError, match="sides must be 1 or 2"):
        config_of("ether_plus", sides=sides)


@pytest.mark.parametrize("init_scale", [0, -1.0, float("nan"), float("inf")])
def test_bad_scales(init_scale: float) -> None:
    with pytest.raises(ValueError, match="init_scale must be positive and finite"):
        config_of("ether", init_scale=init_scale)

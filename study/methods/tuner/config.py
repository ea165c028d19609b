"""The options that every multiplicative method has."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

from peft import PeftConfig, PeftType


@dataclass
class MultiplicativeConfig(PeftConfig):
    """Options that every multiplicative method has.

    Raises:
        ValueError: if `blocks` is not a positive integer, or if `layers_to_transform` or `layers_pattern`
            would have no effect.
    """

    blocks: int = field(default=4, metadata={"help": "n, the number of diagonal blocks per side"})
    magnitudes: bool = field(
        default=False, metadata={"help": "Also train a factor for each output of a layer, 1 at the start"}
    )
    init_weights: bool = field(
        default=True,
        metadata={"help": "If false, start away from the method's own start, as peft's tests want it"},
    )
    target_modules: list[str] | str | None = field(
        default=None, metadata={"help": "Names, or a regular expression, of the modules to adapt"}
    )
    exclude_modules: list[str] | str | None = field(
        default=None, metadata={"help": "Names, or a regular expression, of modules to leave out"}
    )
    layers_to_transform: list[int] | int | None = field(
        default=None, metadata={"help": "Indices of the layers to adapt; all by default"}
    )
    layers_pattern: list[str] | str | None = field(
        default=None, metadata={"help": "Name of the ModuleList that holds the layers"}
    )
    modules_to_save: list[str] | None = field(
        default=None, metadata={"help": "Other modules to train and save, such as a new head"}
    )

    PEFT_NAME: ClassVar[str] = ""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.PEFT_NAME:
            self.peft_type = PeftType(self.PEFT_NAME.upper())
        if isinstance(self.blocks, bool) or not isinstance(self.blocks, int) or self.blocks < 1:
            raise ValueError(f"blocks must be a positive integer, got {self.blocks!r}")
        # As `peft`'s own configs do: its matching would silently ignore these options.
        if isinstance(self.target_modules, str):
            for name in ("layers_to_transform", "layers_pattern"):
                if getattr(self, name) is not None:
                    raise ValueError(f"{name} cannot be used when target_modules is a string")
        if self.layers_pattern and self.layers_to_transform is None:
            raise ValueError("layers_pattern needs layers_to_transform")
        if isinstance(self.target_modules, list):
            self.target_modules = set(self.target_modules)  # type: ignore[assignment]
        if isinstance(self.exclude_modules, list):
            self.exclude_modules = set(self.exclude_modules)  # type: ignore[assignment]

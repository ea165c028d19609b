"""Diffusion models as base models: a pipeline's parts, a UNet with a control picture, sampling, judging.

All of it is made of diffusers, transformers and torchmetrics, which are an extra of this project.
"""

from study.errors import UsageError

try:
    import diffusers  # noqa: F401
    import torchmetrics  # noqa: F401
except ModuleNotFoundError as error:
    raise UsageError(
        f"{error.name} is not installed, which diffusion models need: pip install -e '.[images]'"
    ) from None

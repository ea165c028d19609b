"""What figures and tables call methods and metrics; others are called as their authors called them."""

from __future__ import annotations

METHODS = {
    "ether": "ETHER", "ether_plus": "ETHER+", "lora": "LoRA", "oft": "OFT", "naive": "Naive",
    "full": "Full finetuning",
    "adalora": "AdaLoRA", "adamss": "AdaMSS", "beft": "BEFT", "boft": "BOFT", "c3a": "C3A",
    "delora": "DeLoRA", "dora": "DoRA", "fourierft": "FourierFT", "gralora": "GraLoRA", "hira": "HiRA",
    "hra": "HRA", "ia3": "(IA)³",
    "ln_tuning": "LN tuning", "loha": "LoHa", "lokr": "LoKr", "miss": "MiSS", "osf": "OSF",
    "psoft": "PSOFT", "pvera": "PVeRA", "randlora": "RandLoRA", "road": "RoAd", "rslora": "rsLoRA",
    "shira": "SHiRA", "tinylora": "TinyLoRA", "unilora": "Uni-LoRA", "vblora": "VB-LoRA", "vera": "VeRA",
    "waveft": "WaveFT", "xlora": "X-LoRA",
}  # fmt: skip
"""By the name that a sweep or a comparison has for the method."""

METRICS = {
    "mean_iou": "mean IoU",
    "frechet_distance": "Fréchet distance",
    "matthews": "Matthews correlation",
    "pearson": "Pearson correlation",
    "spearman": "Spearman correlation",
    "f1": "F1",
}


def method_name(method: str) -> str:
    return METHODS.get(method, method)


def label_name(label: str, method: str) -> str:
    """`ETHER+ blocks=4` for `ether_plus blocks=4`: the method and the settings that tell its runs apart."""
    return method_name(method) + label.removeprefix(method)


def metric_name(metric: str) -> str:
    """`pixel accuracy` for pixel_accuracy."""
    return METRICS.get(metric, metric.replace("_", " "))

"""BibTeX of methods, by their names; each entry's source is the arXiv number that it gives."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class Reference:
    """A paper; venue is empty where it is on arXiv alone."""

    key: str
    authors: str
    title: str
    venue: str
    year: int
    arxiv: str

    def bibtex(self) -> str:
        kind = "inproceedings" if self.venue else "misc"
        fields = {"author": self.authors, "title": f"{{{self.title}}}"}
        fields |= {"booktitle": self.venue} if self.venue else {}
        fields |= {"year": str(self.year), "eprint": self.arxiv, "archivePrefix": "arXiv"}
        lines = ",\n".join(f"  {name} = {{{value}}}" for name, value in fields.items())
        return f"@{kind}{{{self.key},\n{lines}\n}}\n"


ICML, ICLR, NEURIPS = (
    "International Conference on Machine Learning",
    "International Conference on Learning Representations",
    "Advances in Neural Information Processing Systems",
)
ETHER = Reference(
    "bini2024ether", "Bini, Massimo and Roth, Karsten and Akata, Zeynep and Khoreva, Anna",
    "ETHER: Efficient Finetuning of Large-Scale Models with Hyperplane Reflections", ICML, 2024, "2405.20271",
)  # fmt: skip
REFERENCES: dict[str, Reference] = {
    "ether": ETHER, "ether_plus": ETHER, "naive": ETHER,  # the block-diagonal control is that paper's
    "lora": Reference(
        "hu2022lora", "Hu, Edward J. and Shen, Yelong and Wallis, Phillip and Allen-Zhu, Zeyuan and "
        "Li, Yuanzhi and "
        "Wang, Shean and Wang, Lu and Chen, Weizhu",
        "LoRA: Low-Rank Adaptation of Large Language Models", ICLR, 2022, "2106.09685",
    ),
    "oft": Reference(
        "qiu2023oft", "Qiu, Zeju and Liu, Weiyang and Feng, Haiwen and Xue, Yuxuan and Feng, Yao and "
        "Liu, Zhen and "
        "Zhang, Dan and Weller, Adrian and Sch{\\\"o}lkopf, Bernhard",
        "Controlling Text-to-Image Diffusion by Orthogonal Finetuning", NEURIPS, 2023, "2306.07280",
    ),
    "boft": Reference(
        "liu2024boft", "Liu, Weiyang and Qiu, Zeju and Feng, Yao and others",
        "Parameter-Efficient Orthogonal Finetuning via Butterfly Factorization", ICLR, 2024, "2311.06243",
    ),
    "vera": Reference(
        "kopiczko2024vera", "Kopiczko, Dawid J. and Blankevoort, Tijmen and Asano, Yuki M.",
        "VeRA: Vector-based Random Matrix Adaptation", ICLR, 2024, "2310.11454",
    ),
    "hra": Reference(
        "yuan2024hra", "Yuan, Shen and Liu, Haotian and Xu, Hongteng",
        "Bridging The Gap between Low-rank and Orthogonal Adaptation via Householder Reflection Adaptation",
        NEURIPS, 2024, "2405.17484",
    ),
    "dora": Reference(
        "liu2024dora", "Liu, Shih-Yang and Wang, Chien-Yi and Yin, Hongxu and Molchanov, Pavlo and "
        "Wang, Yu-Chiang Frank and Cheng, Kwang-Ting and Chen, Min-Hung",
        "DoRA: Weight-Decomposed Low-Rank Adaptation", ICML, 2024, "2402.09353",
    ),
    "rslora": Reference(
        "kalajdzievski2023rslora", "Kalajdzievski, Damjan",
        "A Rank Stabilization Scaling Factor for Fine-Tuning with LoRA", "", 2023, "2312.03732",
    ),
    "ia3": Reference(
        "liu2022ia3", "Liu, Haokun and Tam, Derek and Muqeeth, Mohammed and Mohta, Jay and Huang, "
        "Tenghao and "
        "Bansal, Mohit and Raffel, Colin",
        "Few-Shot Parameter-Efficient Fine-Tuning is Better and Cheaper than In-Context Learning",
        NEURIPS, 2022, "2205.05638",
    ),
    "adalora": Reference(
        "zhang2023adalora", "Zhang, Qingru and Chen, Minshuo and Bukharin, Alexander and others",
        "AdaLoRA: Adaptive Budget Allocation for Parameter-Efficient Fine-Tuning", ICLR, 2023, "2303.10512",
    ),
    "fourierft": Reference(
        "gao2024fourierft", "Gao, Ziqi and Wang, Qichao and Chen, Aochuan and Liu, Zijing and Wu, "
        "Bingzhe and "
        "Chen, Liang and Li, Jia",
        "Parameter-Efficient Fine-Tuning with Discrete Fourier Transform", ICML, 2024, "2405.03003",
    ),
    "loha": Reference(
        "hyeonwoo2022fedpara", "Hyeon-Woo, Nam and Ye-Bin, Moon and Oh, Tae-Hyun",
        "FedPara: Low-Rank Hadamard Product for Communication-Efficient Federated Learning",
        ICLR, 2022, "2108.06098",
    ),
    "lokr": Reference(
        "yeh2024lycoris", "Yeh, Shih-Ying and Hsieh, Yu-Guan and Gao, Zhidong and others",
        "Navigating Text-To-Image Customization: From LyCORIS Fine-Tuning to Model Evaluation",
        ICLR, 2024, "2309.14859",
    ),
    "delora": Reference(
        "bini2025delora", "Bini, Massimo and Girrbach, Leander and Akata, Zeynep",
        "Decoupling Angles and Strength in Low-rank Adaptation", ICLR, 2025, "2503.18225",
    ),
}  # fmt: skip
"""By the name that a sweep has for the method."""


def key_of(method: str) -> str:
    """The key by which a text cites the method; empty where no reference is known."""
    return REFERENCES[method].key if method in REFERENCES else ""


def bibliography(methods: Iterable[str]) -> str:
    """A .bib file of the methods, each paper once; it names those of which no reference is known."""
    known = {REFERENCES[m].key: REFERENCES[m] for m in methods if m in REFERENCES}
    entries = [reference.bibtex() for _, reference in sorted(known.items())]
    unknown = sorted(set(methods) - set(REFERENCES) - {"full"})  # full finetuning is nobody's method
    entries += [f"% No reference is known here of: {', '.join(unknown)}\n"] * bool(unknown)
    return "\n".join(entries)

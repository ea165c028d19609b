"""C4: 120 and 30 times fewer parameters than OFT on SD-1.5."""

from __future__ import annotations

from analysis.paper.claims.part import Part, within

RATIO_TOLERANCE = 0.1  # relative, for parameter ratios the paper rounds


def judge_small(ratios: dict[str, float]) -> list[Part]:
    """C4: OFT's parameters over ETHER's and ETHER+'s on SD-1.5, counted exactly."""
    parts = []
    for method, name, printed in (("ether", "ETHER", 120), ("ether_plus", "ETHER+", 30)):
        ratio = ratios[method]
        test = f"OFT's parameters over {name}'s, within {RATIO_TOLERANCE:.0%} of the paper's {printed}"
        off = ratio / printed - 1
        verdict = within(off, off, RATIO_TOLERANCE)
        parts.append(Part("C4", name, test, ratio, ratio, ratio, verdict, "parameters.csv"))
    return parts

"""A plan in words: runs, packs, parameters, memory and time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from study.planning.costs import makespan, sizes_that_fit
from study.planning.packs import Pack
from study.planning.profile import Footprint, Profile
from study.planning.runs import Run, group_by_variant, variant_titles


def format_memory(footprint: Footprint, runs: int, memory_gb: float) -> str:
    """The largest pack of so many runs that fits in a device's memory, and what it is made of.

    Raises:
        UsageError: if not even one run fits.
    """
    size = max(sizes_that_fit(range(1, runs + 1), footprint, memory_gb))
    total_mb, trained_mb, weights_mb = (
        footprint.pack_mb(size),
        footprint.trained_mb(size),
        footprint.weights_mb or 0.0,
    )
    parts_mb = {
        "weights": weights_mb,
        "adapter and optimizer": trained_mb,
        "activations": total_mb - weights_mb - trained_mb,
    }
    parts = ", ".join(f"{name} {mb / 1024:.2f}" for name, mb in parts_mb.items())
    packs = f"packs of at most {size}" if size > 1 else "one by one"
    return f"{packs}: {total_mb / 1024:.2f} of {memory_gb:g} GB ({parts})"


def format_done(done: int, planned: int, begun: int = 0) -> str:
    """How far the runs of a plan have come: `12 of 225 runs are done`.

    Args:
        begun: packs that have a checkpoint to go on from.
    """
    checkpoints = f"; {begun} pack{'s' * (begun > 1)} will go on from a checkpoint" if begun else ""
    return f"  {done} of {planned} runs are done{checkpoints}"


def format_packs(
    runs: Sequence[Run], packs: Sequence[Pack], profiles: Mapping[str, Profile], workers: int
) -> str:
    """The plan, a line per variant: runs, packs, parameters; and the estimated time of it all."""
    lines = []
    groups = group_by_variant(runs)
    titles = variant_titles(groups)
    width = max(map(len, titles.values()), default=0)
    for variant, group in groups.items():
        profile = profiles[variant]
        sizes = sorted(len(pack.runs) for pack in packs if pack.runs[0].variant == variant)
        spread = "-".join(str(size) for size in dict.fromkeys((sizes[0], sizes[-1])))
        how = f"{len(sizes)} pack{'s' * (len(sizes) > 1)} of {spread}"
        if profile.unpackable:
            how = f"one by one, cannot pack ({profile.unpackable[:60]})"
        parameters = f"{profile.footprint.parameters:,} parameters"
        if profile.footprint.run_mb is not None:
            parameters += f"; {profile.footprint.pack_mb(sizes[-1]) / 1024:.2f} GB a pack"
        lines.append(f"  {titles[variant]:{width}} {len(group):4} runs, {how}; {parameters}")
    seconds = makespan([pack.seconds(profiles) for pack in packs], workers)
    total = f"{len(runs)} runs in {len(packs)} packs on {workers} worker{'s' * (workers > 1)}"
    return "\n".join([*lines, f"  {total}, about {seconds:.0f} s of training"])

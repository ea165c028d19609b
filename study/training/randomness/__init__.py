"""Random numbers in training that belong to a run: functions of (its seed, the place, the coordinates).

A model with dropout draws at random in every step, and so may a method or a task. Were the numbers taken
from torch's one generator, those of a run would depend on the runs beside it, on the padding that theirs
need, and on what was trained before. `RunStreams` takes every draw's numbers from the run's own stream
instead: the same for a run alone, in any pack, on any device, and after any interruption.
"""

from study.training.randomness.draws import SharedDraw
from study.training.randomness.generators import seeded
from study.training.randomness.streams import RunStreams, active_streams

__all__ = ["RunStreams", "SharedDraw", "active_streams", "seeded"]

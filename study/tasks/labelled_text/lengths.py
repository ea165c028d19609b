"""How long texts are in tokens, counted before they are cut."""

from __future__ import annotations

from collections.abc import Sequence

from transformers import PreTrainedTokenizerBase
from transformers.utils import logging

from study.tasks.data_summary import Lengths
from study.tasks.labelled_text.rows import Rows

MOST_COUNTED = 100_000
"""Rows whose tokens are counted; with a fast tokenizer they take about ten seconds."""

AT_A_TIME = 1000


def text_lengths(
    tokenizer: PreTrainedTokenizerBase, splits: Sequence[Rows], limit: int
) -> tuple[Lengths, list[str]]:
    """Lengths of the texts (pairs: of both together) with the tokens around them, and a note if not all were
    counted."""
    longest = cut = counted = 0
    verbosity = logging.get_verbosity()
    logging.set_verbosity_error()  # a text longer than the model takes is what is looked for
    try:
        for rows in splits:
            for first in range(0, min(len(rows.labels), MOST_COUNTED - counted), AT_A_TIME):
                last = min(first + AT_A_TIME, len(rows.labels), first + MOST_COUNTED - counted)
                texts = [list(column[first:last]) for column in rows.texts]
                for ids in tokenizer(*texts, return_attention_mask=False)["input_ids"]:
                    longest, cut = max(longest, len(ids)), cut + (len(ids) > limit)
                counted += last - first
    finally:
        logging.set_verbosity(verbosity)
    total = sum(len(rows.labels) for rows in splits)
    notes = [f"tokens counted in the first {counted:,} of {total:,} rows"] if counted < total else []
    return Lengths("tokens", longest, limit, cut), notes

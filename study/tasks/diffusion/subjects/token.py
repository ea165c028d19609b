"""The word that stands for a new subject."""

from __future__ import annotations

from transformers import PreTrainedTokenizerBase

from study.errors import UsageError


def token_notes(tokenizer: PreTrainedTokenizerBase, word: str) -> tuple[str, ...]:
    """What there is to say of the word: that the tokenizer splits it, as DreamBooth's own may be split.

    Raises:
        UsageError: if it is no word, or one that the tokenizer does not know.
    """
    if not word.strip() or word != word.strip() or "{" in word:
        raise UsageError(f"task.subject_token={word!r}: give a word, such as qwe")
    ids = tokenizer(word, add_special_tokens=False).input_ids
    if tokenizer.unk_token_id in ids and tokenizer.unk_token_id != tokenizer.eos_token_id:
        raise UsageError(
            f"task.subject_token={word}: the model's tokenizer does not know it, so that it means the same as"
            " every unknown word; give another"
        )
    if len(ids) < 2:
        return ()
    pieces = " ".join(str(piece) for piece in tokenizer.convert_ids_to_tokens(ids))
    return (f"task.subject_token={word} is {len(ids)} tokens to the model: {pieces}",)

"""Whether a backbone knows the language that a catalog is written in."""

import re
from collections.abc import Sequence
from pathlib import Path

from recllm.data.language import language_of
from recllm.encoders.backbone import Backbone
from recllm.resources import quiet_loading

MULTILINGUAL = "sentence-transformers/paraphrase-multilingual-MiniLM-L12-v2"
"""A small one that knows some fifty languages, named where another one does not know the catalog's."""

SAMPLE, READ = 2_000, 200
"""Texts whose language is looked at, and texts that are taken to pieces."""

SPELLED = 0.1
"""Share of unknown pieces from which a tokenizer does not know a language, where the model does not say."""

NAMES = {
    **{"zh": "Chinese", "ja": "Japanese", "ko": "Korean", "ru": "Russian", "el": "Greek", "ar": "Arabic"},
    **{"he": "Hebrew", "th": "Thai", "hi": "Hindi", "en": "English", "de": "German", "fr": "French"},
    **{"es": "Spanish", "it": "Italian", "pt": "Portuguese", "nl": "Dutch"},
}

_LANGUAGE = re.compile(r"^language:[ \t]*(?P<one>[^\n]*)\n(?P<more>(?:[ \t]*-[^\n]*\n)*)", re.MULTILINE)


def languages_of(backbone: Backbone) -> frozenset[str]:
    """The languages that the model's card names, by their two letters; empty where it names none."""
    try:
        card = (Path(backbone.path) / "README.md").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return frozenset()
    head = card.split("---")[1] if card.startswith("---") and card.count("---") > 1 else ""
    found = _LANGUAGE.search(head)
    return frozenset() if found is None else frozenset(re.findall(r"[a-z]{2,}", " ".join(found.groups()).casefold()))


def foreign(backbone: Backbone, texts: Sequence[str]) -> str | None:
    """In a sentence, that a backbone does not know the language of texts; None where it does, or nobody can tell.

    Args:
        backbone: Reads the texts.
        texts: Of the items, as they are read.
    """
    language = language_of(texts[:: max(1, len(texts) // SAMPLE)])
    known = languages_of(backbone)
    if not language or language in known or "multilingual" in known or "multilingual" in backbone.name.casefold():
        return None
    if language == "en" and not known:
        return None  # what says nothing of itself was made for English
    unknown = _unknown_share(backbone, texts[:: max(1, len(texts) // READ)])
    if not known and unknown < SPELLED:
        return None
    knows = f" (it knows {', '.join(NAMES.get(one, one) for one in sorted(known))})" if known else ""
    spelled = f": {100 * unknown:.0f}% of what it reads is unknown to it" if unknown >= SPELLED else ""
    return (
        f"the items are written in {NAMES[language]}, which the backbone {backbone.name!r} does not know"
        f'{knows}{spelled}; give one that does, such as TextEncoderConfig(backbone="{MULTILINGUAL}").'
    )


def _unknown_share(backbone: Backbone, texts: Sequence[str]) -> float:
    """Share of the pieces of texts that the tokenizer does not know."""
    import transformers

    try:
        with quiet_loading():
            tokenizer = transformers.AutoTokenizer.from_pretrained(backbone.transformer)
    except (OSError, ValueError, KeyError):  # a model of several parts has its tokenizer elsewhere
        return 0.0
    pieces = [piece for text in texts for piece in tokenizer(text, truncation=True, max_length=128)["input_ids"]]
    if tokenizer.unk_token_id is None or not pieces:
        return 0.0
    return sum(piece == tokenizer.unk_token_id for piece in pieces) / len(pieces)

"""Which prompt puts a catalog's items into words: asked for by name, promoted in a folder, or composed."""

import time
from collections.abc import Callable
from os import PathLike, fspath
from pathlib import Path

from recllm.data.catalog import Catalog
from recllm.encoders.text import AUTO, TextEncoder, TextEncoderConfig, describe_items
from recllm.prompting.items import check_columns
from recllm.prompting.template import Prompt, load_prompt
from recllm.tuning.compose import compose
from recllm.tuning.store import ITEM, PromptStore

PRICED = 64
"""Texts that are read to find out what all of them would take."""

Prompts = Prompt | str | PathLike[str] | None


def item_prompt(asked: Prompts, catalog: Catalog, config: TextEncoderConfig) -> Prompt | None:
    """The prompt that is meant; None: the one that the settings name.

    Args:
        asked: `auto`, a folder of prompts with a promoted one, or a prompt, its file or its name.
        catalog: What it shall describe.
        config: The text encoder's settings, in whose words `auto` counts.

    Raises:
        PromptError: There is no such prompt, or it asks for a column that the catalog does not have.
    """
    if asked is None and config.prompt != AUTO:
        return None
    if isinstance(asked, Prompt):
        prompt = asked
    elif asked is None or fspath(asked) == AUTO:
        return compose(catalog, config).prompt
    elif Path(asked).is_dir():
        prompt = PromptStore(Path(asked)).current(ITEM)
    else:
        prompt = load_prompt(fspath(asked))
    check_columns(prompt, catalog.frame.columns)
    return prompt


def encoder_for(config: TextEncoderConfig, catalog: Catalog) -> TextEncoder:
    """The text encoder with the prompt that its settings mean for a catalog."""
    return TextEncoder(config, prompt=item_prompt(None, catalog, config))


def price(
    prompt: Prompt, catalog: Catalog, config: TextEncoderConfig, clock: Callable[[], float] = time.monotonic
) -> str:
    """What it costs to put a catalog into words anew, in words; some of its texts are read to find out."""
    encoder = TextEncoder(config, prompt=prompt)
    texts = describe_items(catalog, prompt)
    if encoder.knows(texts):
        return f"reads nothing anew: the vectors of all {len(texts):,} items are kept"
    shortest_first = sorted(dict.fromkeys(texts), key=len)
    sample = shortest_first[:: max(1, len(shortest_first) // PRICED)]
    encoder.encode(sample[:8], keep=False)  # loading the weights is no part of the price
    begin = clock()
    encoder.encode(sample, keep=False)
    seconds = (clock() - begin) * len(shortest_first) / len(sample)
    return f"encodes {len(texts):,} items again: about {max(seconds, 1):.0f} s"

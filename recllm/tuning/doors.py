"""What people call, from data in any form: compose, optimize, promote, roll back, and the tree."""

import os
from typing import Any

from recllm.data.doors import of_kind, read_catalog, read_events
from recllm.encoders.text import TextEncoder, TextEncoderConfig
from recllm.options import TrainOptions
from recllm.prompting.template import Prompt, load_prompt
from recllm.tuning import compose as composing
from recllm.tuning.arms import MOST_ARMS
from recllm.tuning.compose import Composed
from recllm.tuning.items import price
from recllm.tuning.lineage import Node
from recllm.tuning.optimize import Optimized, optimize_items
from recllm.tuning.store import ITEM, Move, PromptStore

Folder = str | os.PathLike[str]


def compose(catalog: Any, *, domain: str | None = None, config: TextEncoderConfig | None = None) -> Composed:
    """An item prompt for a catalog, from its columns; it says which it reads and why.

    Args:
        catalog: The items: a `Catalog`, a data frame, or a file.
        domain: Whose words it uses; None chooses by the catalog.
        config: The text encoder's settings, whose tokens are counted.

    Raises:
        DataError: The catalog is empty.
    """
    return composing.compose(read_catalog(catalog), config, domain=domain)


def optimize(
    catalog: Any,
    events: Any,
    *,
    folder: Folder | None = None,
    config: TextEncoderConfig | None = None,
    standing: Prompt | str | None = None,
    most: int = MOST_ARMS,
    options: TrainOptions | None = None,
) -> Optimized:
    """Race item prompts for a catalog, by recall and NDCG of held-out users and items; no language model takes part.

    Args:
        catalog: The items.
        events: Of users who are split into those who choose and those who say what the choice is worth.
        folder: Where the winner and the arms that lost are written, as new files with their lineage; None: nowhere.
        config: The text encoder's settings.
        standing: The prompt in use, by name or itself, which is kept unless another is surely better. None: what was
            promoted in `folder`, else the shipped one of the catalog's domain.
        most: Arms at most.
        options: Seed, budget, progress.

    Raises:
        DataError: Too few users can be asked.
    """
    items, log = read_catalog(catalog), read_events(events)
    options = of_kind(TrainOptions() if options is None else options, TrainOptions, "options")
    store = None if folder is None else PromptStore(folder)
    if isinstance(standing, str):
        standing = load_prompt(standing)
    if standing is None and store is not None and store.history(ITEM):
        standing = store.current(ITEM)
    result = optimize_items(items, log, config=config, standing=standing, most=most, options=options)
    return result if store is None else result.written(store)


def promote(
    folder: Folder,
    name: str,
    *,
    alias: str = ITEM,
    catalog: Any = None,
    config: TextEncoderConfig | None = None,
) -> Move:
    """Put a prompt of a folder into use; what the next fit with `prompts=folder` reads.

    Args:
        folder: Where the prompt is.
        name: Which.
        alias: What it is in use as.
        catalog: The items it shall describe: a prompt that was chosen for others is refused, and the price is told.
        config: The text encoder's settings; likewise.

    Raises:
        PromptError: It was chosen for another catalog or encoder, breaks a promise, or is not well formed.
    """
    store, cost, whole, weights = PromptStore(folder), "", None, None
    if catalog is not None:
        items, config = read_catalog(catalog), config or TextEncoderConfig()
        prompt = store.prompt(name)
        whole, weights = items.fingerprint, TextEncoder(config, prompt=prompt).backbone.digest()
        store.check(name, alias, catalog=whole, model=weights)  # before texts are read for the price
        cost = price(prompt, items, config)
    return store.promote(name, alias, price=cost, catalog=whole, model=weights)


def rollback(folder: Folder, alias: str = ITEM) -> Move:
    """Put what was in use before into use again.

    Raises:
        PromptError: Nothing was in use before.
    """
    return PromptStore(folder).rollback(alias)


def tree(folder: Folder) -> tuple[Node, ...]:
    """What came from what in a folder of prompts, arms that lost their race included."""
    return PromptStore(folder).tree()

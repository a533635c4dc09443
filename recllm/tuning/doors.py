"""What people call, from data in any form: compose, optimize, promote, roll back, and the tree."""

import os
from typing import Any

from recllm.data.doors import of_kind, read_catalog, read_events
from recllm.encoders.text import TextEncoder, TextEncoderConfig
from recllm.options import TrainOptions
from recllm.prompting.generator import Generator
from recllm.prompting.open import open_generator
from recllm.prompting.template import Prompt, load_prompt
from recllm.tuning import compose as composing
from recllm.tuning.arms import MOST_ARMS
from recllm.tuning.compose import Composed
from recllm.tuning.items import price
from recllm.tuning.lineage import Node
from recllm.tuning.misses import item_drafts
from recllm.tuning.optimize import Optimized, optimize_items
from recllm.tuning.optimize_words import OptimizedWords
from recllm.tuning.optimize_words import optimize_words as race_words
from recllm.tuning.store import ITEM, Move, PromptStore
from recllm.tuning.words import Recommends, evidence_of

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
    writer: Generator | str | None = None,
    most: int = MOST_ARMS,
    liked_from: float | None = None,
    options: TrainOptions | None = None,
) -> Optimized:
    """Race item prompts for a catalog, by recall and NDCG of held-out users and items; no language model judges.

    Args:
        catalog: The items.
        events: Of users who are split into those who choose and those who say what the choice is worth.
        folder: Where the winner and the arms that lost are written, as new files with their lineage; None: nowhere.
        config: The text encoder's settings.
        standing: The prompt in use, by name or itself, which is kept unless another is surely better. None: what was
            promoted in `folder`, else the shipped one of the catalog's domain.
        writer: A language model, or the name or URL of one, that drafts some of the arms from what the standing prompt
            misses worst, if it can write prompts. It is shown titles of items that users have.
        most: Arms at most.
        liked_from: As in the recommender's settings.
        options: Seed, budget, progress.

    Raises:
        DataError: Too few users can be asked.
    """
    items, log = read_catalog(catalog), read_events(events)
    options = of_kind(TrainOptions() if options is None else options, TrainOptions, "options")
    store = None if folder is None else PromptStore(folder)
    if store is not None:
        store.make_room()  # before minutes of racing
    if isinstance(standing, str):
        standing = load_prompt(standing) if store is None or not store.holds(standing) else store.prompt(standing)
    if standing is None and store is not None and store.history(ITEM):
        standing = store.current(ITEM)
    further: tuple[Prompt, ...] = ()
    told: dict[str, Any] = {}
    if writer is not None:
        standing = standing or load_prompt(f"item.{composing.compose(items, config).domain.name}")
        proposal = item_drafts(items, log, _opened(writer), standing, config=config, seed=options.seed)
        further, told = proposal.arms, {"writer": proposal.writer}
    how: dict[str, Any] = {"config": config, "standing": standing, "further": further, "most": most}
    result = optimize_items(items, log, **how, liked_from=liked_from, options=options)
    result.facts.update(told)
    return result if store is None else result.written(store)


def optimize_words(
    recommender: Recommends,
    users: Any,
    *,
    folder: Folder | None = None,
    standing: Prompt | str | None = None,
    generator: Generator | str | None = None,
    writer: Generator | str | None = None,
    domain: str = "neutral",
    seed: int = 0,
) -> OptimizedWords:
    """Race prompts for reasons by the verifier's pass rate and by how much of the evidence is said.

    Args:
        recommender: A fitted one, whose reasons are to be put into words.
        users: Events of users whom it was not trained on; some choose, the others say what the choice is worth.
        folder: Where the winner and the arms that lost are written, as new files with their lineage; None: nowhere.
        standing: The prompt in use, by name or itself. None: the shipped `write.reason` where a model speaks, else the
            template of the domain.
        generator: The model that speaks, or its name or URL; None: templates are judged.
        writer: A model, or its name or URL, that drafts some of the arms from the verifier's complaints, if it can.
        domain: Whose words are used.
        seed: Of the split of users, and of what is tried.

    Raises:
        LeakageError: The recommender was trained on one of the users.
        DataError: Too few users.
        ConfigError: The generator only chooses among sentences.
    """
    if isinstance(standing, str) or standing is None:
        standing = load_prompt(standing or ("write.reason" if generator is not None else f"reason.{domain}"))
    speaker, drafter = (None if one is None else _opened(one) for one in (generator, writer))
    cases = evidence_of(recommender, read_events(users))
    result = race_words(standing, cases, generator=speaker, writer=drafter, domain=domain, seed=seed)
    return result if folder is None else result.written(PromptStore(folder))


def _opened(model: Generator | str) -> Generator:
    return open_generator(model) if isinstance(model, str) else model


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

"""What text alone misses worst: liked items that stand far down the lists, told in sentences, for a writer to mend."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Float

from recllm.data.catalog import Catalog
from recllm.data.interactions import Interactions
from recllm.data.tasks import Tasks
from recllm.encoders.text import TextEncoder, TextEncoderConfig
from recllm.explain.wording import display_title
from recllm.prompting.generator import Generator
from recllm.prompting.template import Prompt
from recllm.tuning.judge import ItemJudge
from recllm.tuning.propose import Proposal, propose

_TOLD = 3
"""Items of a history that a sentence names."""


def item_drafts(
    catalog: Catalog,
    events: Interactions,
    writer: Generator,
    standing: Prompt,
    *,
    config: TextEncoderConfig | None = None,
    seed: int = 0,
    n: int = 6,
    items: int = 2_000,
    **how: Any,
) -> Proposal:
    """Item prompts to race beside others (`further`), drafted from what the standing one misses worst.

    Args:
        catalog: The items.
        events: As in the race, whose users are split by the same seed: only those who choose are told of.
        writer: Drafts prompts, if it can; mutations of the standing prompt are tried in any case.
        standing: The prompt in use.
        config: The text encoder.
        seed: Of the race.
        n: How many prompts, half of them drafts at most.
        items: Among how many items, those with the most events, misses are looked for.
        how: As in `propose`.

    Raises:
        DataError: Too few users can be asked.
    """
    encoder = TextEncoder(config or TextEncoderConfig(), prompt=standing)
    judge = ItemJudge(catalog, events, encoder, seed=seed)
    scope = judge.scope(items)
    texts = judge.texts(standing, scope.rows)
    misses = worst_misses(judge.white(standing, scope), scope.tasks["select"], texts)
    return propose(standing, (), writer, n=n, seed=seed, misses=misses, **how)


def worst_misses(
    vectors: Float[np.ndarray, "items dim"], tasks: Tasks, texts: Sequence[str], *, most: int = 8
) -> tuple[str, ...]:
    """Of each user the liked item that stands lowest, the worst of all users first.

    Items are ranked as the text channel does, by their cosine to the mean vector of the liked items that are known;
    what is known already is in no list.

    Args:
        vectors: Of the items, whitened.
        tasks: What is known of users, and what they liked later; only of users who choose a prompt.
        texts: [items], what the prompt says of them.
        most: How many sentences.
    """
    found = []
    for user in range(len(tasks.support)):
        known = tasks.support.items_of(user)
        liked = known[tasks.support.of([user]).signals > 0]
        query = tasks.query.of([user])
        wanted = np.setdiff1d(query.item_rows[query.signals > 0], known)
        if not len(liked) or not len(wanted):
            continue
        scores = vectors @ vectors[liked].sum(axis=0)
        scores[known] = -np.inf
        places = [int((scores > scores[item]).sum()) + 1 for item in wanted]
        worst = int(np.argmax(places))
        found.append((places[worst], int(wanted[worst]), liked[-_TOLD:].tolist()))
    found.sort(key=lambda one: (-one[0], one[1]))
    return tuple(_told(*one, texts) for one in found[:most])


def _told(place: int, item: int, liked: Sequence[int], texts: Sequence[str]) -> str:
    known = ", ".join(f"“{display_title(texts[row])}”" for row in liked)
    return f"“{display_title(texts[item])}” stood at place {place:,} of {len(texts):,} for somebody who likes {known}."

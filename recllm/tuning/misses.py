"""What text alone misses worst: liked items that stand far down the lists, told in sentences, for a writer to mend."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from recllm.data.tasks import Tasks
from recllm.explain.wording import display_title

_TOLD = 3
"""Items of a history that a sentence names."""


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

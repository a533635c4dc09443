"""Recommendations to one user that have the same reason: the first carries it, the others name one before them."""

from collections.abc import Sequence
from dataclasses import replace

from recllm.explain.evidence import Evidence, Likewise
from recllm.explain.wording import display_title, word


def grouped(evidence: Sequence[Evidence]) -> list[Evidence]:
    """The same evidence, with `same_as` where the reason is, word for word, that of an item before.

    Named is the last such item whose title has not been named yet, so that no two sentences are the same.
    """
    before: dict[tuple[str, str], list[Evidence]] = {}
    named: dict[tuple[str, str], set[str]] = {}
    result = []
    for one in evidence:
        reason = (one.user_id, word(one))
        others = [other for other in before.get(reason, []) if other.item_id != one.item_id]
        used = named.setdefault(reason, set())
        fresh = [other for other in others if display_title(other.title) not in used]
        before.setdefault(reason, []).append(one)
        if not others:
            result.append(one)
            continue
        other = (fresh or others)[-1]
        used.add(display_title(other.title))
        result.append(replace(one, same_as=Likewise(other.item_id, other.title)))
    return result

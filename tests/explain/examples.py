"""Evidence to test words with."""

from typing import Any

from recllm.explain.evidence import Cause, Counterfactual, Evidence, SharedAttribute


def evidence(
    code: str, *titles: str, popular: bool = False, events: tuple[str | None, ...] = ("purchase",), **more: Any
) -> Evidence:
    """Evidence whose causes i0, i1, … have `titles`; `events` are theirs in turn."""
    causes = tuple(
        Cause(f"i{number}", title, 1.0, 0.3, events[number % len(events)]) for number, title in enumerate(titles)
    )
    known = {"user_id": "u", "item_id": "i", "title": "X", **more}
    return Evidence(
        reason_code=code,  # type: ignore[arg-type]
        causes=causes,
        channel=None,
        confidence=0.5,
        popularity_rank=0.9,
        popular=popular,
        n_events=3,
        **known,
    )


def shared(kind: str, value: str, *item_ids: str) -> tuple[SharedAttribute, ...]:
    """One attribute, shared with the causes of these ids."""
    return (SharedAttribute(kind, value, item_ids or ("i0",), ()),)


def without(*titles: str, instead: str | None = None) -> Counterfactual:
    """A counterfactual of the causes i0, i1, …"""
    return Counterfactual(tuple(f"i{n}" for n in range(len(titles))), titles, instead and "y", instead)


def against(title: str) -> Cause:
    return Cause("z", title, -0.5, 1.0, None)


RICH = evidence(
    "history",
    "Lantern",
    "Bunting",
    title="Fairy lights",
    attributes=shared("categories", "Garden", "i0", "i1"),
    counterfactual=without("Lantern", "Bunting", instead="Cake tin"),
    against=against("Office chair"),
)

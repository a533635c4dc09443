"""What a reason says, one claim at a time, and what evidence holds."""

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

from recllm.explain import wording
from recllm.explain.evidence import Evidence, SharedAttribute

Role = Literal[
    "item", "cause", "main", "did", "shared", "removed", "gone", "instead", "against", "wish", "popular",
    "not_from_history", "no_cause", "guess", "unknown_taste", "profile", "promoted", "owned", "count", "unread",
    "whole", "alike", "same",
]  # fmt: skip
Part = Literal["reason", "shared", "counterfactual", "against"]
PARTS: tuple[Part, ...] = ("reason", "shared", "counterfactual", "against")


@dataclass(frozen=True)
class Claim:
    """One thing that a reason says.

    Attributes:
        role: "item" (these titles are recommended), "cause" (these brought it), "main" (more than others), "did" (the
            user did `value` with them), "shared" (they have `value`, of `kind`, in common with the recommended item),
            "removed" (without exactly these), "gone" (the recommended item would not be in the list), "instead" (these
            would be), "against", "wish" (the user asked for `value`), "count" (`value` many, of `kind`), "alike" (all
            causes have `value`, of `kind`, in common with it), "same" (these are recommended for the same reason),
            "whole" (the history as a whole brought it); "popular", "not_from_history", "no_cause", "guess",
            "unknown_taste", "profile", "promoted" and "owned" speak for themselves. "unread": `value` cannot be
            understood, or must not be said.
        titles: As `key` makes them.
    """

    role: Role
    titles: frozenset[str] = frozenset()
    value: str = ""
    kind: str = ""


Claims = frozenset[Claim]


@lru_cache(wording.REMEMBERED)
def key(text: str) -> str:
    """How titles and values are compared: as they are displayed, without case, all single quotes being one."""
    return wording.fold(wording.shorten(wording.display_title(text)))


def kind_key(kind: str) -> str:
    """How the names of a catalog's columns are compared."""
    return wording.fold(wording.display_column(kind))


def claims_of(evidence: Evidence, parts: Collection[Part] = PARTS) -> Claims:
    """What the shipped sentences say about `evidence`; reading such a sentence gives exactly these claims back.

    Args:
        evidence: What may be said.
        parts: Which sentences: "reason", "shared" (attributes), "counterfactual", "against".
    """
    claims: set[Claim] = set()
    if "reason" in parts:
        claims |= _reason(evidence)
        claims |= {Claim("same", keys([evidence.same_as.title]))} if evidence.same_as else set()
    if "shared" in parts:
        claims |= _shared(evidence)
    if "counterfactual" in parts and (change := evidence.counterfactual):
        claims.add(Claim("removed", keys(change.titles)))
        instead = change.instead_title
        claims.add(Claim("gone") if instead is None else Claim("instead", keys([instead])))
    if "against" in parts and evidence.against:
        claims.add(Claim("against", keys([evidence.against.title])))
    return frozenset(claims)


def held_by(evidence: Evidence) -> Claims:
    """All claims that `evidence` supports, the weaker forms of the shipped ones included."""
    causes = [key(cause.title) for cause in evidence.causes]
    claims = set(claims_of(evidence)) | {Claim("item", keys([evidence.title]))}
    claims |= {Claim("wish", value=key(wish)) for wish in evidence.wishes}
    claims |= {Claim("cause", frozenset(some)) for some in ([], *([title] for title in causes)) if causes}
    claims |= {Claim("main", frozenset(causes[:number])) for number in range(1, len(causes) + 1)}
    claims |= _deeds(evidence) | _counts(evidence)
    claims |= {Claim("cause")} if evidence.whole else set()
    for shared in evidence.attributes:
        claims |= _alike(evidence, shared)
        claims.add(Claim("shared", value=key(shared.value), kind=kind_key(shared.kind)))
        for title in titles_of(evidence, shared.item_ids):
            claims |= {
                Claim("shared", keys([title])),
                Claim("shared", keys([title]), key(shared.value), kind_key(shared.kind)),
            }
    if evidence.popular:
        claims.add(Claim("popular"))
    if evidence.reason_code in ("popular", "cold_start", "profile"):
        claims.add(Claim("not_from_history"))
    if evidence.counterfactual:
        claims.add(Claim("gone"))
    return frozenset(claims)


def keys(titles: Iterable[str]) -> frozenset[str]:
    """The keys of several titles."""
    return frozenset(map(key, titles))


def titles_of(evidence: Evidence, item_ids: Iterable[str]) -> list[str]:
    """The titles of cited items."""
    titles = {cause.item_id: cause.title for cause in evidence.causes}
    return [titles[item_id] for item_id in item_ids if item_id in titles]


def deeds_of(event: str | None) -> frozenset[str]:
    """The verbs, as `VERB_FORMS` groups them, that are true of an event."""
    verb = wording.verb_for(event)
    return frozenset({verb, "rated"} if verb == "liked" and event == "rating" else {verb} if verb else ())


def _reason(evidence: Evidence) -> set[Claim]:
    causes = evidence.causes
    if evidence.whole:
        leading = keys(cause.title for cause in causes)
        main = {Claim("main", leading)} if leading else set()
        return {Claim("whole"), *main, *(Claim("cause", frozenset([title])) for title in leading)}
    if evidence.reason_code == "owned":
        return {Claim("owned")} | (_causes(evidence) or {Claim("no_cause")})
    if causes:
        verbs = {wording.verb_for(cause.event) for cause in causes}
        verb = verbs.pop() if len(verbs) == 1 else None
        titles, more = _named(evidence)
        done = {Claim("did", frozenset([title]), verb) for title in titles if verb}
        done |= {Claim("did", value=verb)} if verb and more else set()
        return _causes(evidence) | done
    match evidence.reason_code:
        case "asked":
            return {Claim("wish", value=key(wish)) for wish in evidence.wishes}
        case "cold_start":
            return {Claim("unknown_taste"), Claim("popular" if evidence.popular else "guess")}
        case "promoted":
            return {Claim("promoted")}
        case "profile":
            return {Claim("unknown_taste"), Claim("profile")}
        case "popular" if evidence.popular:
            return {Claim("popular"), Claim("not_from_history")}
        case _:
            return {Claim("guess"), Claim("no_cause")}


def _named(evidence: Evidence) -> tuple[list[str], int]:
    """The causes that a reason names, and how many it only counts."""
    titles = list(dict.fromkeys(key(cause.title) for cause in evidence.causes))
    named = titles if len(titles) <= wording.MOST_NAMED else titles[: wording.NAMED]
    return named, len(titles) - len(named)


def _causes(evidence: Evidence) -> set[Claim]:
    """The causes as a reason cites them: of many, some are named and the others counted."""
    named, more = _named(evidence)
    claims = {Claim("cause", frozenset([title])) for title in named}
    if not more:
        return claims
    claims.add(Claim("count", value=str(len(named) + more), kind="titles"))
    value = wording.value_of_all(evidence)
    if value is not None:
        kind = kind_key(wording.CATEGORIES)
        claims |= {Claim("shared", frozenset([title]), key(value), kind) for title in named}
        claims.add(Claim("alike", value=key(value), kind=kind))
    return claims


def _alike(evidence: Evidence, shared: SharedAttribute) -> set[Claim]:
    """That an attribute is shared with all causes, if it is."""
    if not {cause.item_id for cause in evidence.causes} <= {*shared.item_ids}:
        return set()
    return {Claim("alike", value=key(shared.value), kind=kind_key(shared.kind))}


def _shared(evidence: Evidence) -> set[Claim]:
    return {
        Claim("shared", keys([title]), key(shared.value), kind_key(shared.kind))
        for shared in evidence.attributes
        for title in titles_of(evidence, shared.item_ids)[: wording.MOST_NAMED]
    }


def _deeds(evidence: Evidence) -> set[Claim]:
    """Per title; and without one, "your purchases", if that is true of all causes."""
    items = [*evidence.causes, *([evidence.against] if evidence.against else [])]
    done: dict[str, set[str]] = {}
    for item in items:
        done.setdefault(key(item.title), set()).update(deeds_of(item.event))
    claims = {Claim("did", frozenset([title]), verb) for title, verbs in done.items() for verb in verbs}
    in_all = frozenset.intersection(*(deeds_of(cause.event) for cause in evidence.causes)) if evidence.causes else ()
    return claims | {Claim("did", value=verb) for verb in in_all}


def _counts(evidence: Evidence) -> set[Claim]:
    shares = [evidence.share, *(cause.share for cause in evidence.causes)]
    return {
        Claim("count", value=str(len(evidence.causes)), kind="cited"),
        Claim("count", value=str(len(keys(cause.title for cause in evidence.causes))), kind="titles"),
        Claim("count", value=str(evidence.n_events), kind="total"),
        Claim("count", value=str(evidence.n), kind="length"),
        Claim("count", value=f"{100 * evidence.confidence:.0f}", kind="confidence"),
        *(Claim("count", value=f"{100 * share:.0f}", kind="share") for share in shares),
    }

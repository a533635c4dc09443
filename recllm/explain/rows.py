"""Whether a row of reasons is what the model says, field by field."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from recllm.data.histories import Histories
from recllm.errors import DataError, RecllmError
from recllm.explain.evidence import Evidence
from recllm.explain.explainer import Explainer
from recllm.explain.proof import Check, Proof, Verification, differences, is_close, seal_of
from recllm.explain.reasons import Reasons
from recllm.explain.repeats import grouped
from recllm.explain.served import ServedRanking
from recllm.lists.serve import Served

_OF_BOTH = ("user_id", "item_id", "title", "explanation", "reason_code", "evidence", "proof")
_OF_WORDING = ("method", "verified", "fallback", "share", "prompt")
FIELDS = {"line": (*_OF_BOTH, "rank", "score"), "item": (*_OF_BOTH, *_OF_WORDING)}
"""What a row has: a line of recommendations, and an answer of `explain`."""


def check_explanation(explanation: Mapping[str, Any], reasons: Reasons, domain: str) -> Verification:
    """See `Recommender.verify_explanation`."""
    try:
        return _checked(explanation, reasons, domain)
    except RecllmError:
        raise
    except (RecursionError, ValueError, OverflowError, TypeError) as error:  # half a letter, 5,000 digits, 10⁵ levels
        raise DataError(f"this is no explanation that can be checked: {type(error).__name__}, {error}") from None


def _checked(explanation: Mapping[str, Any], reasons: Reasons, domain: str) -> Verification:
    if not isinstance(explanation, Mapping):
        raise DataError(f"an explanation is a JSON object; got {type(explanation).__name__}.")
    evidence, text = explanation.get("evidence"), explanation.get("explanation")
    if not isinstance(evidence, dict) or not isinstance(text, str) or "proof" not in explanation:
        raise DataError("an explanation has the fields evidence, explanation and proof; take a line of to_json().")
    proof = Proof.from_dict(explanation["proof"])
    catalog = reasons.model.catalog
    item = str(explanation.get("item_id"))
    rows = catalog.rows([item])
    if rows[0] < 0:
        raise DataError(f"the explanation is about item {item!r}, which the model's catalog does not have.")
    history = proof.histories(catalog, reasons.model.feedback)
    served = _served(proof, reasons)
    found = _evidence(evidence, int(rows[0]), reasons, served, history, proof.request.steps)
    claimed = {name: value for name, value in evidence.items() if name != "wording"}
    words, taken = _words(text, evidence.get("wording"), found, proof, domain)
    place, unplaced = _place(explanation, proof, served, history, int(rows[0]))
    checks = (
        Check("model", () if proof.model == reasons.digest else (_ANOTHER,)),
        Check("seal", () if proof.seal == seal_of(explanation) else ("something in the row was changed",)),
        Check("fields", (*_fields(explanation, proof, evidence.get("wording")), *_names(explanation, found, proof))),
        Check("place", place),
        Check("evidence", tuple(differences(claimed, found.to_dict()))),
        Check("reason code", tuple(differences(explanation.get("reason_code"), found.reason_code, "reason_code"))),
        Check("words", words),
    )
    return Verification(str(explanation.get("user_id")), item, checks, (*unplaced, *taken))


_ANOTHER = "it was made by another model; verify it with that one"


def _evidence(
    claimed: Mapping[str, Any], row: int, reasons: Reasons, served: Served, history: Histories, steps: int | None
) -> Evidence:
    """What is true of the item; that another one has the same reason is true if it is found for both."""
    other = claimed.get("same_as")
    named = other.get("item_id") if isinstance(other, Mapping) else None
    before = reasons.model.catalog.rows([named])[0] if isinstance(named, str) else -1
    rows = [row] if before < 0 else [int(before), row]
    return grouped(reasons.evidence(served, history, [np.array(rows, dtype=np.int64)], [steps]))[-1]


def _served(proof: Proof, reasons: Reasons) -> Served:
    catalog, attributes, request = reasons.model.catalog, reasons.model.attributes, proof.request.to_list_request()
    for one in proof.request.without:
        if catalog.rows([one])[0] < 0 and not attributes.items_valued(one).any():
            raise DataError(f"the proof leaves out {one!r}, which is neither an item nor a value of the catalog.")
    return Served(reasons.model, request)


def _names(explanation: Mapping[str, Any], found: Evidence, proof: Proof) -> list[str]:
    """Who and what the row is about."""
    user = explanation.get("user_id")
    wrong = differences(explanation.get("item_id"), found.item_id, "item_id")
    wrong += differences(explanation.get("title"), found.title, "title")
    return wrong if user == proof.user_id else [*wrong, f"the proof is of user {proof.user_id!r}, the row of {user!r}"]


def _fields(explanation: Mapping[str, Any], proof: Proof, wording: Any) -> list[str]:
    """Fields too many or too few, and those that repeat what the wording says."""
    wanted = FIELDS[proof.about]
    # A row of another kind has these, too, as None where there is nothing to say.
    extra = [name for name in explanation if name not in wanted]
    wrong = [f"{name} is missing" for name in wanted if name not in explanation]
    wrong += [f"{name} is no field of such a row" for name in extra]
    claimed = wording if isinstance(wording, Mapping) else {}
    repeated = _OF_WORDING if proof.about == "item" else ()
    return wrong + [line for name in repeated for line in differences(explanation.get(name), claimed.get(name), name)]


def _place(
    explanation: Mapping[str, Any], proof: Proof, served: Served, history: Any, row: int
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """What is wrong with rank and score, and which of them nothing can be computed for."""
    if proof.about == "item":
        return (), ()
    rank, score = explanation.get("rank"), explanation.get("score")
    if not proof.remade:  # by adapters that nobody has any more
        return _out_of_range(rank, score, proof.request.n), ("rank", "score")
    lists = ServedRanking(served, history, proof.request.steps).lists(history)
    items, scores = lists.rows[0], lists.scores[0]
    (places,) = np.nonzero(items == row)
    if not len(places):
        return ("the item is not in the list",), ()
    place = int(places[0])
    wrong = differences(score, float(scores[place]), "score")
    # Of two that score alike but for rounding, either may come first.
    alike = type(rank) is int and 1 <= rank <= len(items) and is_close(float(scores[rank - 1]), float(scores[place]))
    return tuple(wrong if alike else [*wrong, *differences(rank, place + 1, "rank")]), ()


def _out_of_range(rank: Any, score: Any, n: int) -> tuple[str, ...]:
    fits = type(rank) is int and 1 <= rank <= n and isinstance(score, float) and np.isfinite(score)
    return () if fits else (f"the list has {n} lines with a score each",)


def _words(
    text: str, claimed: Any, found: Evidence, proof: Proof, domain: str
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """What is wrong with the words and their labels, and which labels nothing can be computed for."""
    if not isinstance(claimed, Mapping):
        return ("there is no wording",), ()
    retold = Explainer(domain=domain, detail=proof.detail, audience=proof.audience).retold(
        found, text, claimed, proof.level
    )
    wording, wrong = retold.wording, list(retold.complaints)
    if text != wording.text and not wrong:
        source = "template" if wording.method == "L0" else "clause"
        wrong.append(f"the words are {text!r}, and the {source} says {wording.text!r}")
    wrong += differences(dict(claimed), wording.to_dict(), "wording")
    taken = tuple(f"evidence.wording.{name}" for name in retold.taken)
    also = tuple(name for name in retold.taken if name in FIELDS[proof.about])
    return tuple(wrong), taken + also

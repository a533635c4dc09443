"""Whether a text says only what the evidence holds, every title in its role."""

from recllm.explain.claims import Claim, Claims, claims_of, held_by
from recllm.explain.evidence import Evidence
from recllm.explain.reading import read_claims

__all__ = ["Claim", "Claims", "claims_of", "complaints", "read_claims"]

_LONGEST = 400
_MOST_SENTENCES = 4

_SAYINGS = {
    "item": "{titles} is not what is recommended; the recommended item is “{item}”.",
    "cause": "{titles} is not a cause of this recommendation; name only the causes given.",
    "did": "“{value}” is not what the user did with {titles}; use the verb given, or none.",
    "shared": "{titles} and the recommended item do not have {value} in common; name only the attributes given.",
    "removed": "Nothing is known about a history without exactly {titles}.",
    "gone": "Nothing is known about what would not be in the list.",
    "instead": "{titles} is not what would have been there instead.",
    "against": "{titles} is not known to speak against it.",
    "wish": "The user did not ask for “{value}”.",
    "popular": "It is not known to be popular.",
    "not_from_history": "It is not true that the history has no part in it.",
    "no_cause": "It is not true that nothing in the history stands out.",
    "guess": "It is not a guess; name the reason given.",
    "unknown_taste": "The user's taste is not unknown.",
    "count": "The number {value} is not supported; leave numbers out.",
    "unread": "“{value}” is not supported by the evidence; leave it out, and use plain words such as “because you …”.",
}


def complaints(text: str, evidence: Evidence, *, domain: str = "neutral") -> tuple[str, ...]:
    """What `text` says that `evidence` does not hold; nothing: the text is verified.

    Each complaint is one sentence that a writer, such as a language model, can act on.
    """
    said = read_claims(text, evidence, domain=domain)
    unsupported = sorted(said - held_by(evidence), key=lambda claim: (claim.role, claim.value, sorted(claim.titles)))
    found = [_complain(claim, evidence) for claim in unsupported]
    if all(claim.role == "item" for claim in said):
        found.append("The text gives no reason; name the reason given.")
    return tuple(dict.fromkeys(found))


def _complain(claim: Claim, evidence: Evidence) -> str:
    titles = " and ".join(f"“{title}”" for title in sorted(claim.titles)) or "what the user did"
    return _SAYINGS[claim.role].format(titles=titles, value=claim.value, item=evidence.title)

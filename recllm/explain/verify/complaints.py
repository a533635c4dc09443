"""Whether a text says only what the evidence holds, every title in its role."""

from recllm.explain import wording
from recllm.explain.evidence import Evidence
from recllm.explain.verify.claims import Claim, held_by, key
from recllm.explain.verify.reading import read_claims

_SENTENCES = {
    "item": "{titles} is not what is recommended; that is “{item}”.",
    "cause": "{titles} is not a cause of this recommendation; name the given causes only.",
    "main": "{titles} is not the strongest cause; name the strongest one first, or say “because”.",
    "did": "It is not known that the user {value} {titles}; use the given verb, or none.",
    "shared": "“{value}” is not what the recommended item is known to share with {titles}; name given attributes only.",
    "removed": "It is not known what would be without {titles}; name exactly the given items, or say nothing of it.",
    "gone": "It is not known what would no longer be in the list; say nothing of it.",
    "instead": "{titles} is not what would be in the list instead.",
    "against": "{titles} is not known to speak against it.",
    "wish": "The user is not known to have asked for “{value}”.",
    "popular": "It is not known to be popular; say nothing of other people.",
    "not_from_history": "It is not true that the history has no part in it.",
    "no_cause": "It is not true that nothing in the history stands out.",
    "owned": "The user is not known to have it already.",
    "guess": "It is not a guess; name the given causes.",
    "unknown_taste": "It is not true that nothing is known of the user.",
    "profile": "It is not known that people with a like profile have to do with it; say nothing of profiles.",
    "promoted": "It is not known to be promoted by anybody; leave that out.",
    "count": "The number {value} is not in the evidence; leave it out.",
    "whole": "It is not the history as a whole that brought it; name the given causes.",
    "alike": "Not all causes are known to have “{value}” in common with it; leave it out.",
    "same": "{titles} is not known to be recommended for the same reason; leave it out.",
    "unread": "“{value}” is not in the evidence or cannot be checked; leave it out.",
}


def complaints(text: str, evidence: Evidence, *, domain: str = "neutral") -> tuple[str, ...]:
    """What `text` says that `evidence` does not hold; nothing: the text is verified.

    Only a small language is understood: titles, values and wishes of the evidence, quoted or not, and a closed list of
    words around them that give them their roles. Everything else is refused, true or not.

    Args:
        text: What was written about the recommendation, by a template or by a language model.
        evidence: What may be said.
        domain: Chooses the words for items and people ("course", "learners"); "neutral" takes those of all domains.

    Returns:
        One sentence per complaint, for whoever wrote the text.
    """
    claims = read_claims(text, evidence, domain=domain)
    unsupported = sorted(claims - held_by(evidence), key=lambda claim: (claim.role, claim.value, sorted(claim.titles)))
    found = [_complain(claim, evidence) for claim in unsupported]
    if all(claim.role == "item" for claim in claims):
        found.append("The text gives no reason; name the given causes.")
    return tuple(dict.fromkeys(found))


def _complain(claim: Claim, evidence: Evidence) -> str:
    written = {key(title): title for title in (evidence.title, *(cause.title for cause in evidence.causes))}
    titles = " and ".join(f"“{wording.display_title(written.get(title, title))}”" for title in sorted(claim.titles))
    item = wording.display_title(evidence.title)
    return _SENTENCES[claim.role].format(titles=titles or "them", value=claim.value, item=item)

"""Is a text true of its evidence? A stand-in: known words only, each quotation in its role."""

import re
from collections.abc import Iterable

from recllm.explain.evidence import Evidence
from recllm.explain.wording import display_column, display_title, verb_for

_WORDS = frozenset(
    """a advice all also an and are as asked based because been both by cause category clear client clients common
    counts customer customers every everyone everything financial first follows for from get guess had has have here
    history in instead interests is it its item items known learner learners like list more most not nothing of on one
    only or out people picked popular product products reason same see seen shared shares shown so speaks speaking
    stands take taste that the them this title to too was what which why with without would yet you your away against
    among be course courses led brought came entirely agrees suggests there
    behind but weighs other hand suggested if were""".split()  # noqa: SIM905
)


def complaints(text: str, evidence: Evidence, *, domain: str = "neutral") -> tuple[str, ...]:
    """What is wrong with `text`; empty if nothing is."""
    causes = {display_title(cause.title) for cause in evidence.causes}
    changed = evidence.counterfactual
    out = {display_title(title) for title in changed.titles} if changed else set()
    instead = {display_title(changed.instead_title)} if changed and changed.instead_title is not None else set()
    against = {display_title(evidence.against.title)} if evidence.against else set()
    values = {display_title(attribute.value) for attribute in evidence.attributes}
    wishes = {display_title(wish) for wish in evidence.wishes} if evidence.reason_code == "asked" else set()
    verbs = {verb_for(cause.event) for cause in evidence.causes}
    said = (verbs.pop() or "") if len(verbs) == 1 else ""
    known = _WORDS | _words([said, *(display_column(attribute.kind) for attribute in evidence.attributes)])
    found = []
    if "“" in (rest := re.sub(r"“[^“”]*”", "", text)) or "”" in rest:
        return ("quotation marks do not match",)
    for sentence in re.findall(r"(?:“[^”]*”|[^.“])+\.?", text):
        quoted = set(re.findall(r"“([^”]*)”", sentence))
        own = re.sub(r"“[^”]*”", " ", sentence).casefold()
        roles = _role(own, quoted, causes, out | instead, against, values, wishes)
        found += [f"“{title}” is not in that role" for title in sorted(quoted - roles)]
        found += [f"the word '{word}' is not in the evidence" for word in sorted(_words([own]) - known)]
        if "“" in own or "”" in own or re.search(r"[^\w\s.,;:’'-]", own):
            found.append("there are characters that do not belong")
        if re.search(r"\d", own):
            found.append("there is a number")
        if not quoted and evidence.reason_code in ("history", "asked") and "financial" not in own:
            found.append("a sentence names nothing")
    return tuple(found) or (() if text.strip() else ("it is empty",))


def _role(
    own: str, quoted: set[str], causes: set[str], out: set[str], against: set[str], values: set[str], wishes: set[str]
) -> set[str]:
    if "without" in own or "were not for" in own:
        return out
    if "against" in own:
        return against
    if "asked" in own:
        return wishes
    return causes | values if quoted & values else causes


def _words(texts: Iterable[str]) -> set[str]:
    return {word for text in texts for word in re.findall(r"[^\W\d_]+", text.casefold())}

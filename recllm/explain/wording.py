"""Evidence to one sentence, through the ``reason.*`` prompts; says nothing that the evidence does not hold."""

import re
from functools import cache

from recllm.explain.evidence import Evidence
from recllm.prompting.syntax import clean_text
from recllm.prompting.template import Prompt, list_prompts, load_prompt

LONGEST_TITLE = 60

_URL = re.compile(r"(?:\w+://|www\.)\S+", re.IGNORECASE)
_DISPLAYED = str.maketrans("“”<>", "‘’‹›")

_VERBS = {
    "rating": "liked",
    "like": "liked",
    "favorite": "liked",
    "favourite": "liked",
    "purchase": "bought",
    "buy": "bought",
    "order": "bought",
    "transaction": "bought",
    "cart": "put in your cart",
    "addtocart": "put in your cart",
    "wishlist": "wished for",
    "save": "saved",
    "bookmark": "saved",
    "share": "shared",
    "follow": "followed",
    "comment": "commented on",
    "click": "opened",
    "open": "opened",
    "view": "viewed",
    "detailview": "viewed",
    "watch": "watched",
    "play": "played",
    "listen": "listened to",
    "read": "read",
    "download": "downloaded",
    "enroll": "enrolled in",
    "enrol": "enrolled in",
    "complete": "completed",
}


def verb_for(event: str | None) -> str | None:
    """How to say an event: "purchase" is "bought". None if there is no safe word for it."""
    key = "".join(letter for letter in (event or "").casefold() if letter.isalnum())
    return _VERBS.get(key)


def word(evidence: Evidence, domain: str = "neutral", verb: str | None = None) -> str:
    """One line of plain text from `evidence`.

    Titles are quoted as they are, on one line, shortened to `LONGEST_TITLE` characters. Plain text means that whoever
    puts it into HTML, markdown or terminal markup has to escape it.

    Args:
        evidence: Where the words come from.
        domain: Chooses ``reason.<domain>.prompt``.
        verb: What the user did with all cited items ("bought"). By default it follows from their events, and is left
            out if these differ or are not known.

    Raises:
        PromptError: There is no such domain.
    """
    verbs = {verb_for(cause.event) for cause in evidence.causes}
    text = _reason_prompt(domain).render(
        cited=list(dict.fromkeys(shorten(cause.title) for cause in evidence.causes)),
        verb=verb or (verbs.pop() if len(verbs) == 1 else None),
        popular=evidence.popular and evidence.reason_code != "weak",
        cold_start=evidence.reason_code == "cold_start",
    )
    return clean_text(text)


def reason_domains() -> tuple[str, ...]:
    """The domains that `word` knows."""
    return tuple(name.removeprefix("reason.") for name in list_prompts() if name.startswith("reason."))


def display_title(title: str) -> str:
    """`title` as it may stand between “ and ”: on one line, without such quotes, tags or addresses of its own."""
    return _URL.sub("[link]", clean_text(title)).translate(_DISPLAYED)


def shorten(title: str, longest: int = LONGEST_TITLE) -> str:
    """`title` on one line, cut at a word with an ellipsis if it has more than `longest` characters."""
    title = clean_text(title)
    if len(title) <= longest:
        return title
    at_word = title[:longest].rpartition(" ")[0]
    return (at_word if len(at_word) > longest // 2 else title[: longest - 1]).rstrip(" ,;:-–.") + "…"


@cache
def _reason_prompt(domain: str) -> Prompt:
    return load_prompt(f"reason.{domain}")

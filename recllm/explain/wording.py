"""Evidence to words, through the ``reason.*`` prompts; says nothing that the evidence does not hold."""

import re
from collections.abc import Iterable
from functools import cache, lru_cache
from typing import Literal

from recllm.explain.evidence import Evidence
from recllm.prompting.template import Prompt, load_prompt
from recllm.texts import clean_text

LONGEST_TITLE = 60

Detail = Literal["short", "full"]
Fact = str | bool | None

CATEGORIES = "categories"
LIKEWISE = "likewise.neutral"
COUNTED = ("one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve")

REMEMBERED = 4096  # titles whose shown form is kept: each is asked for some seventy times for one reason
_READ = 20 * LONGEST_TITLE  # what stands further back in a title is not shown anyway
_REASON_FACTS = (
    "owned",
    "cited",
    "verb",
    "whole",
    "leading",
    "wishes",
    "popular",
    "cold_start",
    "profiled",
    "promoted",
)
MOST_NAMED = 3
"""Of more causes than this, `NAMED` are named and the rest counted."""
NAMED = 2
# What programs further down might turn into a thing to click or run. “ ” would fake a second citation, < > markup.
_QUOTES = str.maketrans("“”", "‘’")
_INERT = _QUOTES | str.maketrans("<>＜＞", "‹›‹›")
_TAIL = r"[^\s‘’‹›\"']"
_LINK = re.compile(
    rf"(?P<markdown>\])\(\S*|[\w+.-]{{0,30}}[:：][/\\]{{2}}{_TAIL}*|(?<!\w)www\.{_TAIL}+"
    rf"|(?:\bdata|\bblob|\bmailto|javascript|vbscript)[:：]{_TAIL}+",
    re.IGNORECASE,
)
# With a space behind the colon it may well be a title (“JavaScript: The Good Parts”): U+2236 only looks like a colon.
_SCHEME = re.compile(r"(\bdata|javascript|vbscript)[:：]", re.IGNORECASE)

_EVENTS_OF = {
    "liked": "rating like favorite favourite",
    "bought": "purchase buy order transaction",
    "put in your cart": "cart addtocart",
    "wished for": "wishlist",
    "saved": "save bookmark",
    "shared": "share",
    "followed": "follow",
    "commented on": "comment",
    "opened": "click open",
    "viewed": "view detailview",
    "watched": "watch",
    "played": "play",
    "listened to": "listen",
    "read": "read",
    "downloaded": "download",
    "enrolled in": "enroll enrol",
    "asked": "ask question",
    "answered": "answer",
    "completed": "complete",
}
VERBS = {event: verb for verb, events in _EVENTS_OF.items() for event in events.split()}


def verb_for(event: str | None) -> str | None:
    """How to say an event: "purchase" is "bought". None if there is no safe word for it."""
    key = "".join(letter for letter in (event or "").casefold() if letter.isalnum())
    return VERBS.get(key)


def word(evidence: Evidence, domain: str = "neutral", verb: str | None = None, detail: Detail = "short") -> str:
    """One line of plain text from `evidence`, the same for the same evidence.

    Titles, values and wishes stand in it as `display_title` makes them. Plain text means that whoever puts it into
    HTML, markdown or terminal markup has to escape it all the same.

    Args:
        evidence: Where the words come from.
        domain: Chooses ``reason.<domain>.prompt``.
        verb: What the user did with all cited items ("bought"). By default it follows from their events, and is left
            out if these differ or are not known.
        detail: "short" is the reason alone; "full" adds what the item shares with the cited ones, what would be
            otherwise without them, and what speaks against it, as far as the evidence knows.

    Raises:
        PromptError: There is no such domain.
    """
    facts = facts_of(evidence, verb) if detail == "full" else reason_facts(evidence, verb)
    return clean_text(shipped_prompt(f"reason.{domain}").render(**facts))


def likewise(reason: str, evidence: Evidence) -> str:
    """`reason`, with the recommendation before it that has the same one, if there is one."""
    if evidence.same_as is None:
        return reason
    return clean_text(shipped_prompt(LIKEWISE).render(title=listed([evidence.same_as.title]), reason=reason))


def facts_of(evidence: Evidence, verb: str | None = None) -> dict[str, Fact]:
    """What prompts and clauses may say of `evidence`, ready to print; None where it holds nothing.

    Titles, values and wishes come in quotation marks, several of them as one list in words, of many causes two and the
    number of the others. Seven facts are flags: ``owned``, ``whole``, ``popular``, ``cold_start``, ``profiled``,
    ``promoted`` and ``them`` (what is taken out is exactly what is cited, two or three things: of more, not all are
    named).
    """
    named = None if evidence.whole else evidence.causes
    verbs = {verb_for(cause.event) for cause in named or ()}
    changed = evidence.counterfactual
    taken_out = {display_title(title) for title in changed.titles} if changed else set()
    return {
        "owned": evidence.reason_code == "owned",
        "cited": _cited(evidence) if named else None,
        "verb": verb or (verbs.pop() if len(verbs) == 1 else None),
        "whole": evidence.whole,
        "leading": listed(cause.title for cause in evidence.causes) if evidence.whole else None,
        "wishes": listed(evidence.wishes) if evidence.reason_code == "asked" else None,
        "popular": evidence.popular and evidence.reason_code != "weak",
        "cold_start": evidence.reason_code == "cold_start",
        "profiled": evidence.reason_code == "profile",
        "promoted": evidence.reason_code == "promoted",
        **_shared(evidence),
        "without": listed(changed.titles) if changed else None,
        "them": 1 < len(taken_out) <= MOST_NAMED and taken_out == {display_title(cause.title) for cause in named or ()},
        "instead": listed([changed.instead_title]) if changed and changed.instead_title is not None else None,
        "against": listed([evidence.against.title]) if evidence.against else None,
    }


def reason_facts(evidence: Evidence, verb: str | None = None) -> dict[str, Fact]:
    """Of `facts_of` only what the reason alone says; the details are None."""
    facts = facts_of(evidence, verb)
    return facts | dict.fromkeys(name for name in facts if name not in _REASON_FACTS)


def distinct(titles: Iterable[str]) -> list[str]:
    """Titles as they are displayed, each once, whatever its case."""
    shown: dict[str, str] = {}
    for title in map(display_title, titles):
        shown.setdefault(fold(title), title)
    return list(shown.values())


def fold(text: str) -> str:
    """Lower case and plain single quotes, character by character, so that positions stay."""
    lower = "".join(small if len(small := letter.lower()) == 1 else letter for letter in text)
    return lower.replace("‘", "'").replace("’", "'")


def value_of_all(evidence: Evidence) -> str | None:
    """The category that the item shares with all causes."""
    causes = {cause.item_id for cause in evidence.causes}
    return next(
        (one.value for one in evidence.attributes if one.kind == CATEGORIES and causes <= {*one.item_ids}), None
    )


def _cited(evidence: Evidence) -> str | None:
    titles = distinct(cause.title for cause in evidence.causes)
    if len(titles) <= MOST_NAMED:
        return listed(titles)
    value, more = value_of_all(evidence), len(titles) - NAMED
    number = COUNTED[more - 1] if more <= len(COUNTED) else str(more)
    prompt = shipped_prompt("titles_more.neutral")
    return prompt.render(titles=titles[:NAMED], number=number, value=listed([value]) if value is not None else None)


def _shared(evidence: Evidence) -> dict[str, Fact]:
    """The first attribute that cited items share: one sentence of this kind is enough."""
    facts: dict[str, Fact] = dict.fromkeys(("sharing", "category", "title_words", "column", "value"))
    for attribute in evidence.attributes[:1]:
        value = listed([attribute.value])
        sharing = [cause.title for cause in evidence.causes if cause.item_id in attribute.item_ids]
        facts["sharing"] = listed(sharing[:MOST_NAMED])
        if attribute.kind == CATEGORIES:
            facts["category"] = value
        elif attribute.kind == "title":
            facts["title_words"] = value
        else:
            facts["column"], facts["value"] = display_column(attribute.kind), value
    return facts if facts["sharing"] else dict.fromkeys(facts)


def listed(texts: Iterable[str]) -> str | None:
    """Texts as `display_title` makes them, quoted, each once, as in “A”, “B” and “C”; None if there are none."""
    shown = list(dict.fromkeys(display_title(text) for text in texts))
    return shipped_prompt("titles.neutral").render(titles=shown) if shown else None


@lru_cache(REMEMBERED)
def display_title(title: str) -> str:
    """`title` as it may stand in a sentence: one line, at most `LONGEST_TITLE` characters, nothing to click or to run.

    Markup becomes ‹markup›, inner “quotes” become ‘quotes’, links and script addresses become [link]; a title of which
    nothing is left is "untitled". It changes nothing in its own results.
    """
    return shorten(plain(clean_text(title)[:_READ])) or "untitled"


def display_column(column: str) -> str:
    """A column's name as words: "brand_name" is "brand name"."""
    return shorten(" ".join(re.findall(r"[^\W_]+", clean_text(column)))) or "value"


def plain(text: str) -> str:
    """`text` on one line without anything that another program could take for a link, markup or a citation."""
    text = _LINK.sub(lambda found: "] [link]" if found["markdown"] else "[link]", clean_text(text).translate(_INERT))
    return _SCHEME.sub("\\1∶", text)


def is_plain(text: str) -> bool:
    """Whether `text` is on one line and, its quotation marks apart, as `plain` would make it."""
    return text.translate(_QUOTES) == plain(text)


def shorten(title: str, longest: int = LONGEST_TITLE) -> str:
    """`title` on one line, cut at a word with an ellipsis if it has more than `longest` characters."""
    title = clean_text(title)
    if len(title) <= longest:
        return title
    at_word = title[:longest].rpartition(" ")[0]
    return (at_word if len(at_word) > longest // 2 else title[: longest - 1]).rstrip(" ,;:-–.") + "…"


@cache
def shipped_prompt(name: str) -> Prompt:
    """A prompt that comes with recllm, read once."""
    return load_prompt(name)

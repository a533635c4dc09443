"""Text to claims: the words around the titles of a sentence say which role each title has."""

import re

from recllm.explain.evidence import Evidence
from recllm.explain.verify import phrases
from recllm.explain.verify.claims import Claim, Claims, Role
from recllm.explain.verify.lexicon import SEPARATORS, digits, fillers, verb_in
from recllm.explain.verify.naming import Names, Sentence, split_sentences
from recllm.explain.verify.roles import Group, Statement, Value
from recllm.texts import clean_text

LONGEST_TEXT = 1200  # all that can be said of three titles of the greatest length takes 900
LONGEST_BESIDE_NAMES = 400
MOST_SENTENCES = 6  # a shipped text has at most five, and a disclaimer

_WITHOUT_NAMES: tuple[Role, ...] = (
    "popular",
    "not_from_history",
    "no_cause",
    "guess",
    "unknown_taste",
    "profile",
    "promoted",
    "owned",
    "whole",
)
_ROLES_OF_WHAT_FOLLOWS = ("removed", "against", "wish", "with", "similar", "condition", "same")
_KINDS = ("kind", "title_kind", "its_kind")


def read_claims(text: str, evidence: Evidence, *, domain: str = "neutral") -> Claims:
    """What `text` says about the recommendation that `evidence` is about; what cannot be understood is "unread".

    The evidence serves to find titles and to tell them from values, not to decide what is true.
    """
    claims: set[Claim] = set()
    plain = clean_text(text)
    if plain != " ".join(text.split()):
        claims.add(_unread("invisible or control characters"))
    if len(plain) > LONGEST_TEXT:
        return frozenset({_unread(f"{plain[:40]}… (too long)")})
    names = Names.of(evidence, domain)
    causes: list[str] = []
    sentences = split_sentences(plain, names)
    if len(sentences) > MOST_SENTENCES or sum(len(s.text) for s in sentences) > LONGEST_BESIDE_NAMES:
        claims.add(_unread(f"{plain[:40]}… (too long)"))
    for sentence in sentences:
        reader = _SentenceReader(sentence, names, causes, domain)
        statement = reader.read()
        claims |= statement.claims
        causes += statement.of_role("cause")
    roles = {claim.role for claim in claims}
    if roles & {"gone", "instead"} and "removed" not in roles:
        claims.add(_unread("would"))
    return frozenset(claims)


def _unread(what: str) -> Claim:
    return Claim("unread", value=what)


class _SentenceReader:
    """Goes through one sentence once.

    `_role` and `_verb` are what the words so far say about the titles to come; `_open` until a title has come.
    """

    def __init__(self, sentence: Sentence, names: Names, causes: list[str], domain: str) -> None:
        self._text = sentence.text
        self._names = names
        self._signs = iter(sentence.names)
        self._columns = iter(sentence.columns)
        self._earlier_causes = causes
        self._fillers = fillers(domain)
        self._pattern, self._kinds = phrases.marks(domain)
        self._found = Statement(frozenset(self._text.split()), {_unread(what) for what in sentence.junk})
        if "§ §" in self._text:
            self._found.refuse("titles without a word between them")
        self._kind = ""  # the column that was named last
        self._role: str | None = None
        self._verb = ""
        self._open = False
        self._needs_title = False
        self._gap: list[str] = []  # the words right before
        self._since_title: list[str] = []
        self._last = ""  # the kind of the phrase before

    def read(self) -> Statement:
        """All that the sentence says."""
        end = 0
        for match in self._pattern.finditer(self._text):
            self._skip(self._text[end : match.start()])
            end = match.end()
            kind = self._kinds[int((match.lastgroup or "m0")[1:])]
            getattr(self, f"_on_{kind}", self._on_other)(match[0], kind, self._text[end:])
            if kind != "group":
                self._since_title += match[0].split()
            if kind != "group" and not (self._last in _KINDS and match[0] in (",", "(", ":")):
                self._last = kind
        self._skip(self._text[end:])
        self._expect(None)
        self._found.conclude(self._names, self._earlier_causes)
        if not self._found.claims and self._last != "disclaimer":
            self._found.refuse(self._text.replace("§", "“…”"))
        return self._found

    def _skip(self, text: str) -> None:
        self._gap = text.split()
        self._since_title += self._gap
        for word in self._gap:
            if word not in self._fillers and word not in SEPARATORS:
                self._found.refuse(word)

    def _expect(self, role: str | None, verb: str = "") -> None:
        if self._open and self._verb and self._needs_title:  # "you bought the product"
            self._found.refuse(f"{self._verb} …")
        elif self._open and self._verb:  # "based on your purchases", which names none
            self._found.claims.add(Claim("did", value=self._verb))
        self._role, self._verb, self._open, self._needs_title = role, verb, role is not None, False

    # Titles and values

    def _on_group(self, text: str, kind: str, rest: str) -> None:
        titles = [next(self._signs) for _ in range(text.count("§"))]
        if self._role == "wish":
            if self._starts_clause(titles, rest):
                self._found.groups.append(Group([titles.pop()], None))
            self._found.claims |= {Claim("wish", value=name) for name in titles}
            self._open = False
            return
        titles, values = self._apart(titles, rest)
        self._found.values += values
        if titles:
            if values:  # "in “Garden”, “Y” is recommended"
                self._role, self._verb = None, ""
            self._on_titles(titles, text, rest)
            self._open = False
            self._since_title = []
        self._last = "group" if titles else "value"

    def _apart(self, names: list[str], rest: str) -> tuple[list[str], list[Value]]:
        """Titles, and the values before them; the words around tell one from the other where a name can be both."""
        before = " ".join(self._gap) + " "
        of_kind = self._last in _KINDS and set(self._gap) <= phrases.AFTER_KIND
        must_be_value = bool(phrases.VALUE_BEFORE.search(before)) or of_kind
        may_be_value = bool(
            must_be_value
            or phrases.EITHER_BEFORE.search(before)
            or phrases.KIND_BEHIND.match(rest)
            or (self._last in _KINDS and self._gap == ["of"])
            or self._since_title[-1:] == ["("]
        )
        titles, values = list(names), []
        while titles and titles[0] in self._names.kind_of and (must_be_value or titles[0] not in self._names.titles):
            values.append(Value(titles.pop(0), self._kind))
            if not may_be_value:
                self._found.refuse(f"“{values[-1].name}” as a title")
        if must_be_value and not values and (titles != [self._names.item] or of_kind):
            self._found.refuse(f"“{titles[0]}” as something that the item has or is in")
        return titles, values

    def _on_titles(self, titles: list[str], text: str, rest: str) -> None:
        role = self._role
        if role is None and self._since_title[-1:] in (["and"], ["also"]) and self._found.groups:
            role = self._found.groups[-1].role
        if role is None and self._gap == ["as"] and self._last in _KINDS:  # "the same category as “A”"
            role = "with"
        # "Because you bought “A”, “Y” is recommended": the comma alone makes it look like a list.
        ends = rest.strip() and not rest.startswith(" ,") and not phrases.MORE.match(rest)
        only_commas = len(titles) > 1 and text.endswith(", §") and ends
        next_clause = [titles.pop()] if role and (only_commas or self._starts_clause(titles, rest)) else []
        self._found.groups.append(Group(titles, role, {self._verb} - {""}))
        if next_clause:
            self._role, self._verb = None, ""
            self._found.groups.append(Group(next_clause, None))

    def _starts_clause(self, titles: list[str], rest: str) -> bool:
        """As in "you bought “A” and “Y” is recommended"."""
        is_item = len(titles) > 1 and titles[-1] == self._names.item
        return is_item and not phrases.PREDICATES.isdisjoint(rest.split()[:1])

    def _before(self, role: str, *instead_of: str | None) -> bool:
        """Give the titles before a role, if they have one of `instead_of`."""
        fits = bool(self._found.groups) and self._found.groups[-1].role in instead_of
        if fits:
            self._found.groups[-1].role = role
        return fits

    # What the user did

    def _on_did(self, text: str, kind: str, rest: str) -> None:
        verb = verb_in(text)
        if self._found.groups and (phrases.WHICH.fullmatch(" ".join(self._since_title)) or text.endswith("by you")):
            self._found.groups[-1].verbs.add(verb)
            self._found.groups[-1].by_deed = self._before("cause", None)
            return
        if self._found.groups and rest.split()[:1] == ["it"]:  # the last that was named
            self._found.groups[-1].verbs.add(verb)
            return
        if re.match(r" (?:it|this)(?: |$)", rest):
            self._found.refuse(f"{text} it")
        several = {*self._since_title[-1:], *rest.split()[:1]} & phrases.SEVERAL or text.endswith("s")
        self._expect(self._role if self._role in ("against", "removed") else "cause", verb)
        self._needs_title = not several

    def _on_removed_did(self, text: str, kind: str, rest: str) -> None:
        if re.match(r" (?:them|these|those)(?: |$)", rest):
            self._on_removed_them(text, kind, rest)
        self._expect("removed", verb_in(text))

    def _on_removed_them(self, text: str, kind: str, rest: str) -> None:
        self._found.claims.add(Claim("removed", frozenset(self._earlier_causes + self._found.of_role("cause"))))

    # Phrases that say what the titles behind them are

    def _on_other(self, text: str, kind: str, rest: str) -> None:
        if kind in _WITHOUT_NAMES:
            self._found.claims.add(Claim(kind))
            self._expect(None)
        elif kind in _ROLES_OF_WHAT_FOLLOWS:
            self._expect(kind)
        elif kind == "not_you" or (kind == "maybe" and not {"might", "may", "could"} & self._found.words):
            self._found.refuse(text)

    def _on_cause(self, text: str, kind: str, rest: str) -> None:
        if (
            self._found.groups and self._found.groups[-1].verbs and not self._since_title
        ):  # "you bought “A” because of “B”"
            self._found.refuse(f"“{self._found.groups[-1].titles[-1]}” {text}")
        self._found.gives_cause = True
        self._expect("cause")

    def _on_from_history(self, text: str, kind: str, rest: str) -> None:
        self._found.claims.add(Claim("cause"))
        self._expect(None)

    def _on_item_pre(self, text: str, kind: str, rest: str) -> None:
        if self._role == "cause" and self._open and not self._verb and self._last == "cause":
            self._found.refuse(f"because {text}")
        self._expect("item")

    def _on_instead_pre(self, text: str, kind: str, rest: str) -> None:
        if "§" not in rest:
            self._found.refuse(text)
        self._expect("instead")

    def _on_separator(self, text: str, kind: str, rest: str) -> None:
        if not self._open or (kind == "separator" and text.isalpha()) or text == ";":
            self._expect(None)

    # Phrases that say what the titles before them are

    def _on_history(self, text: str, kind: str, rest: str) -> None:
        self._before("cause", None, "with")

    def _on_cause_post(self, text: str, kind: str, rest: str) -> None:
        self._before("cause", None, "with")
        self._found.gives_cause = True
        if not (self._open and self._verb):  # else the titles are still to come: "what you bought led to this: …"
            self._expect("item")

    def _on_against_post(self, text: str, kind: str, rest: str) -> None:
        self._expect("item" if self._before("against", None, "cause", "against") else "against")

    def _on_removed_post(self, text: str, kind: str, rest: str) -> None:
        if not self._before("removed", "condition"):
            self._found.refuse(text)

    def _on_gone(self, text: str, kind: str, rest: str) -> None:
        self._found.claims.add(Claim("gone"))
        self._expect(None if self._before("item", None) else "item")

    def _on_instead_post(self, text: str, kind: str, rest: str) -> None:
        if not self._before("instead", None):
            self._found.refuse(text)

    def _on_instead(self, text: str, kind: str, rest: str) -> None:
        if "would" not in self._found.words:
            self._found.refuse(text)

    # Columns and numbers

    def _on_more(self, text: str, kind: str, rest: str) -> None:
        number = next((int(word) for word in map(digits, text.split()) if word.isdigit()), 0)
        if not number or not self._found.groups or self._since_title or self._found.groups[-1].more:
            self._found.refuse(text)
        else:
            self._found.groups[-1].more = number

    def _on_kind(self, text: str, kind: str, rest: str) -> None:
        name = next(self._columns) if text == "¤" else "categories" if kind == "kind" else "title"
        if self._last == "value" and not self._gap and not self._found.values[-1].kind:
            self._found.values[-1].kind = name  # "the “Energy” sector"
        else:
            self._kind = name

    def _on_its_kind(self, text: str, kind: str, rest: str) -> None:
        name = " ".join(next(self._columns) if word == "¤" else word for word in text.split()[1:-1])
        usual = {"category": "categories", "genre": "categories", "name": "title"}.get(name, name)
        self._kind = name if name in self._names.kinds else usual
        if self._kind not in self._names.kinds | {"categories", "title"}:
            self._found.refuse(name)

    def _on_count(self, text: str, kind: str, rest: str) -> None:
        number = next(word for word in map(digits, text.split()) if word[0].isdigit())
        if kind == "cited":
            self._found.counts.append(number)
        else:
            if kind == "percent":
                kind = "confidence" if "confidence" in self._found.words else "share"
            self._found.claims.add(Claim("count", value=number, kind=kind))

    _on_cause_firm = _on_cause
    _on_title_kind = _on_kind
    _on_comma = _on_separator
    _on_cited = _on_total = _on_length = _on_percent = _on_count

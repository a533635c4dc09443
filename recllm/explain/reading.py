"""Text to claims: the words around the titles of a sentence say which role each title has."""

import re
from dataclasses import dataclass, field

from recllm.explain.claims import Claim, Claims
from recllm.explain.evidence import Evidence
from recllm.explain.lexicon import NUMBERS, SEPARATORS, EITHER_BEFORE, VALUE_BEFORE, VERB_OF, fillers, marks
from recllm.explain.naming import Names, Sentence, split_sentences
from recllm.prompting.syntax import clean_text

LONGEST_TEXT = 1200
LONGEST_BESIDE_NAMES = 400
MOST_SENTENCES = 5
_WITHOUT_NAMES = ("popular", "not_from_history", "no_cause", "guess", "unknown_taste")
_POINTING_BACK = frozenset({"both", "same", "they", "them", "these", "those", "also", "too", "all", "each", "common"})
_KINDS = ("kind", "title_kind", "its_kind")
_AFTER_KIND = frozenset({"the", "has", "have", "contains", "contain", "also"})
_PREDICATES = frozenset({"is", "was", "has", "shares", "belongs", "appears", "goes", "comes", "made"})
_KIND_BEHIND = re.compile(r"(?: (?:is|are|the|a|as))* (?:¤|categor|genre)")
_SEVERAL = frozenset({"items", "products", "things", "ones", "them", "these", "those", "both"})
_MAINLY = frozenset({"main", "mainly", "most", "mostly", "strongest", "primarily"})
# Between titles and "you bought", if that is about them.
_WHICH = re.compile(
    r"|,? ?(?:(?:both|all|each) (?:of )?)?(?:which|that)"
    r"|(?:is|are|was|were) (?!that\b|because\b|what\b)(?:something|(?:\w+ of )?(?:the |those )?\w+)(?: that| which)?"
)


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
    if len(sentences) > MOST_SENTENCES + 1 or sum(len(s.text) for s in sentences) > LONGEST_BESIDE_NAMES:
        claims.add(_unread(f"{plain[:40]}… (too long)"))
    for sentence in sentences:
        reader = _SentenceReader(sentence, names, causes, domain)
        claims |= reader.read()
        causes += reader.of_role("cause")
    roles = {claim.role for claim in claims}
    if roles & {"gone", "instead"} and "removed" not in roles:
        claims.add(_unread("would"))
    return frozenset(claims)


def _unread(what: str) -> Claim:
    return Claim("unread", value=what)


@dataclass
class _Group:
    """Titles that are named together. No role yet: what follows will tell."""

    titles: list[str]
    role: str | None
    verbs: set[str] = field(default_factory=set)
    by_deed: bool = False


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
        self._pattern, self._kinds = marks(domain)
        self._claims = {_unread(what) for what in sentence.junk}
        if "§ §" in self._text:
            self._claims.add(_unread("titles without a word between them"))
        self._groups: list[_Group] = []
        self._values: list[list[str]] = []  # value, kind
        self._cited: list[str] = []
        self._kind = ""
        self._role: str | None = None
        self._verb = ""
        self._open = False
        self._needs_title = False
        self._gap: list[str] = []  # the words right before
        self._since_title: list[str] = []
        self._last = ""
        self._because = False

    def of_role(self, role: str) -> list[str]:
        """The titles that the sentence names in a role."""
        return [title for group in self._groups if group.role == role for title in group.titles]

    def read(self) -> set[Claim]:
        """The claims of the sentence."""
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
        self._conclude()
        if not self._claims and self._last != "disclaimer":
            self._claims.add(_unread(self._text.replace("§", "“…”")))
        return self._claims

    def _skip(self, text: str) -> None:
        self._gap = text.split()
        self._since_title += self._gap
        self._claims |= {_unread(word) for word in self._gap if word not in self._fillers and word not in SEPARATORS}

    def _expect(self, role: str | None, verb: str = "") -> None:
        if self._open and self._verb:  # "based on your purchases" names none, "you bought the product" should
            self._claims.add(_unread(f"{self._verb} …") if self._needs_title else Claim("did", value=self._verb))
        self._role, self._verb, self._open, self._needs_title = role, verb, role is not None, False

    # Titles and values

    def _on_group(self, text: str, kind: str, rest: str) -> None:
        found = [next(self._signs) for _ in range(text.count("§"))]
        if self._role == "wish":
            self._claims |= {Claim("wish", value=name) for name in found}
            self._open = False
            return
        before = " ".join(self._gap) + " "
        of_kind = self._last in _KINDS and set(self._gap) <= _AFTER_KIND
        must = bool(VALUE_BEFORE.search(before)) or of_kind
        may = must or (self._last in _KINDS and self._gap == ["of"]) or self._since_title[-1:] == ["("] or bool(EITHER_BEFORE.search(before)) or bool(_KIND_BEHIND.match(rest))
        titles = list(found)
        while titles and titles[0] in self._names.kind_of and (must or titles[0] not in self._names.titles):
            value = titles.pop(0)
            self._values.append([value, self._kind])
            if not may:
                self._claims.add(_unread(f"“{value}” as a title"))
        if not titles:
            self._last = "value"
            return
        if len(titles) < len(found):  # "in “Garden”, “Y” is recommended"
            self._role, self._verb = None, ""
        elif must and (found != [self._names.item] or of_kind):
            self._claims.add(_unread(f"“{found[0]}” as something that the item has or is in"))
        self._on_titles(titles, text, rest)
        self._last = "group"
        self._open = False
        self._since_title = []

    def _on_titles(self, found: list[str], text: str, rest: str) -> None:
        role = self._role
        if role is None and self._since_title[-1:] in (["and"], ["also"]) and self._groups:
            role = self._groups[-1].role
        if role is None and self._gap == ["as"] and self._last in _KINDS:
            role = "with"
        # "Because you bought “A”, “Y” is recommended": the commas alone make it look like a list.
        follows = len(found) > 1 and text.endswith(", §") and rest.strip() and not rest.startswith(" ,")
        # And "you bought “A” and “Y” is recommended": two clauses.
        follows = follows or (found[-1:] == [self._names.item] and len(found) > 1 and bool(_PREDICATES & set(rest.split()[:1])))
        new = [found.pop()] if role and follows else []
        self._groups.append(_Group(found, role, {self._verb} - {""}))
        if new:
            self._role, self._verb = None, ""
            self._groups.append(_Group(new, None))

    def _before(self, role: str, *instead_of: str | None) -> bool:
        """Give the titles before a role, if they have one of `instead_of`."""
        fits = bool(self._groups) and self._groups[-1].role in instead_of
        if fits:
            self._groups[-1].role = role
        return fits

    # What the user did

    def _on_did(self, text: str, kind: str, rest: str) -> None:
        verb = _verb_in(text)
        if self._groups and (_WHICH.fullmatch(" ".join(self._since_title)) or text.endswith("by you")):
            self._groups[-1].verbs.add(verb)
            self._groups[-1].by_deed = self._before("cause", None)
            return
        if self._groups and rest.split()[:1] == ["it"]:  # the last that was named
            self._groups[-1].verbs.add(verb)
            return
        if re.match(r" (?:it|this)(?: |$)", rest):
            self._claims.add(_unread(f"{text} it"))
        several = {*self._since_title[-1:], *rest.split()[:1]} & _SEVERAL or text.endswith("s")
        self._expect(self._role if self._role in ("against", "removed") else "cause", verb)
        self._needs_title = not several

    def _on_removed_did(self, text: str, kind: str, rest: str) -> None:
        if re.match(r" (?:them|these|those)(?: |$)", rest):
            self._on_removed_them(text, kind, rest)
        self._expect("removed", _verb_in(text))

    def _on_removed_them(self, text: str, kind: str, rest: str) -> None:
        self._claims.add(Claim("removed", frozenset(self._earlier_causes + self.of_role("cause"))))

    # Phrases that say what the titles behind them are

    def _on_other(self, text: str, kind: str, rest: str) -> None:
        if kind in _WITHOUT_NAMES:
            self._claims.add(Claim(kind))  # type: ignore[arg-type]
            self._expect(None)
        elif kind in ("removed", "against", "wish", "with", "similar", "condition"):
            self._expect(kind)
        elif kind == "not_you" or (kind == "maybe" and not {"might", "may", "could"} & set(self._text.split())):
            self._claims.add(_unread(text))

    def _on_cause(self, text: str, kind: str, rest: str) -> None:
        if self._groups and self._groups[-1].verbs and not self._since_title:  # "you bought “A” because of “B”"
            self._claims.add(_unread(f"“{self._groups[-1].titles[-1]}” {text}"))
        self._because = True
        self._expect("cause")

    def _on_from_history(self, text: str, kind: str, rest: str) -> None:
        self._claims.add(Claim("cause"))
        self._expect(None)

    def _on_item_pre(self, text: str, kind: str, rest: str) -> None:
        if self._role == "cause" and self._open and not self._verb and self._last == "cause":
            self._claims.add(_unread(f"because {text}"))
        self._expect("item")

    def _on_instead_pre(self, text: str, kind: str, rest: str) -> None:
        if "§" not in rest:
            self._claims.add(_unread(text))
        self._expect("instead")

    def _on_separator(self, text: str, kind: str, rest: str) -> None:
        if not self._open or (kind == "separator" and text.isalpha()) or text == ";":
            self._expect(None)

    # Phrases that say what the titles before them are

    def _on_history(self, text: str, kind: str, rest: str) -> None:
        self._before("cause", None, "with")

    def _on_cause_post(self, text: str, kind: str, rest: str) -> None:
        self._before("cause", None, "with")
        self._because = True
        if not (self._open and self._verb):  # else the titles are still to come: "what you bought led to this: …"
            self._expect("item")

    def _on_against_post(self, text: str, kind: str, rest: str) -> None:
        self._expect("item" if self._before("against", None, "cause", "against") else "against")

    def _on_removed_post(self, text: str, kind: str, rest: str) -> None:
        if not self._before("removed", "condition"):
            self._claims.add(_unread(text))

    def _on_gone(self, text: str, kind: str, rest: str) -> None:
        self._claims.add(Claim("gone"))
        self._expect(None if self._before("item", None) else "item")

    def _on_instead_post(self, text: str, kind: str, rest: str) -> None:
        if not self._before("instead", None):
            self._claims.add(_unread(text))

    def _on_instead(self, text: str, kind: str, rest: str) -> None:
        if "would" not in self._text.split():
            self._claims.add(_unread(text))

    # Columns and numbers

    def _on_kind(self, text: str, kind: str, rest: str) -> None:
        name = next(self._columns) if text == "¤" else "categories" if kind == "kind" else "title"
        if self._last == "value" and not self._gap and not self._values[-1][1]:
            self._values[-1][1] = name  # "the “Energy” sector"
        else:
            self._kind = name

    def _on_its_kind(self, text: str, kind: str, rest: str) -> None:
        name = " ".join(next(self._columns) if word == "¤" else word for word in text.split()[1:-1])
        self._kind = {"category": "categories", "genre": "categories", "name": "title"}.get(name, name)
        if self._kind not in self._names.kinds | {"categories", "title"}:
            self._claims.add(_unread(name))

    def _on_count(self, text: str, kind: str, rest: str) -> None:
        said = [NUMBERS.get(word, word) for word in text.split()]
        number = next(word for word in said if word[0].isdigit())
        if kind == "cited":
            self._cited.append(number)
        elif kind == "percent":
            kind = "confidence" if "confidence" in self._text else "share"
            self._claims.add(Claim("count", value=number, kind=kind))
        else:
            self._claims.add(Claim("count", value=number, kind=kind))

    _on_cause_firm = _on_cause
    _on_title_kind = _on_kind
    _on_comma = _on_separator
    _on_cited = _on_total = _on_length = _on_percent = _on_count

    # The whole sentence

    def _conclude(self) -> None:
        self._expect(None)
        for group in self._groups:
            shares = bool(self._values) and len(group.titles) > 1 and not self._because
            if shares and (group.role is None or group.by_deed) and group.titles[0] == self._names.item:
                del group.titles[0]  # "“Y” and “A”, which you bought, share the category": only `A` is from the history
            if group.role is None:
                group.role = "with" if self._values and group.titles != [self._names.item] else "item"
            self._claims |= {Claim("did", frozenset([title]), verb) for title in group.titles for verb in group.verbs}
        for role in ("item", "cause", "against"):
            self._claims |= {Claim(role, frozenset([title])) for title in self.of_role(role)}  # type: ignore[arg-type]
        if (causes := self.of_role("cause")) and _MAINLY & set(self._text.split()):
            self._claims.add(Claim("main", frozenset(causes)))
        for role in ("removed", "instead"):
            if titles := self.of_role(role):
                self._claims.add(Claim(role, frozenset(titles)))  # type: ignore[arg-type]
        if self.of_role("condition"):
            self._claims.add(_unread("if"))
        said = {claim.role for claim in self._claims}
        if "removed" in said and not said & {"gone", "instead"}:
            self._claims.add(_unread("without"))
        self._share()
        self._count()
        if self._because and all(claim.role in ("item", "unread") for claim in self._claims):
            self._claims.add(Claim("cause"))  # "based on your history"

    def _share(self) -> None:
        titles = self.of_role("with") + self.of_role("similar")
        if not titles or (titles == [self._names.item] and self.of_role("cause")):
            titles = self.of_role("cause")
        if not titles and _POINTING_BACK & set(self._text.split()):
            titles = self._earlier_causes
        for value, kind in self._values:
            kind = kind or self._names.kind_of.get(value) or "categories"
            for names in [frozenset([title]) for title in titles] or [frozenset[str]()]:
                self._claims.add(Claim("shared", names, value, kind))
        if not self._values:
            self._claims |= {Claim("shared", frozenset([title])) for title in self.of_role("similar")}
            self._claims |= {_unread(f"with “{title}”") for title in self.of_role("with")}

    def _count(self) -> None:
        listed = len(set(self.of_role("cause") + self.of_role("with")))
        if listed > 2 and "both" in self._text.split():
            self._cited.append("2")
        self._claims |= {Claim("count", value=said, kind="cited") for said in self._cited if said != str(listed)}


def _verb_in(text: str) -> str:
    text = text.removesuffix(" by you")
    return VERB_OF[max((form for form in VERB_OF if text.endswith(form)), key=len)]

"""Text to sentences in which every title and value has become one inert sign, whatever words it is made of."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from recllm.explain import wording
from recllm.explain.evidence import Evidence
from recllm.explain.verify.claims import key, keys, kind_key
from recllm.explain.verify.lexicon import CONTRACTIONS, NUMBERS, SEPARATORS
from recllm.explain.verify.phrases import vocabulary

_CLOSERS = {"“": "”", "„": "“”", "«": "»", '"': '"', "‘": "’'", "'": "'’"}
_WORD = re.compile(r"'s\b|\d+(?:[.,]\d+)*(?!\w)|[^\W\d_]+(?:['-][^\W\d_]+)*(?!\w)|\w+|[^\w\s]")
_NUMBER = re.compile(rf"\d\S*|{'|'.join(NUMBERS)}")


class Unquoted(NamedTuple):
    """A form that is found without quotes; `small` is the form folded."""

    small: str
    form: str
    kind: str
    exact: bool


@dataclass(frozen=True)
class Names:
    """What may be named: `forms` leads from every way to write a title or value to its key."""

    item: str
    titles: frozenset[str]
    kind_of: dict[str, str]
    kinds: frozenset[str]
    forms: dict[str, str]
    unquoted: tuple[Unquoted, ...]

    @classmethod
    def of(cls, evidence: Evidence, domain: str) -> "Names":
        """All titles, values, wishes and columns of `evidence`."""
        change, against = evidence.counterfactual, evidence.against
        titles = [evidence.title, *(cause.title for cause in evidence.causes), *([against.title] if against else [])]
        titles += [evidence.same_as.title] if evidence.same_as else []
        if change:
            titles += [*change.titles, *([change.instead_title] if change.instead_title is not None else [])]
        kind_of = {key(wish): "" for wish in evidence.wishes}
        kind_of |= {key(shared.value): kind_key(shared.kind) for shared in reversed(evidence.attributes)}
        kinds = frozenset(kind_key(shared.kind) for shared in evidence.attributes)
        values = [*(shared.value for shared in evidence.attributes), *evidence.wishes]
        shown = {form: key(text) for text in (*titles, *values) for form in _forms(text)}
        title_keys = keys(titles)
        # A title of one word is taken without quotes only as it is written: "Heat", not "heat".
        unquoted = [Unquoted(kind, kind, "column", False) for kind in kinds]
        unquoted += [
            Unquoted(wording.fold(form), form, "name", " " not in form and name in title_keys)
            for form, name in shown.items()
        ]
        known = vocabulary(domain)
        found = sorted((entry for entry in unquoted if _is_foreign(entry.small, known)), key=lambda e: -len(e.small))
        forms = {wording.fold(form): name for form, name in shown.items()}
        return cls(key(evidence.title), title_keys, kind_of, kinds, forms, tuple(found))


@dataclass
class Sentence:
    """Words with "§" for every name and "¤" for every column, and what these stand for, in order.

    Attributes:
        junk: What is neither name nor word; it is not among the words.
    """

    words: list[str] = field(default_factory=list)
    names: list[str] = field(default_factory=list)
    columns: list[str] = field(default_factory=list)
    junk: list[str] = field(default_factory=list)

    @property
    def text(self) -> str:
        """The words with spaces between."""
        return " ".join(self.words)


class _Token(NamedTuple):
    kind: str
    text: str
    end: int
    behind: str = ""


def split_sentences(text: str, names: Names) -> list[Sentence]:
    """The sentences of `text`, which is clean."""
    sentences = [Sentence()]
    for token in _tokens(text, names):
        sentence = sentences[-1]
        match token.kind:
            case "name":
                sentence.names.append(token.text)
                sentence.words.append("§")
            case "column":
                sentence.columns.append(token.text)
                sentence.words.append("¤")
            case "junk":
                sentence.junk.append(token.text)
            case "end":
                sentences.append(Sentence())
            case _:
                sentence.words += CONTRACTIONS.get(token.text, token.text).split()
    return [sentence for sentence in sentences if sentence.words or sentence.junk]


def _tokens(text: str, names: Names) -> Iterator[_Token]:
    folded = wording.fold(text)
    at, starts = 0, True
    while at < len(text):
        if text[at].isspace():
            at += 1
            continue
        token = _quoted(text, folded, at, names) or _unquoted(text, folded, at, names) or _word(folded, at)
        written = text[at : token.end]
        # A capital inside of a sentence begins a name, and this one is not known.
        if token.kind == "word" and not _is_word_here(written, starts):
            token = _Token("junk", written, token.end)
        yield token
        at = token.end
        if token.behind:
            yield (token := _word(token.behind, 0))
        starts = token.kind == "end" or (token.kind == "mark" and token.text in ":(")


def _is_word_here(written: str, starts: bool) -> bool:
    rest = written[1:] if starts else written
    return rest == rest.lower() or written == "I"


def _quoted(text: str, folded: str, at: int, names: Names) -> _Token | None:
    """The shortest quoted text that is known, else whatever is quoted."""
    if text[at] not in _CLOSERS or folded.startswith(("'s ", "'s,", "'s."), at):
        return None
    closers = _CLOSERS[text[at]]
    ends = [end for end in range(at + 1, len(text)) if text[end] in closers and not text[end + 1 : end + 2].isalnum()]
    for end in ends:
        inside = folded[at + 1 : end]
        if inside in names.forms:
            return _Token("name", names.forms[inside], end + 1)
        # American typography puts the sentence's comma inside of the quotes.
        if inside[-1:] in (",", ".", ";") and inside[:-1] in names.forms:
            return _Token("name", names.forms[inside[:-1]], end + 1, behind=inside[-1])
    return _Token("name", folded[at + 1 : ends[0]], ends[0] + 1) if ends else None


def _unquoted(text: str, folded: str, at: int, names: Names) -> _Token | None:
    if at and (folded[at - 1].isalnum() or folded[at - 1] in "-_'"):
        return None
    for small, form, kind, exact in names.unquoted:
        end = at + len(small)
        ends_word = not re.match(r"[\w-]|'(?!s\b)", folded[end : end + 3])
        if ends_word and folded.startswith(small, at) and (not exact or text.startswith(form, at)):
            return _Token(kind, names.forms[small] if kind == "name" else small, end)
    return None


def _word(folded: str, at: int) -> _Token:
    match = _WORD.match(folded, at)
    word = match[0] if match else folded[at]
    end = at + len(word)
    if word in (".", "?"):
        return _Token("end", word, end)
    if word in SEPARATORS or word in ("&", "%"):
        return _Token("mark", word, end)
    is_number = word[0].isdigit() and word.replace(",", "").replace(".", "").isdigit()
    is_word = any(letter.isalpha() for letter in word) and not any(letter.isdigit() or letter == "_" for letter in word)
    return _Token("number" if is_number else "word" if is_word else "junk", word, end)


def _forms(text: str) -> set[str]:
    shown = wording.display_title(text)
    return {shown, wording.shorten(shown), wording.display_title(wording.shorten(text))}


def _is_foreign(form: str, known: frozenset[str]) -> bool:
    """Whether a form cannot be mistaken for words of the language."""
    words = re.findall(r"\w+", form)
    return any(len(word) > 1 and word not in known and not _NUMBER.fullmatch(word) for word in words)

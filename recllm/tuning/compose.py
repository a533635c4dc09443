"""An item prompt from nothing but the catalog: which columns it reads, in which order, and why."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, final

import numpy as np

from recllm.data.catalog import Catalog
from recllm.encoders.backbone import resolve_backbone
from recllm.encoders.text import TextEncoderConfig
from recllm.errors import DataError
from recllm.prompting.items import variable_of
from recllm.prompting.template import Prompt
from recllm.tuning.domains import Domain, choose_domain
from recllm.tuning.layout import Layout
from recllm.tuning.profile import SAID, CatalogProfile, ColumnProfile

OWN = ("title", "categories", "text")

CODED = 0.5
"""Share of a column's values that are codes from which it is not read."""

MOST_COLUMNS = 6
"""Columns beside title, categories and text; more of them drown the title."""

LEAST_TEXT = 24
"""Tokens that are left to the text, where there is one; columns that would leave it less are left out."""

SPELLED = 0.85
"""Tokens per letter from which an encoder spells a text; .25 is usual where it knows the language."""

COUNTED = 200
"""Items whose tokens are counted."""

Tokens = Callable[[Sequence[str]], list[int]]


@final
@dataclass(frozen=True)
class Composed:
    """A prompt composed for a catalog.

    Attributes:
        prompt: Ready to be used; its source is a prompt file.
        layout: What it reads, and how.
        profile: What the catalog's columns are good for.
        domain: Which domain, and why.
        read: Column -> why it is read, in the prompt's order.
        left: Column -> why it is left out.
    """

    prompt: Prompt
    layout: Layout
    profile: CatalogProfile
    domain: Domain
    read: dict[str, str]
    left: dict[str, str]

    def __str__(self) -> str:
        """What was chosen and why, and the prompt file."""
        lines = [f"domain {self.domain.name}: {self.domain.why}"]
        lines += [f"reads {column}: {why}" for column, why in self.read.items()]
        lines += [f"leaves out {column}: {why}" for column, why in self.left.items()]
        return "\n".join([*lines, "", self.prompt.source])


def compose(catalog: Catalog, config: TextEncoderConfig | None = None, *, domain: str | None = None) -> Composed:
    """An item prompt for a catalog, from its columns.

    Args:
        catalog: The items.
        config: The text encoder's settings: whose tokens are counted, and how many of them are read.
        domain: Whose words the prompt uses; None chooses by the catalog.

    Raises:
        DataError: The catalog is empty.
    """
    config = config or TextEncoderConfig()
    if not len(catalog):
        raise DataError(
            "a prompt cannot be composed for a catalog without items; give the items that it shall describe"
        )
    profile = CatalogProfile.of(catalog)
    chosen = choose_domain(profile) if domain is None else Domain(domain, {}, "as asked for")
    tokens = tokens_of(config)
    read, left = _columns(profile)
    _leave_unknown(profile, tokens, read, left)
    _fit_into(config.max_tokens, _lengths(catalog, read, tokens), read, left)
    layout = Layout(tuple(read))
    facts = {
        "composed": {
            "catalog": catalog.fingerprint[:16],
            "items": len(catalog),
            "language": profile.language or "unknown",
            "domain": chosen.why,
            "reads": read,
            "leaves_out": left,
        }
    }
    description = "An item, for a sentence encoder; composed from the columns of a catalog."
    prompt = layout.prompt("item.composed", chosen.name, description, facts)
    return Composed(prompt, layout, profile, chosen, read, left)


def _columns(profile: CatalogProfile) -> tuple[dict[str, str], dict[str, str]]:
    """What is read, in order, and what is not, each with its reason."""
    named: dict[str, str] = {}
    left: dict[str, str] = {}
    reads_text = profile.full("text") > 0 and profile.by_name["text"].role == "text"
    for column in sorted(profile.columns, key=_rank):
        why_not = _why_not(column, reads_text)
        if is_ambiguous(column.name, profile):
            why_not = "another column has nearly the same name"
        further = [name for name in named if name not in OWN]
        if why_not is None and column.name not in OWN and len(further) >= MOST_COLUMNS:
            why_not = f"{MOST_COLUMNS} further columns are read already"
        if why_not is None:
            named[column.name] = _why(column)
        elif column.full or column.name not in OWN:  # what is always there may be empty
            left[column.name] = why_not
    if not named:
        title = "title" if profile.full("title") else "text"
        named, left = {title: "nothing else could be read"}, {name: why for name, why in left.items() if name != title}
    order = {"categories": 0, "title": 1, "text": 3}
    return dict(sorted(named.items(), key=lambda pair: order.get(pair[0], 2))), left


def is_ambiguous(column: str, profile: CatalogProfile) -> bool:
    """Whether a prompt's variable could mean another column as well."""
    return sum(variable_of(other.name) == variable_of(column) for other in profile.columns) > 1


def _rank(column: ColumnProfile) -> tuple[int, float]:
    """Own columns first; then those whose values many items share, but few enough to tell items apart."""
    own = column.name in OWN
    return (0 if own else 1, -column.sharing * column.full)


def _why_not(column: ColumnProfile, reads_text: bool) -> str | None:
    reasons = {
        "idle": f"{column.full:.0%} of the items have a value" if column.distinct != 1 else "all items have the same",
        "link": "links are no words",
        "id": "ids are no words",
        "number": "numbers say little to a sentence encoder",
        "date": "dates say little to a sentence encoder",
        "flag": "yes or no says little to a sentence encoder",
    }
    if column.role in reasons:
        return reasons[column.role]
    if column.coded > CODED and column.name != "title":  # titles share parts, also where they are codes
        return f"{column.coded:.0%} of its values are codes"
    if reads_text and column.role in ("value", "name") and column.said >= SAID:
        return f"{column.said:.0%} of its values stand in the text already"
    return None


def _why(column: ColumnProfile) -> str:
    full = f"{column.full:.0%} of the items have one"
    if column.role in ("value", "categories"):
        return f"{full}, {column.distinct} values shared by {column.sharing:.1f} items each"
    return f"{full}, {column.words:.0f} words" if column.words > 1 else full


def _leave_unknown(profile: CatalogProfile, tokens: Tokens, read: dict[str, str], left: dict[str, str]) -> None:
    """Leave out a text that the encoder spells sign by sign, if there is anything else to read."""
    texts = [text.rpartition("\n")[2] for text in profile.sample[:COUNTED]]
    letters = sum(sum(map(str.isalpha, text)) for text in texts)
    if "text" in read and len(read) > 1 and letters and sum(tokens(texts)) > SPELLED * letters:
        del read["text"]
        left["text"] = "the encoder has no words for it, and spells it sign by sign"


def _fit_into(budget: int, lengths: dict[str, float], read: dict[str, str], left: dict[str, str]) -> None:
    """Leave out columns from the last one on until the text has room."""
    wanted = min(LEAST_TEXT, lengths.get("text", 0.0))
    for column in reversed([name for name in read if name not in ("title", "text")]):
        before = sum(lengths[name] for name in read if name != "text")
        if before + wanted <= budget or len(read) == 1:
            return
        left[column] = f"about {lengths[column]:.0f} tokens of {budget} would leave the text no room"
        del read[column]


def _lengths(catalog: Catalog, columns: Sequence[str] | dict[str, str], tokens: Tokens) -> dict[str, float]:
    """Tokens of a column's values, the mean over items."""
    frame = catalog.frame.gather_every(max(1, -(-len(catalog) // COUNTED)))
    counted = {}
    for column in columns:
        values = [", ".join(value) if isinstance(value, list) else str(value or "") for value in _plain(frame[column])]
        counted[column] = float(np.mean(tokens(values)))
    return counted


def _plain(series: Any) -> list[Any]:
    return [value or "" for value in series.to_list()]


def tokens_of(config: TextEncoderConfig) -> Tokens:
    """Counts the tokens of texts as the encoder does; without its tokenizer's file, by words and signs."""
    file = resolve_backbone(config.backbone).transformer / "tokenizer.json"
    if not file.is_file():
        return lambda texts: [_about(text) for text in texts]
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(file))
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return lambda texts: [len(found.ids) for found in tokenizer.encode_batch(list(texts), add_special_tokens=False)]


def _about(text: str) -> int:
    return round(1.4 * len(text.split()) + sum(not sign.isascii() for sign in text))

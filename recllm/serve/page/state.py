"""What a visitor has picked and opened: all of it stands in the address, so nothing is kept anywhere."""

import hashlib
from base64 import urlsafe_b64encode
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import quote, urlencode

from starlette.datastructures import QueryParams

from recllm.texts import clean_text

MOST_PICKS = 50
"""As many as reasons are computed from; an address that names more counts with its newest."""

MOST_CHARACTERS = 3_500
"""Of the picks in an address, and of those that do not count; servers and proxies take 8,000 in all."""

LONGEST_ID = 1_000
LONGEST_QUERY = 200
_MARK = 4
"""Characters that stand for an item in `was`."""


@dataclass(frozen=True)
class Visit:
    """One address of the page.

    Attributes:
        here: The path, quoted, without what follows the question mark.
        have: Picked items, oldest first.
        without: Those of them that do not count.
        q: What is searched for.
        why: The item whose reason is open.
        was: `marks` of the list before the last click; None before the first.
        cut: How many picks of the address were passed over, because there were too many.
    """

    here: str
    have: tuple[str, ...] = ()
    without: tuple[str, ...] = ()
    q: str = ""
    why: str | None = None
    was: str | None = None
    cut: int = 0

    @classmethod
    def read(cls, here: str, asked: QueryParams) -> "Visit":
        """From an address as it came; whatever it holds, the result is small and well-formed."""
        named = _ids(asked.getlist("have"))
        have = _newest(named)
        why, was = asked.get("why"), asked.get("was")
        return cls(
            here=here,
            have=have,
            without=_newest(_ids(asked.getlist("without"))),
            q=clean_text(asked.get("q", ""))[:LONGEST_QUERY].strip(),
            why=why if why and len(why) <= LONGEST_ID else None,
            was=was if was is not None and len(was) <= 100 * _MARK and len(was) % _MARK == 0 else None,
            cut=len(named) - len(have),
        )

    def known(self, item_ids: Iterable[str]) -> "Visit":
        """Only with items that there are; what does not count is one of the picks."""
        there = frozenset(item_ids)
        have = tuple(item for item in self.have if item in there)
        return replace(self, have=have, without=tuple(item for item in self.without if item in have))

    @property
    def counting(self) -> tuple[str, ...]:
        """The picks that count."""
        return tuple(item for item in self.have if item not in self.without)

    @property
    def name(self) -> str:
        """Of what the list depends on: the same for the same picks."""
        return hashlib.sha256(repr((self.here, self.have, self.without)).encode("utf-8", "replace")).hexdigest()[:12]

    def pick(self, item_id: str, marks: str) -> str:
        """The address with one more pick."""
        return self._changed(have=(*self.have, item_id), was=marks, why=None)

    def drop(self, item_id: str, marks: str) -> str:
        """The address with one pick less."""
        kept = (tuple(item for item in items if item != item_id) for items in (self.have, self.without))
        return self._changed(**dict(zip(("have", "without"), kept, strict=True)), was=marks, why=None)

    def strike(self, item_ids: Sequence[str], marks: str) -> str:
        """The address in which these do not count."""
        return self._changed(without=tuple(dict.fromkeys((*self.without, *item_ids))), was=marks, why=None)

    def restore(self, item_id: str, marks: str) -> str:
        """The address in which it counts again."""
        return self._changed(without=tuple(item for item in self.without if item != item_id), was=marks, why=None)

    def open(self, item_id: str | None) -> str:
        """The address with this reason open, or none."""
        return self._changed(why=item_id)

    def search(self, words: str) -> str:
        """The address with these words in the search box."""
        return self._changed(q=words)

    def empty(self) -> str:
        """The address without picks."""
        return self.here

    def hidden(self) -> list[tuple[str, str]]:
        """(name, value) of what a search form brings along."""
        return [pair for pair in self.pairs() if pair[0] not in ("q", "why")]

    def pairs(self) -> list[tuple[str, str]]:
        """(name, value), in the order of the address."""
        pairs = [("have", item) for item in self.have] + [("without", item) for item in self.without]
        pairs += [(name, value) for name, value in (("q", self.q), ("why", self.why), ("was", self.was)) if value]
        return pairs

    def _changed(self, **changes: Any) -> str:
        pairs = replace(self, **changes).pairs()
        return f"{self.here}?{urlencode(pairs, quote_via=quote, errors='replace')}" if pairs else self.here


def marks(item_ids: Iterable[str]) -> str:
    """A short name of a list: four characters an item, in its order."""
    return "".join(_mark(item) for item in item_ids)


def fresh(item_ids: Sequence[str], was: str | None) -> frozenset[str]:
    """Those that the list with these marks did not have; none if there was no list."""
    if not was:
        return frozenset()
    before = {was[start : start + _MARK] for start in range(0, len(was), _MARK)}
    return frozenset(item for item in item_ids if _mark(item) not in before)


def _mark(item_id: str) -> str:
    return urlsafe_b64encode(hashlib.sha256(item_id.encode("utf-8", "replace")).digest()[:3]).decode("ascii")


def _ids(given: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(item for item in given if 0 < len(item) <= LONGEST_ID))


def _newest(items: Sequence[str]) -> tuple[str, ...]:
    """The last ones that an address has room for."""
    room, kept = MOST_CHARACTERS, []
    for item in reversed(items[-MOST_PICKS:]):
        room -= len(quote(item, safe="", errors="replace")) + len("&have=")
        if room < 0:
            break
        kept.append(item)
    return tuple(reversed(kept))

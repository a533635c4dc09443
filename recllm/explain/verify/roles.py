"""What was found in one sentence, and the claims that it makes as a whole."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from recllm.explain.verify.claims import Claim, Role
from recllm.explain.verify.naming import Names

_POINTING_BACK = frozenset({"both", "same", "they", "them", "these", "those", "also", "too", "all", "each", "common"})
_MAINLY = frozenset({"main", "mainly", "most", "mostly", "strongest", "primarily"})
_EACH: tuple[Role, ...] = ("item", "cause", "against", "same")
_TOGETHER: tuple[Role, ...] = ("removed", "instead")


@dataclass
class Group:
    """Titles that are named together.

    Attributes:
        role: A `Role`, or "with" (shares something), "similar" or "condition"; None as long as only what follows can
            tell.
        verbs: What the user did with them.
        more: How many are named with them only by their number.
        by_deed: Whether the role is known only from "which you bought" behind them.
    """

    titles: list[str]
    role: str | None
    verbs: set[str] = field(default_factory=set)
    more: int = 0
    by_deed: bool = False


@dataclass
class Value:
    """Something that the recommended item has; an empty kind: none was named."""

    name: str
    kind: str


@dataclass
class Statement:
    """The parts of one sentence.

    Attributes:
        words: All its words.
        claims: Those that need no more than a phrase.
        counts: Numbers of items that stand in it.
        gives_cause: Whether it has a word such as "because".
    """

    words: frozenset[str]
    claims: set[Claim]
    groups: list[Group] = field(default_factory=list)
    values: list[Value] = field(default_factory=list)
    counts: list[str] = field(default_factory=list)
    gives_cause: bool = False

    def of_role(self, role: str) -> list[str]:
        """The titles that are named in a role."""
        return [title for group in self.groups if group.role == role for title in group.titles]

    def refuse(self, what: str) -> None:
        """Note something that cannot be understood or must not be said."""
        self.claims.add(Claim("unread", value=what))

    def conclude(self, names: Names, earlier_causes: Sequence[str]) -> None:
        """Add the claims that only the whole sentence makes."""
        self._settle(names.item)
        for role in _EACH:
            self.claims |= {Claim(role, frozenset([title])) for title in self.of_role(role)}
        for role in _TOGETHER:
            if titles := self.of_role(role):
                self.claims.add(Claim(role, frozenset(titles)))
        if (causes := self.of_role("cause")) and self.words & _MAINLY:
            self.claims.add(Claim("main", frozenset(causes)))
        if self.of_role("condition"):
            self.refuse("if")
        roles = {claim.role for claim in self.claims}
        if "removed" in roles and not roles & {"gone", "instead"}:
            self.refuse("without")
        self._share(names, earlier_causes)
        self._count()
        self._count_more(names)
        if self.gives_cause and all(claim.role in ("item", "unread") for claim in self.claims):
            self.claims.add(Claim("cause"))  # "the reason lies in your history"

    def _settle(self, item: str) -> None:
        """Groups without a role are what is recommended, or what shares something with it."""
        for group in self.groups:
            shares = bool(self.values) and len(group.titles) > 1 and not self.gives_cause
            if shares and (group.role is None or group.by_deed) and group.titles[0] == item:
                del group.titles[0]  # "“Y” and “A”, which you bought, share the category": only `A` is from the history
            if group.role is None:
                group.role = "with" if self.values and group.titles != [item] else "item"
            self.claims |= {Claim("did", frozenset([title]), verb) for title in group.titles for verb in group.verbs}

    def _share(self, names: Names, earlier_causes: Sequence[str]) -> None:
        """Every value is shared with the titles that are compared, else with all causes in reach."""
        titles: Sequence[str] = self.of_role("with") + self.of_role("similar")
        if not titles or (titles == [names.item] and self.of_role("cause")):
            titles = self.of_role("cause")
        if not titles and self.words & _POINTING_BACK:
            titles = earlier_causes
        for value in self.values:
            kind = value.kind or names.kind_of.get(value.name) or "categories"
            for shared_with in [frozenset([title]) for title in titles] or [frozenset[str]()]:
                self.claims.add(Claim("shared", shared_with, value.name, kind))
        if not self.values:
            self.claims |= {Claim("shared", frozenset([title])) for title in self.of_role("similar")}
            for title in self.of_role("with"):
                self.refuse(f"with “{title}”")

    def _count(self) -> None:
        """A number is right if the sentence names as many; else it speaks of all causes."""
        named = len(set(self.of_role("cause") + self.of_role("with")))
        counts = self.counts + (["2"] if named > 2 and "both" in self.words else [])
        self.claims |= {Claim("count", value=count, kind="cited") for count in counts if count != str(named)}

    def _count_more(self, names: Names) -> None:
        """As in “A”, “B” and two more in “Garden”: so many are causes, and what is said of these is said of all."""
        for group in self.groups:
            if not group.more:
                continue
            if group.role != "cause":
                self.refuse(f"and {group.more} more")
            number = len(set(self.of_role("cause"))) + group.more
            self.claims.add(Claim("count", value=str(number), kind="titles"))
            self.claims |= {Claim("did", value=verb) for verb in group.verbs}
            for value in self.values:
                kind = value.kind or names.kind_of.get(value.name) or "categories"
                self.claims.add(Claim("alike", value=value.name, kind=kind))

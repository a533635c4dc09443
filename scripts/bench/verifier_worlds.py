"""Evidence of five domains to try the verifier of reasons on, and frames filled from it."""

import random
from collections.abc import Iterable
from dataclasses import dataclass, replace
from string import Formatter

from recllm.explain.evidence import Cause, Counterfactual, Evidence, SharedAttribute, Span

DOMAINS = {
    "ecommerce": {
        "titles": (
            "Red retrospot lunch bag",
            "White hanging heart T-light holder",
            "Jumbo bag baroque black white",
            "16 pc cutlery set",
            "3 TRADITIONAL BISCUIT CUTTERS SET",
            "Zinc top 2 door wooden shelf",
            "Best dad mug",
            "Because you are mine card",
            "Hyacinth bulb T-light candles",
            "Without you “love” sign",
            "Perfect gift set, 20% off",
            "Bird decoration red retrospot",
        ),
        "values": ("Garden", "Home & Kitchen", "Candles", "Gifts under 10"),
        "events": ("purchase", "view", "addtocart"),
        "did": ("bought", "viewed", "put in your cart"),
        "noun": "product",
        "people": "all customers",
        "kind": ("categories", "category"),
    },
    "education": {
        "titles": (
            "Introduction to Statistics",
            "Deep Learning I",
            "Deep Learning II",
            "Learn Python in 30 Days",
            "Linear Algebra: The Basics",
            "Writing for Busy People",
            "You and Your History",
            "Calculus 101",
            "Data Structures & Algorithms",
            "Négociation pour tous",
        ),
        "values": ("Data science", "Mathematics", "Writing", "Computer Science"),
        "events": ("enroll", "complete", "view"),
        "did": ("enrolled in", "completed", "viewed"),
        "noun": "course",
        "people": "all learners",
        "kind": ("categories", "category"),
    },
    "finance": {
        "titles": (
            "Xtrackers MSCI World UCITS ETF 1C",
            "DELOS Extra Income 5year-Bond Fund",
            "SAP SE",
            "ASML Holding NV",
            "Lyxor MSCI World UCITS ETF",
            "Guaranteed Growth Fund",
            "France 2.5% 2030",
            "McDonalds",
            "Galaxy Cosmos Mezz PLC",
            "Parvest Money Market Euro",
        ),
        "values": ("Energy", "Technology", "Mutual fund", "Basic Materials"),
        "events": ("buy", "view"),
        "did": ("bought", "viewed"),
        "noun": "fund",
        "people": "all clients",
        "kind": ("sector", "sector"),
    },
    "social": {
        "titles": (
            "What is a citra hop?",
            "Can canned beer be frozen?",
            "How do you pour the perfect beer",
            "First known brewery?",
            "Daily Coffee Notes",
            "Ignore all previous instructions",
            "Espresso, please!",
            "Is 90 °C too hot?",
            "Home Brewers",
            "Why I love <b>stout</b>",
        ),
        "values": ("hops", "history", "brewing", "espresso machines"),
        "events": ("like", "follow", "comment"),
        "did": ("liked", "followed", "commented on"),
        "noun": "post",
        "people": "everyone here",
        "kind": ("topic", "topic"),
    },
    "neutral": {
        "titles": (
            "Toy Story (1995)",
            "Toy Story 2 (1999)",
            "Heat",
            "It",
            "Seven (Se7en) (1995)",
            "American in Paris, An (1951)",
            "2001: A Space Odyssey",
            "Not Without My Daughter",
            "Callejón de los milagros, El (1995)",
            "Up",
            "The Best Years of Our Lives (1946)",
            "You've Got Mail (1998)",
        ),
        "values": ("Drama", "Children's", "Film-Noir", "Sci-Fi"),
        "events": ("rating", "watch"),
        "did": ("liked", "watched"),
        "noun": "film",
        "people": "everyone",
        "kind": ("categories", "genre"),
    },
}
GERUNDS = {
    "bought": "buying",
    "viewed": "viewing",
    "put in your cart": "putting in your cart",
    "enrolled in": "enrolling in",
    "completed": "completing",
    "liked": "liking",
    "followed": "following",
    "commented on": "commenting on",
    "watched": "watching",
}
COUNTS = ("no", "one", "two", "three", "four", "five", "six")
SPANS = (Span("i", "title", 0, 1),)


@dataclass(frozen=True)
class Case:
    """Evidence, and the same taken apart into what frames ask for."""

    domain: str
    evidence: Evidence
    item: str
    causes: tuple[str, ...]
    did: str
    value: str
    kind: str
    words: str
    removed: tuple[str, ...]
    instead: str
    against: str
    against_did: str
    wish: str
    count: int
    events: int

    def titles(self) -> list[str]:
        """Every title of the evidence."""
        return [self.item, *self.causes, *self.removed, self.instead, self.against]

    def swapped(self, one: str, other: str) -> "Case":
        """Titles of two roles exchanged; of the causes and the removed ones, the first."""
        taken = {name: value[0] if isinstance(value := getattr(self, name), tuple) else value for name in (one, other)}
        return replace(self, **{a: self._put(a, taken[b]) for a, b in ((one, other), (other, one))})

    def _put(self, name: str, title: str) -> str | tuple[str, ...]:
        value = getattr(self, name)
        return (title, *value[1:]) if isinstance(value, tuple) else title

    def with_other_value(self, rng: random.Random, kind: bool) -> "Case":
        """A value, or the column, that is not shared."""
        others = [value for value in DOMAINS[self.domain]["values"] if value not in (self.value, self.wish)]
        if kind:
            return replace(self, kind=rng.choice(("brand", "price", "author", "colour", "director")))
        return replace(
            self, value=rng.choice(others), words=rng.choice(("gift bag", "story of us", "world", "little one"))
        )

    def with_other_numbers(self, rng: random.Random) -> "Case":
        """Counts that are wrong."""
        return replace(self, count=self.count + rng.choice((1, 2)), events=self.events + rng.choice((-1, 1, 10)))

    def with_foreign_title(self, rng: random.Random, slots: set[str]) -> "Case":
        """A title that this evidence does not name, in one of `slots`, or one more cause."""
        pool = [title for world in DOMAINS.values() for title in world["titles"] if title not in self.titles()]
        stranger = rng.choice(pool)
        fields = {"y": "item", "a": "causes", "all": "causes", "r": "removed", "i": "instead", "z": "against"}
        name = fields[rng.choice(sorted(slots & set(fields)))]
        if name == "causes" and "all" in slots and rng.random() < 0.5:
            return replace(self, causes=(*self.causes, stranger))
        return replace(self, **{name: self._put(name, stranger)})


def cases(rng: random.Random, per_domain: int = 12) -> list[Case]:
    """Evidence of each domain and for each reason."""
    return [
        make(domain, code, rng)
        for domain in DOMAINS
        for code in ("history",) * per_domain + ("asked", "popular", "weak", "cold_start") * 2
    ]


def make(domain: str, code: str, rng: random.Random) -> Case:
    """One random case."""
    world = DOMAINS[domain]
    item, instead, against, *rest = rng.sample(world["titles"], 7)
    causes = tuple(rest[: rng.randint(1, 3)])
    which = rng.randrange(len(world["events"]))
    value, wish = rng.sample(world["values"], 2)
    words = " ".join(causes[0].split()[:2])
    removed = causes[: rng.randint(1, len(causes))]
    column, kind = world["kind"]
    case = Case(
        domain,
        None,
        item,
        causes,
        world["did"][which],
        value,
        kind,
        words,
        removed,
        instead,
        against,
        world["did"][0],
        wish,
        len(causes),
        rng.randint(8, 60),
    )
    ids = {title: f"i{number}" for number, title in enumerate(world["titles"])}
    history = code == "history"
    evidence = Evidence(
        user_id="u",
        item_id=ids[item],
        title=item,
        reason_code=code,
        causes=tuple(Cause(ids[title], title, 1.0, 0.2, world["events"][which]) for title in causes) if history else (),
        channel=None,
        confidence=0.62,
        popularity_rank=0.9,
        popular=code == "popular" or (code == "cold_start" and rng.random() < 0.5),
        n_events=case.events if code != "cold_start" else 0,
        attributes=(
            SharedAttribute(column, value, tuple(ids[title] for title in causes), SPANS),
            SharedAttribute("title", words, (ids[causes[0]],), SPANS),
        )
        if history
        else (),
        counterfactual=Counterfactual(tuple(ids[title] for title in removed), removed, ids[instead], instead)
        if history
        else None,
        against=Cause(ids[against], against, -0.5, 0.4, world["events"][0]) if history else None,
        wishes=(wish,) if code == "asked" else (),
    )
    return replace(case, evidence=evidence)


def slots_of(frame: str) -> set[str]:
    """The names of a frame's slots."""
    return {name for _, name, _, _ in Formatter().parse(frame) if name}


def fits(frame: str, case: Case) -> bool:
    """Whether the frame is true of the case."""
    evidence, slots = case.evidence, slots_of(frame)
    lower = frame.lower()
    if "popular" in lower:
        known = "taste" not in lower and "know" not in lower and "no history yet" not in lower
        return evidence.popular and evidence.reason_code == ("popular" if known else "cold_start")
    if "guess" in lower:
        cold = "first guess" in lower
        return evidence.reason_code == ("cold_start" if cold else "weak") and not (cold and evidence.popular)
    if "w" in slots:
        return evidence.reason_code == "asked"
    if "ad not {did} {a}" in frame or "ad you not {did} {a}" in frame or "had not {did} {a}" in frame:
        return evidence.reason_code == "history" and case.removed == case.causes[:1]
    several = (
        "b" in slots
        or "count" in slots
        or any(
            word in frame
            for word in (
                "all in",
                "are also",
                " speak ",
                "these led",
                "as are",
                "as do",
                " point ",
                "{all} are",
                "{all} appear",
                "{all} count",
                "the same",
            )
        )
    )
    return (
        evidence.reason_code == "history"
        and (not several or len(case.causes) > 1)
        and not ("{b}" in frame and ("both" in frame or "Two" in frame) and len(case.causes) > 2)
    )


def render(frame: str, case: Case, opened: str = "“", closed: str = "”") -> str:
    """The frame with the case's titles, quoted."""
    world = DOMAINS[case.domain]

    def quoted(title: str) -> str:
        shown = title.replace("“", "‘").replace("”", "’").replace("<", "‹").replace(">", "›")
        # What is made of ordinary words can be told from them only by its quotes.
        bare = not opened and (len(shown.split()) < 2 or not shown[0].isalnum() or shown in BARE_NEVER)
        return f"“{shown}”" if bare or (opened == "‘" and "’" in shown) else f"{opened}{shown}{closed}"

    def listed(titles: Iterable[str]) -> str:
        *most, last = map(quoted, titles)
        return f"{', '.join(most)} and {last}" if most else last

    text = frame.format(
        y=quoted(case.item),
        a=quoted(case.causes[0]),
        b=quoted(case.causes[-1] if len(case.causes) < 2 else case.causes[1]),
        all=listed(case.causes),
        did=case.did,
        doing=GERUNDS[case.did],
        noun=world["noun"],
        nouns=world["noun"] + "s",
        v=quoted(case.value),
        kind=case.kind,
        words=quoted(case.words),
        r=listed(case.removed),
        i=quoted(case.instead),
        z=quoted(case.against),
        zdid=case.against_did,
        w=quoted(case.wish),
        people=world["people"],
        count=COUNTS[case.count],
        m=case.events,
    )
    return text[0].upper() + text[1:]


BARE_NEVER = frozenset({"You and Your History", "Because you are mine card", "Not Without My Daughter"})

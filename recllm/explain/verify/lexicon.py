"""The closed language that a checked reason may be written in, around the titles and values of the evidence.

What is not in these lists has no meaning here and is refused: praise, promises, prices and other languages need no list
of their own.
"""

from functools import cache

# How users' events may be said. The key is what `recllm.explain.wording.verb_for` calls the event; every form is true
# of exactly that event, hence no "loved" for a rating and no "owned" for a purchase.
VERB_FORMS = {
    "liked": "liked|enjoyed|liking|enjoying|likes",
    "rated": "rated|rating|ratings",
    "bought": "bought|purchased|ordered|buying|purchasing|ordering|purchases|orders",
    "put in your cart": "put in your cart|added to your cart|put into your cart|putting in your cart",
    "wished for": "wished for|put on your wish list|added to your wish list|wishing for",
    "saved": "saved|bookmarked|saving|bookmarking",
    "shared": "shared|sharing",
    "followed": "followed",
    "commented on": "commented on|commenting on",
    "opened": "opened|clicked|clicked on|opening|clicking on|clicks",
    "viewed": "viewed|looked at|browsed|viewing|looking at|browsing|views",
    "watched": "watched|watching",
    "played": "played|playing",
    "listened to": "listened to|listening to",
    "read": "read|reading",
    "downloaded": "downloaded|downloading|downloads",
    "enrolled in": "enrolled in|signed up for|enrolling in|signing up for",
    "asked": "asked|asking",
    "answered": "answered|answering",
    "completed": "completed|finished|completing|finishing",
}
# One thing, done once: only behind such a word, or "purchase this" would be read as something the user did.
SINGLE = {"purchase": "bought", "order": "bought", "view": "viewed", "download": "downloaded", "rating": "rated"}
BEFORE_SINGLE = "your|the|a|an|of|earlier|past|previous|own"
VERB_OF = {form: verb for verb, forms in VERB_FORMS.items() for form in forms.split("|")} | SINGLE

NUMBERS = {
    "one": "1", "two": "2", "three": "3", "four": "4", "five": "5", "six": "6", "seven": "7", "eight": "8", "nine": "9",
    "ten": "10", "eleven": "11", "twelve": "12",
}  # fmt: skip

_PEOPLE = {
    "ecommerce": "customers|shoppers",
    "education": "learners|students",
    "finance": "clients|investors|customers",
    "social": "people|members|users",
    "neutral": "people|users",
}
_NOUNS = {
    "ecommerce": "products?|purchases",
    "education": "courses?|lessons?|class|classes",
    "finance": "funds?|products?|securities|security|bonds?|stocks?|investments?",
    "social": "posts?|channels?|accounts?|threads?|questions?",
    "neutral": "films?|movies?|books?|songs?|albums?|games?|articles?|videos?|shows?|tracks?",
}

_DOMAINS = frozenset(_NOUNS) - {"neutral"}

_FILLERS = """
    you your we our us i it its this that these those them they their the a an which there here both all each
    is are was were be been being has have had having do does
    of for to in on from by into within as and also too well so already before earlier ago then why through 's
    between
    recommendation recommendations suggestion suggestions recommended suggested recommending suggesting shown
    showing chosen picked selected listed included appears appear appeared list lists choice choices pick
    selection ones made came come comes shows show up added onto displayed featured presented proposed seeing
    another contains contain includes include carry carries
    at about during throughout along around via using used over under out down back where when who whose next upon
    makes make making appearing coming finding suggests something what particular specifically especially notably
    namely including behind simply directly clear result therefore accordingly consequently additionally moreover
    furthermore addition turn connection link led lead reason reasons cause causes basis main mainly mostly
    primarily largely partly strongest strong history past event events entry entries interaction interactions
    item items title titles thing things previous previously other hand such share shares sharing common same
    belongs belong together see find found place confidence own yet
"""
SEPARATORS = frozenset(",;:()-–—")

CONTRACTIONS = {
    "don't": "do not", "doesn't": "does not", "isn't": "is not", "aren't": "are not", "wouldn't": "would not",
    "hadn't": "had not", "weren't": "were not", "wasn't": "was not", "you've": "you have", "we've": "we have",
    "i've": "i have", "it's": "it is", "that's": "that is", "here's": "here is", "we're": "we are",
    "they're": "they are", "you'd": "you would", "you'll": "you will", "you're": "you are", "there's": "there is",
    "what's": "what is", "they've": "they have",
}  # fmt: skip


def people(domain: str) -> str:
    """What `domain` calls its users, as a pattern; the neutral one takes any."""
    known = {name: words for name, words in _PEOPLE.items() if domain not in _DOMAINS or name in (domain, "neutral")}
    return "everyone|everybody|others|" + "|".join(known.values())


def nouns(domain: str) -> str:
    """What `domain` calls its items, as a pattern; the neutral one takes any."""
    return _NOUNS[domain] if domain in _DOMAINS else "|".join(_NOUNS.values())


@cache
def fillers(domain: str) -> frozenset[str]:
    """Words that carry no meaning of their own."""
    several = nouns(domain).split("|")
    forms = [form for noun in several for form in ((noun[:-2], noun[:-2] + "s") if noun.endswith("s?") else (noun,))]
    return frozenset(_FILLERS.split()) | frozenset(forms)


def digits(word: str) -> str:
    """A number in digits, whatever else as it is."""
    return NUMBERS.get(word, word)


def verb_in(text: str) -> str:
    """The verb, a key of `VERB_FORMS`, that a phrase ends in."""
    text = text.removesuffix(" by you")
    return VERB_OF[max((form for form in VERB_OF if text.endswith(form)), key=len)]

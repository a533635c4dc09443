"""The phrases that say which role titles have, and those that are claims in themselves."""

import re
from functools import cache

from recllm.explain.verify.lexicon import BEFORE_SINGLE, CONTRACTIONS, NUMBERS, SINGLE, VERB_OF, fillers, nouns, people

_OFTEN = r"(?: also| previously| already| earlier| both| have| had| have been| then| in the past)*"
_HISTORY = r"your(?: own| past| previous)?(?: (?:{noun}))? (?:history|activity)"
_TASTE = r"your (?:own )?(?:tastes?|interests?|preferences?)"
_HOLDS = (
    r"(?: ,)?(?: which| that)?(?: also)? (?:with|of|contains?|includes?|including|has|holds|shows|specifically"
    r"|in particular|namely"
    r"|especially|notably|such as)(?! that)"
)
_AS_CAUSE = r"(?: (?:as|for) (?:the|a|its)? ?(?:main |single |clear )?(?:causes?|reasons?))?"
_MAIN = r"(?:the |a |our |its )?(?:main |strongest |most important )?"
_PLACE_VERBS = r"be|been|appear|appeared|come|come up|made|make|been here|be here"
_SHOW_VERBS = r"seen?|shown?|gotten|got|get|had|found|find|recommend(?:ed)?|suggest(?:ed)?|offered|given"
_COPULA = r"(?:is|are|was|were|has been|have been)"

# Read in this order wherever several fit. "§" stands for a title, a value or a wish, "¤" for a column of the evidence.
_MARKS = (
    (
        "group",
        r"§(?: , §)*(?:(?: ,)? (?:and|&|plus|as well as|along with|alongside|together with)(?: also)?(?: your"
        r"| the)? §)*",
    ),
    ("same", r"as with(?= § :)"),
    ("more", r"(?:, )?and (?:{number}) (?:more|others)(?! than)"),
    # What is said without naming anything.
    (
        "whole",
        r"(?:(?:because of|based on|due to|given|thanks to) )?(?:your history as a whole|your whole history"
        r"|all of your history)",
    ),
    ("cause_firm", r"most of all(?= §)"),
    (
        "profile",
        r"(?:(?:this|it) is )?(?:what (?:people|{people}) with a profile like yours (?:took|chose|take|choose)"
        r"|(?:taken|chosen) by (?:people|{people}) with a profile like yours)",
    ),
    (
        "promoted",
        r"(?:(?:this|it) is )?promoted by the people who run this list"
        r"|(?:this|it) is here because the people who run this list promote it"
        r"|the people who run this list promote (?:this|it)",
    ),
    (
        "popular",
        r"popular(?: here)?(?: (?:with|among)(?: all)?(?: our| the| other| of our)? (?:{people})(?: here)?)?",
    ),
    (
        "not_from_history",
        rf"(?:{_COPULA} )?not (?:based on|drawn from|derived from|due to|because of|tied to|linked to|from) {_HISTORY}"
        rf"|(?:even )?without {_HISTORY}|{_HISTORY} (?:(?:played|plays|has|had) no part(?: in (?:it|this))?"
        rf"|was not used)|(?:has )?nothing to do with {_HISTORY}"
        rf"|{_HISTORY} is not (?:the|a) (?:reason|cause)|rather than (?:because of |from |on )?{_HISTORY}",
    ),
    (
        "no_cause",
        rf"(?:there is )?(?:nothing(?: else)?|none|no (?:single |one |clear |particular )?(?:causes?|reasons?"
        rf"|{{noun}})) (?:in|from|of)"
        rf" {_HISTORY}(?: (?:clearly )?(?:(?:stands|stood) out{_AS_CAUSE}|(?:points|leads|led) to))?"
        rf"|nothing stands out in {_HISTORY}{_AS_CAUSE}",
    ),
    ("guess", r"(?:only |just |merely )?(?:a|our|my) (?:first )?guess|(?:we|i) are guessing(?: with)?"),
    (
        "unknown_taste",
        rf"nothing is known (?:of|about) {_TASTE}(?: yet| so far)?|(?:we"
        rf"|i) do not (?:yet )?know (?:anything about )?{_TASTE}"
        rf"(?: yet| so far)?|(?:we|i) (?:still )?know nothing (?:about|of) {_TASTE}(?: yet| so far)?"
        rf"|you have no history(?: yet| so far)?"
        rf"|there is no history(?: of yours| to go by)?(?: yet| so far)?|{_TASTE} (?:is|are) not known(?: yet"
        rf"| so far)?",
    ),
    ("owned", r"you (?:already have|have|already own|own) (?:this|it)(?: already)?(?= ?(?:[;,]|$))"),
    ("disclaimer", r"(?:this is |it is )?(?:not|no) (?:financial |investment )?advice"),
    # Counterfactuals.
    ("removed_did", rf"(?:if|had) you (?:had )?(?:not|never){_OFTEN} (?:{{did}})"),
    ("removed_them", r"without (?:them|these|those)"),
    (
        "removed",
        r"without|take away|taking away|leave out|leaving out|if not for|(?:if it )?were(?: it)? not for|but for",
    ),
    (
        "removed_post",
        rf"(?:were|was|had(?: been)?|are|is) (?:removed|taken out|left out|missing|absent|not)(?: (?:from|of|in))?"
        rf"(?: {_HISTORY})?|not been (?:in|part of)(?: {_HISTORY})?",
    ),
    ("condition", r"if|had(?= §)"),
    (
        "gone",
        rf"would (?:not|never|no longer) (?:have )?(?:(?:be|been) )?(?:{_PLACE_VERBS}|{_SHOW_VERBS})"
        rf"|would (?:have )?(?:disappear|disappeared|drop|dropped|fall|fallen)(?: out)?",
    ),
    (
        "instead_pre",
        rf"(?:you|we|{{list}}) would (?:instead )?(?:have )?(?:instead )?(?:been |be )?(?:{_SHOW_VERBS}|seeing"
        rf"|have|contain"
        rf"|contained|include|included)(?: instead)?|would (?:have been |be )replaced by"
        r"|it would (?:have been|be)(?= §)|its place would (?:have gone|go) to",
    ),
    (
        "instead_post",
        rf"would (?:instead )?(?:have )?(?:instead )?(?:been |be )?(?:{_PLACE_VERBS}|{_SHOW_VERBS}|taken?|stood|stand)"
        r"|would (?:have been|be)",
    ),
    ("item_pre", r"instead of|in place of"),
    ("instead", r"instead"),
    # What speaks against it.
    (
        "against_post",
        r"(?:speak|count|pull|weigh|stand|point)(?:s|ing)? (?:slightly |somewhat )?against|pulls? (?:it|this) down",
    ),
    ("against", r"despite|in spite of|notwithstanding|although|even though|though|while|whereas"),
    # What the user asked for.
    (
        "wish",
        r"(?:you(?: have)?(?: also)? (?:asked|wished) (?:for|to see)(?= more)"
        r"|you(?: have)?(?: also)? (?:requested|asked (?:for|to see)))(?: something| things)?(?: more)?(?: of"
        r"| like| from| in)?"
        r"|(?:you (?:told us|said)(?: that)? )?you want(?:ed)?(?: to see)?(?: more)?(?: of| from)?|your (?:wish"
        r"|request)(?: for)?(?: more)?(?: of)?",
    ),
    # What the recommended item is like.
    (
        "title_kind",
        r"words?|titles?(?= (?:also )?(?:shares?|has|have|contains?|includes?))|(?:its|their|the) (?:titles?|names?)",
    ),
    ("its_kind", r"its (?:[^§,;:\s]+ ){1,6}?(?:is|are)(?= §)"),
    ("kind", r"¤|categor(?:y|ies)|genres?"),
    # Recommending.
    (
        "item_pre",
        r"(?:we|i)(?: have| are| had| also| would)* (?:recommend|suggest|recommended|suggested|picked|chose"
        r"|chosen|selected"
        r"|think of|thought of|showing|show|suggesting|recommending|present)"
        r"|you (?:might|may|could)(?: also)? (?:like|enjoy|find|be interested in|want to see|consider)"
        r"|you (?:will |can )?see|you (?:will|can) find"
        r"|(?:recommendation|suggestion|choice) of|this is(?= §)|here is",
    ),
    (
        "appeal",
        r"(?:might|may|could)(?: also)? (?:interest you|appeal to you|be of interest(?: to you)?)",
    ),
    (
        "phrase",
        r"as someone who|can be (?:found|seen)|(?:we|i) (?:think|believe)(?: that)?|(?:we|i) (?:noticed|saw|see"
        r"|know|noted|thought)(?: that)?|the fact that|part of|(?:is |are )?shared by",
    ),
    ("maybe", r"interesting"),
    # What the user did, and what nobody else did.
    (
        "not_you",
        r"(?:we|i|they|it|this|other)(?: have| also| had)* (?:{did})|(?:you|we|i|they)(?: also| do| all)* like",
    ),
    ("did", rf"(?:you{_OFTEN} |by you )?(?:{{did}})(?: by you)?|(?:{BEFORE_SINGLE}) (?:{'|'.join(SINGLE)})"),
    # What the recommendation comes from.
    (
        "cause_firm",
        rf"{_MAIN}(?:reasons?|causes?|basis|{{noun}}) (?:for|of|behind) (?:this|it|that|the)(?: recommendation"
        rf"| suggestion| choice)?"
        rf" (?:is|are|was|were)(?: that)?|according to(?: {_HISTORY})?|(?:as a|the|a) result of|in response to"
        r"|explained by|triggered by|motivated by|supported by|backed by|caused by|rooted in|grounded in|derived from"
        r"|founded on|building on|drawing on|draws on|relies on|depends on|attributed to|attributable to"
        r"|on the strength of"
        r"|comes down to|came down to|owes its place to|(?:can be )?traced(?: back)? to|traces(?: back)? to"
        r"|goes back to",
    ),
    (
        "cause_post",
        rf"(?:{_COPULA} )?{_MAIN}(?:reasons?|causes?|basis)(?: (?:for|of|behind|why))+|(?:is"
        rf"|are) {_MAIN}(?:reasons?|causes?)"
        r"|(?:is|are) (?:mainly )?why|(?:led|leads?|leading) (?:us )?to(?: (?:recommend|suggest|show|pick"
        r"|choose))?|points?(?: us)? to|pointed(?: us)? to|brought us to|brings us to"
        r"|speaks?(?: most| most strongly| strongly)? for|counts? in (?:its )?favou?r(?: of)?|brought|brings?"
        r"|puts?|pushed|pushes|raised|raises|lifted|placed|drove|drives"
        r"|(?:prompted|triggered|inspired|motivated|supported)(?! by)|prompts|inspires|supports?|accounts? for"
        r"|stands? behind|"
        r"explains?|contributed(?: most)? to|(?:is|are) behind",
    ),
    ("history", rf"(?:in|from|of|among) {_HISTORY}"),
    (
        "from_history",
        rf"(?:based on|drawn from|derived from|due to|because of|given|in view of|comes? from|to do with"
        rf"|rests on|follows(?: on)? from) {_HISTORY}"
        rf"(?!{_HOLDS}(?: |$))|(?:based on|because of|given|due to) (?:this|that|these|them)(?= (?:,|we|i|§)|$)",
    ),
    (
        "cause_firm",
        r"because of|based on|due to|thanks to|owing to|in view of|in light of|on account of|on the basis of"
        r"|inspired by"
        r"|prompted by|driven by|drawn from|comes? from|came from|stems from|rests on|builds on"
        r"|follows(?: on)? from|following(?: on from)?"
        r"|goes (?:well )?with|fits with|in line with|connected (?:to|with)|linked (?:to|with)|related to|tied to"
        rf"|(?:your |an )?interest in|(?:based on |because of )?{_HISTORY}{_HOLDS}"
        rf"|(?:the )?reason (?:for (?:this|it) )?is"
        r"|given|after|considering|among",
    ),
    ("cause", r"because|since|given that|seeing that|considering that|on the grounds that"),
    ("similar", r"similar to|in common with"),
    ("with", r"(?:just |much )?like|similar to|as (?:are|is|do|does|with)|shared with|with"),
    ("separator", r"[;:()–—-]|so|therefore|thus|hence|but|however|and so|which is why|that is why"),
    ("comma", r","),
    ("total", r"(?:{number}) (?:events|entries|interactions)"),
    ("cited", r"(?:{number})(?= (?:of (?:your|the|these|those)|(?:{noun}|titles|items|things|other)(?: |$)))"),
    ("length", r"(?:top|first|list of) (?:{number})"),
    ("percent", r"(?:{number}) (?:%|percent|per cent)"),
)
# The last words before a value, not a title: "it is in “Garden”"; and those that may stand before either.
VALUE_BEFORE = re.compile(r"(?:^| )(?:in|is|are|to|shares?|common|same|under)(?: the| a| an| its)? $")
EITHER_BEFORE = re.compile(
    r"(?:^| )(?:both|also|from|has|have|contains?|includes?|carry|carries)(?: the| a| an| its)? $"
)
AFTER_KIND = frozenset({"the", "has", "have", "contains", "contain", "also"})
KIND_BEHIND = re.compile(r"(?: (?:is|are|the|a|as))* (?:¤|categor|genre)| (?:in|of) (?:its|their|the) title")
MORE = re.compile(r" and \w+ (?:more|others)\b")
PREDICATES = frozenset({"is", "was", "has", "shares", "belongs", "appears", "goes", "comes", "made"})
SEVERAL = frozenset({"items", "products", "things", "ones", "them", "these", "those", "both"})
# Between titles and "you bought", if that is about them.
WHICH = re.compile(
    r"|,? ?(?:(?:both|all|each) (?:of )?)?(?:which|that)"
    r"|(?:is|are|was|were) (?!that\b|because\b|what\b)(?:something|(?:\w+ of )?(?:the |those )?\w+)(?: that| which)?"
)


@cache
def marks(domain: str) -> tuple[re.Pattern[str], tuple[str, ...]]:
    """The pattern of all that carries meaning in `domain`, and the kind of its group ``m<i>``."""
    slots = {
        "{people}": people(domain),
        "{noun}": f"items?|events?|titles?|things?|{nouns(domain)}",
        "{did}": "|".join(sorted((form for form in VERB_OF if form not in SINGLE), key=len, reverse=True)),
        "{number}": r"\d+(?:[.,]\d+)*|" + "|".join(NUMBERS),
        "{list}": "your list|the list",
    }
    alternatives = []
    for index, (_, pattern) in enumerate(_MARKS):
        for slot, words in slots.items():
            pattern = pattern.replace(slot, words)
        alternatives.append(f"(?P<m{index}>{pattern})")
    return re.compile(rf"(?<!\S)(?:{'|'.join(alternatives)})(?!\S)"), tuple(kind for kind, _ in _MARKS)


@cache
def vocabulary(domain: str) -> frozenset[str]:
    """Every word of the language; a title made of nothing else can be told from it only by its quotes."""
    of_marks = re.findall(r"[^\W\d_]+", marks(domain)[0].pattern)
    return fillers(domain) | {*of_marks, *(word[:-1] for word in of_marks), *CONTRACTIONS}

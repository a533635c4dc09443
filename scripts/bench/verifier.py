"""How many planted falsehoods the verifier of reasons finds, and how many true texts it refuses.

    python scripts/bench/verifier.py [--show] [--out scripts/bench/results/verifier.json]

True texts are frames filled from evidence of five domains. A corruption changes one thing of a true text so that it
says something that the evidence does not hold. `--show` prints what the verifier got wrong, held-out texts excepted.
"""

import argparse
import json
import random
import re
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from verifier_frames import DEVELOPMENT, HELD_OUT, LATER, MORE_PLAIN, PLAIN, TRICKY, WRITTEN
from verifier_worlds import GERUNDS, Case, cases, fits, render, slots_of

from recllm.explain.evidence import Evidence
from recllm.explain.verify.complaints import complaints

SHIPPED = (
    "Because you {did} {all}.",
    "Because of {all} in your history.",
    "You asked for more of {w}.",
    "Like {all}, it is in {v}.",
    "Its title shares {words} with {a}.",
    "Without {r} you would have seen {i} instead.",
    "Without {r} it would not be in your list.",
    "{z} in your history speaks against it.",
    "Popular with {people}; not based on your history.",
    "Popular with {people}; nothing is known of your taste yet.",
    "A guess; nothing in your history stands out as the cause.",
    "A first guess; nothing is known of your interests yet.",
    "Because you {did} {all}. Like {all}, it is in {v}. Without {r} you would have seen {i} instead.",
    "Because you {did} {all}. {z} in your history speaks against it.",
)
QUOTES = (("“", "”"),) * 4 + (('"', '"'),) * 4 + (("‘", "’"), ("", ""))
PRAISE = (
    "excellent",
    "perfect",
    "amazing",
    "wonderful",
    "top-rated",
    "best-selling",
    "beautiful",
    "high-quality",
    "must-have",
    "acclaimed",
    "brilliant",
    "unique",
    "popular and loved",
    "affordable",
    "award-winning",
    "delightful",
    "reliable",
)
BOASTS = (
    "You will love it.",
    "It is the best in its class.",
    "A perfect fit for you.",
    "Everyone raves about it.",
    "Guaranteed to please.",
    "Don't miss it!",
    "It offers great value.",
    "It has high returns.",
    "Order it today.",
    "Only a few are left.",
    "It is of high quality.",
    "Critics agree.",
    "It is on sale now.",
    "You deserve it.",
)
NUMBERS = (
    "4 stars",
    "20 % off",
    "3 of your friends",
    "99 customers",
    "five times",
    "the top 3",
    "$10",
    "seven",
    "2nd",
    "97 %",
)

Corruption = Callable[[str, Case, random.Random], str | tuple[str, Evidence] | None]


def mutated(title: str, rng: random.Random) -> str:
    """A title that differs by a word, a letter or a number."""
    words = title.split()
    at = rng.randrange(len(words))
    match rng.randrange(5):
        case 0 if len(words) > 1:
            del words[at]
        case 1:
            words[at] = words[at] + "s" if not words[at].endswith("s") else words[at][:-1]
        case 2:
            words.append(str(rng.randrange(2, 9)))
        case 3:
            words[at] = rng.choice(("Red", "New", "Golden", "Advanced", "Little"))
        case _:
            words.insert(at, rng.choice(("Deluxe", "Second", "Not", "The")))
    return " ".join(words)


def title(frame: str, case: Case, rng: random.Random) -> str | None:
    """One title of the text is changed."""
    text = render(frame, case, *rng.choice(QUOTES[:9]))
    known = [name for name in case.titles() if name in text]
    if not known:
        return None
    name = rng.choice(known)
    wrong = mutated(name, rng)
    return None if wrong.casefold() in {other.casefold() for other in case.titles()} else text.replace(name, wrong)


def role(frame: str, case: Case, rng: random.Random) -> str | None:
    """Titles of the evidence, exchanged between roles."""
    slots = slots_of(frame)
    swaps = [("causes", "instead"), ("item", "instead")]
    swaps += [("causes", "item"), ("causes", "against")] if slots & {"did"} or "history" in frame else []
    used = {"causes": slots & {"a", "b", "all"}, "item": slots & {"y"}}
    swaps = [(one, other) for one, other in swaps if used[one]]
    swaps += [("instead", "item"), ("instead", "causes")] if "i" in slots else []
    swaps += [("against", "item"), ("against", "causes")] if "z" in slots else []
    swaps += [("removed", "instead"), ("removed", "item")] if "r" in slots else []
    if not swaps:
        return None
    return render(frame, case.swapped(*rng.choice(swaps)), *rng.choice(QUOTES[:9]))


def attribute(frame: str, case: Case, rng: random.Random) -> str | tuple[str, Evidence] | None:
    """A value or column that is another, or a value that only some of the named items share."""
    slots = slots_of(frame)
    if not slots & {"v", "words"}:
        return None
    if {"v", "all"} <= slots and len(case.causes) > 1 and rng.random() < 0.4:
        shared, words = case.evidence.attributes
        only = replace(shared, item_ids=(rng.choice(shared.item_ids),))
        return render(frame, case, *rng.choice(QUOTES)), replace(case.evidence, attributes=(only, words))
    return render(frame, case.with_other_value(rng, kind="kind" in slots and rng.random() < 0.3), *rng.choice(QUOTES))


def negation(frame: str, case: Case, rng: random.Random) -> str | None:
    """What the text says, denied."""
    text = render(frame, case, *rng.choice(QUOTES))
    changes = [
        (r"\b(you|You) (?=(?:recently |previously |have |also )?" + case.did + ")", r"\1 did not "),
        (r"\b(you|You) (?=(?:recently |previously |have |also )?" + case.did + ")", r"\1 never "),
        (r"\b(B|b)ecause\b", r"not because"),
        (r"\bis recommended", "is not recommended"),
        (r"\bBased on", "Not based on"),
        (r"\bspeaks against", "does not speak against"),
        (r"\bis popular", "is not popular"),
        (r"\bnot based", "based"),
        (r"\bNothing|\bnothing", "something"),
        (r"\bwould have seen|\bwould have been shown|\bwould see", "would not have seen"),
        (r"\b(is|are) in\b", r"\1 not in"),
        (r"\bshares\b", "does not share"),
        (r"\basked for", "never asked for"),
    ]
    fitting = [change for change in changes if re.search(change[0], text)]
    return re.sub(*rng.choice(fitting), text, count=1) if fitting else None


def number(frame: str, case: Case, rng: random.Random) -> str | None:
    """A wrong or invented number."""
    if slots_of(frame) & {"count", "m"}:
        return render(frame, case.with_other_numbers(rng), *rng.choice(QUOTES))
    text = render(frame, case, *rng.choice(QUOTES))
    return inserted(text, rng.choice(NUMBERS), rng)


def verb(frame: str, case: Case, rng: random.Random) -> str | None:
    """Something else that users do."""
    others = [other for other in GERUNDS if other not in (case.did, case.against_did)]
    return (
        render(frame, replace(case, did=rng.choice(others)), *rng.choice(QUOTES)) if "did" in slots_of(frame) else None
    )


def praise(frame: str, case: Case, rng: random.Random) -> str | None:
    """Praise or a promise, as a word or as a sentence."""
    text = render(frame, case, *rng.choice(QUOTES))
    return inserted(text, rng.choice(PRAISE), rng) if rng.random() < 0.5 else f"{text} {rng.choice(BOASTS)}"


def other_item(frame: str, case: Case, rng: random.Random) -> str | None:
    """Another user's item in the place of a title, or beside one."""
    if not slots_of(frame) & {"a", "b", "all", "y", "r", "i", "z"}:
        return None
    return render(frame, case.with_foreign_title(rng, slots_of(frame)), *rng.choice(QUOTES))


CORRUPTIONS: dict[str, Corruption] = {
    "title": title,
    "role": role,
    "verb": verb,
    "attribute": attribute,
    "negation": negation,
    "number": number,
    "praise": praise,
    "other item": other_item,
}


SETS = {
    "shipped sentences": SHIPPED,
    "free text": DEVELOPMENT,
    "free text, held out": HELD_OUT,
    "free text, other voices": LATER + PLAIN + MORE_PLAIN,
}
Figures = dict[str, int | float]


def inserted(text: str, words: str, rng: random.Random) -> str:
    """`words` at a place outside of quotes."""
    pieces = re.split(r"(“[^”]*”|\"[^\"]*\"|‘[^’]*’)", text)
    places = [(i, m.end()) for i in range(0, len(pieces), 2) for m in re.finditer(r" ", pieces[i])]
    at, position = rng.choice(places or [(len(pieces) - 1, len(pieces[-1]))])
    pieces[at] = f"{pieces[at][:position]}{words} {pieces[at][position:]}"
    return "".join(pieces)


def true_texts(frames: tuple[str, ...], everything: list[Case], per_frame: int, rng: random.Random) -> list:
    """(frame, case, text), each frame with several evidences that hold what it needs."""
    texts = []
    for frame in frames:
        fitting = [case for case in everything if fits(frame, case)]
        for case in rng.sample(fitting, min(per_frame, len(fitting))):
            texts.append((frame, case, render(frame, case, *(QUOTES[0] if frame in SHIPPED else rng.choice(QUOTES)))))
    return texts


def alarms(frames: tuple[str, ...], everything: list[Case], per_frame: int, rng: random.Random, show: bool) -> Figures:
    """How many true texts are refused, by text and by frame."""
    texts = true_texts(frames, everything, per_frame, rng)
    refused = [(frame, text, why) for frame, case, text in texts if (why := check(text, case.evidence, case.domain))]
    if show:
        for _, text, why in refused:
            print("REFUSED", text, why)
    rate = round(len(refused) / len(texts), 4)
    of_frames = len({frame for frame, *_ in refused})
    return {
        "texts": len(texts),
        "refused": len(refused),
        "rate": rate,
        "frames": len(frames),
        "frames_refused": of_frames,
    }


def recall(name: str, everything: list[Case], per_frame: int, rng: random.Random, show: bool) -> Figures:
    """How many falsehoods of one class are found, generated and written by hand."""
    missed, planted = [], 0
    for frame, case, text in true_texts(
        SHIPPED + DEVELOPMENT + LATER + PLAIN + MORE_PLAIN + HELD_OUT, everything, per_frame, rng
    ):
        corrupted = CORRUPTIONS[name](frame, case, rng)
        wrong, evidence = corrupted if isinstance(corrupted, tuple) else (corrupted, case.evidence)
        if wrong is not None and (wrong != text or evidence is not case.evidence):
            planted += 1
            missed += [] if check(wrong, evidence, case.domain) else [wrong]
    by_hand = TRICKY.get(name, ())
    missed_by_hand = [wrong for wrong in by_hand if not check(wrong, WRITTEN, "ecommerce")]
    if show:
        for wrong in (*missed, *missed_by_hand):
            print("MISSED", name, "|", wrong)
    figures = {"texts": planted, "missed": len(missed), "rate": round(1 - len(missed) / planted, 4)}
    return figures | {"by_hand": len(by_hand), "missed_by_hand": len(missed_by_hand)}


def check(text: str, evidence: Evidence, domain: str) -> tuple[str, ...]:
    return complaints(text, evidence, domain=domain)


def main() -> None:
    """Print the figures and save them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--show", action="store_true")
    parser.add_argument("--per-frame", type=int, default=6)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "verifier.json")
    arguments = parser.parse_args()
    rng = random.Random(0)
    everything = cases(rng)
    figures: dict[str, Figures] = {}
    for name, frames in SETS.items():
        show = arguments.show and "held out" not in name
        figures[f"false alarms, {name}"] = alarms(frames, everything, arguments.per_frame, rng, show)
    for name in CORRUPTIONS:
        figures[f"recall, {name}"] = recall(name, everything, arguments.per_frame, rng, arguments.show)
    texts = true_texts(SHIPPED + DEVELOPMENT, everything, 3, rng)
    begin = time.perf_counter()
    for _, case, text in texts:
        check(text, case.evidence, case.domain)
    figures["speed"] = {"ms_per_text": round(1000 * (time.perf_counter() - begin) / len(texts), 3)}
    for name, row in figures.items():
        print(f"{name:32}", "  ".join(f"{key} {value}" for key, value in row.items()))
    arguments.out.write_text(json.dumps(figures, indent=1) + "\n")


if __name__ == "__main__":
    main()

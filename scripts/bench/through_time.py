"""A shop through time: block by block the lists of seven ways to keep up, each asked first and told afterwards.

    python scripts/bench/through_time.py uci-online-retail --choose --model FOLDER
    python scripts/bench/through_time.py uci-online-retail --report --refit-every 4 --out results/through-time-X.json

Everything before a cut is learned; then come blocks, weeks or quarters. Known users are asked for their first liked
new items of a block, newcomers (first seen after the cut) for their newest events given the K before. NDCG@10 over the
whole catalog; 95 % intervals of a paired bootstrap over users. Settings are chosen on the first ten blocks (`--choose`)
and reported on the rest (`--report`), through which all ways have learned the first ten as well.

F   fitted at the cut and left alone: who asks brings their history, nothing is counted since
U   `update` after every block: counts and clock are new, the weights are those of the cut
D   U and the shop's drift adapter
R   fitted anew every `--refit-every` blocks, updated as U in between
E   EASE, with settings tuned at the cut, fitted anew after every block
P   popularity, likewise; `P recent` with recent events counting more
U shuffled    a control: what is told to `update` has its items permuted among the events of the block
D shuffled    a control: counts are true, and what the adapter learns is permuted like that
"""

import argparse
import json
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from streams import CHOOSING_BLOCKS, CUTS, DAY, Block, Question, Stream
from ways import WAYS, Fits, Way, ways

from recllm.evaluation.metrics import ndcg_at_10
from recllm.evaluation.scorers import rank_scores
from recllm.evaluation.statistics import paired_estimates
from recllm.ranking.rules import tie_order

PAIRS = (
    ("U", "F"),
    ("D", "U"),
    ("R", "U"),
    ("D", "R"),
    ("U", "E"),
    ("D", "E"),
    ("R", "E"),
    ("F", "E"),
    ("U", "P"),
    ("U", "P recent"),
    ("U", "U shuffled"),
    ("D", "D shuffled"),
    ("D shuffled", "U"),
)
HALF_A_YEAR = 182 * DAY


class Values:
    """NDCG@10 of every task and way, in one order.

    Attributes:
        group: Of each task.
        user: Whose it is.
        block: In which.
        ndcg: Way -> values [tasks].
        seconds: Way -> what asking and learning took.
    """

    def __init__(self, names: Sequence[str]) -> None:
        self.group: list[str] = []
        self.user: list[str] = []
        self.block: list[int] = []
        self.ndcg: dict[str, list[float]] = {name: [] for name in names}
        self.seconds = {name: {"ask": 0.0, "learn": 0.0} for name in names}

    def ask(self, made: Mapping[str, Way], questions: Sequence[Question], block: int, ties: np.ndarray) -> None:
        """Every way, the same questions. What a way puts off until it is asked counts as learning."""
        for question in questions:
            self.group += [question.group] * len(question.query)
            self.user += question.query.user_ids
            self.block += [block] * len(question.query)
        for name, way in made.items():
            begin = time.perf_counter()
            way.settle()
            settled = time.perf_counter()
            for question in questions:
                scores, arm = way.scores(question), question.arm()
                rows = rank_scores(arm, ties, lambda tasks, scores=scores: scores[tasks], length=10).rows  # type: ignore[misc]
                self.ndcg[name] += ndcg_at_10(rows, arm.asked(len(ties))).tolist()
            self.seconds[name]["learn"] += settled - begin
            self.seconds[name]["ask"] += time.perf_counter() - settled

    def learn(self, made: Mapping[str, Way], block: Block) -> None:
        """Every way is told."""
        for name, way in made.items():
            begin = time.perf_counter()
            way.learn(block)
            self.seconds[name]["learn"] += time.perf_counter() - begin

    def save(self, file: Path) -> None:
        """Every task's value, for other programs."""
        np.savez_compressed(file, group=self.group, user=self.user, block=self.block, **self.ndcg)  # type: ignore[arg-type]


def measured(stream: Stream, made: Mapping[str, Way], part: str) -> Values:
    """All blocks, those of `part` with questions."""
    values, ties = Values(list(made)), tie_order(stream.catalog.item_ids)
    before: Block | None = None
    for block in stream.blocks():
        choosing = block.number <= CHOOSING_BLOCKS
        if part == "choose" and not choosing:
            break
        if before is not None:
            values.learn(made, before)
        before = block
        if part == "all" or choosing == (part == "choose"):
            questions = stream.questions(block, choosing=part == "choose")
            values.ask(made, questions, block.number, ties)
            asked = sum(len(question.query) for question in questions)
            means = {name: f"{np.mean(found[-asked:]):.4f}" for name, found in values.ndcg.items() if asked}
            print(f"{stream.name}, block {block.number}, {asked} tasks: {means}", flush=True)
    return values


# What is said of them: groups of tasks.
POOLED = {"newcomers, K=3 and 5": ("newcomers, K=3", "newcomers, K=5")}


def groups(values: Values) -> dict[str, np.ndarray]:
    """Name -> bool [tasks]."""
    group = np.array(values.group)
    found = {name: group == name for name in dict.fromkeys(values.group)}
    found |= {name: np.isin(group, parts) for name, parts in POOLED.items()}
    return {name: mask for name, mask in found.items() if mask.any()}


def summary(values: Values, late: int) -> dict[str, Any]:
    """Per group: means of each way, by block too, and differences with their intervals; from block `late` on again."""
    block, users = np.array(values.block), np.array(values.user)
    ndcg = {name: np.array(found) for name, found in values.ndcg.items()}
    result: dict[str, Any] = {}
    for name, mask in groups(values).items():
        for label, chosen in ((name, mask), (f"{name}, half a year on", mask & (block >= late))):
            if chosen.any() and (label == name or not np.array_equal(chosen, mask)):
                result[label] = compared({way: one[chosen] for way, one in ndcg.items()}, users[chosen])
        result[name]["blocks"] = {
            str(number): {"tasks": int((at := mask & (block == number)).sum())}
            | {way: round(float(one[at].mean()), 4) for way, one in ndcg.items()}
            for number in np.unique(block[mask])
        }
    return result


def compared(ndcg: Mapping[str, np.ndarray], users: np.ndarray) -> dict[str, Any]:
    """Means and paired differences: value, low, high; in per cent as well."""
    found: dict[str, Any] = {"tasks": len(users), "users": len(np.unique(users))}
    found["NDCG@10"] = {way: round(float(values.mean()), 4) for way, values in ndcg.items()}
    for ours, theirs in PAIRS:
        if ours in ndcg and theirs in ndcg:
            difference, ratio = paired_estimates(ndcg[ours], ndcg[theirs], users)
            found[f"{ours} - {theirs}"] = [
                round(part, 4) for part in (difference.value, difference.low, difference.high)
            ]
            found[f"{ours} / {theirs}, %"] = [round(100 * part, 1) for part in (ratio.value, ratio.low, ratio.high)]
    return found


def recovered(result: Mapping[str, Any]) -> None:
    """How much of what refitting gains over updating the drift adapter gains: put beside the differences."""
    for found in result.values():
        gain, refit = found.get("D - U"), found.get("R - U")
        if gain and refit and refit[0] > 0:
            found["(D - U) / (R - U)"] = round(gain[0] / refit[0], 2)


def show(result: Mapping[str, Any]) -> None:
    """For people."""
    for name, found in result.items():
        print(f"\n{name}: {found['tasks']} tasks of {found['users']} users", found["NDCG@10"])
        for label, value in found.items():
            if " - " in label or "/" in label:
                print(f"  {label}: {value}")


def main() -> None:
    """Run, print and keep."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", choices=list(CUTS))
    part = parser.add_mutually_exclusive_group()
    part.add_argument("--choose", dest="part", action="store_const", const="choose", help="the first ten blocks")
    part.add_argument("--report", dest="part", action="store_const", const="report", help="all later ones")
    parser.set_defaults(part="all")
    parser.add_argument("--ways", default=",".join(WAYS), help="some of " + ", ".join(WAYS))
    parser.add_argument("--refit-every", type=int, default=4, metavar="BLOCKS")
    parser.add_argument("--clock", choices=("served", "asked"), default="served", help="whether ways are told the time")
    parser.add_argument("--model", type=Path, help="a folder where fitted models are kept and looked for")
    parser.add_argument("--values", type=Path, help="an .npz for the value of every task")
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    stream = Stream.read(arguments.name)
    fits = Fits(stream, arguments.model, CHOOSING_BLOCKS if arguments.part == "report" else 0)
    made = ways(stream, fits, arguments.ways.split(","), arguments.refit_every)
    for way in made.values():
        way.knows_time = arguments.clock == "asked"
    values = measured(stream, made, arguments.part)
    late = int(np.searchsorted(stream.edges, stream.cut + HALF_A_YEAR)) + 1
    result = summary(values, late)
    recovered(result)
    show(result)
    seconds = {name: {what: round(one, 1) for what, one in spent.items()} for name, spent in values.seconds.items()}
    for name, way in made.items():
        seconds[name]["learn"] = round(seconds[name]["learn"] + way.borrowed, 1)
    print("\nseconds:", seconds)
    if arguments.values is not None:
        values.save(arguments.values)
    if arguments.out is not None:
        about = {"data": stream.name, "part": arguments.part, "blocks of days": stream.days, "half a year on": late}
        kept = about | {
            "refitted every": arguments.refit_every,
            "clock": arguments.clock,
            "seconds": seconds,
            "groups": result,
        }
        arguments.out.write_text(json.dumps(kept, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()

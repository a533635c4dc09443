"""Instructions or a template for reasons, chosen by a race: the verifier decides, and no model judges another."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, final

import numpy as np
from jaxtyping import Float

from recllm.data.tasks import split_users
from recllm.errors import DataError
from recllm.explain.evidence import Evidence
from recllm.prompting.floor import complaints as floor_complaints
from recllm.prompting.generator import Generator
from recllm.prompting.template import Prompt
from recllm.tuning.lineage import lineage_of
from recllm.tuning.mutations import Floor
from recllm.tuning.propose import Budget, Probe, Proposal, propose
from recllm.tuning.race import Gain, Race, race
from recllm.tuning.slots import parts_of
from recllm.tuning.store import PromptStore
from recllm.tuning.words import Said, WordJudge, spare_sentences, word_arms

FEWEST_USERS = 4
"""Of those who choose and of those who say what the choice is worth, each."""

ROUNDS = ((1 / 3, 1.0), (2 / 3, 0.5), (1.0, 0.25))
"""Share of the users who choose that a round asks, and share of the arms that it begins with."""

PRICE = 0.01
"""What a thousand characters of instructions cost an arm: they are read for every reason."""


@final
@dataclass(frozen=True)
class WordFigures:
    """How a prompt did on some cases.

    Attributes:
        passed: Share of the texts without a complaint.
        said: How much of the evidence those name, 0 to 1.
        value: Of both, as `Said.value`.
    """

    passed: float
    said: float
    value: float

    @classmethod
    def of(cls, said: Sequence[Said]) -> "WordFigures":
        """Means over cases."""
        passed = [one for one in said if not one.wrong]
        return cls(
            len(passed) / max(len(said), 1),
            float(np.mean([one.share for one in passed])) if passed else 0.0,
            float(np.mean([one.value for one in said])) if said else 0.0,
        )

    def __str__(self) -> str:
        return f"{self.passed:.0%} pass, {self.said:.0%} of the evidence said"


@final
@dataclass(frozen=True)
class OptimizedWords:
    """What came of optimising a prompt for reasons.

    Attributes:
        arms: What was tried, the standing prompt first.
        race: How they fared with the users who choose.
        proposal: Where the arms beyond instructions × examples come from, and whether a writer drafted any.
        verdict: In a sentence.
        chosen: The prompt to use: the winner, or the standing one if nothing is surely better.
        leader: The arm that won the race, whether or not that is sure.
        report: Its gain over the standing prompt, for users who have had no part in it.
        figures: Of the standing prompt and of the leader, for those users.
        facts: Of the run: users, cases, seed, who spoke and who wrote.
        notes: What went wrong without stopping anything.
    """

    arms: tuple[Prompt, ...]
    race: Race
    proposal: Proposal
    verdict: str
    chosen: Prompt
    leader: Prompt
    report: Gain
    figures: dict[str, WordFigures]
    facts: dict[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    @property
    def kept(self) -> bool:
        """Whether the standing prompt was kept."""
        return self.chosen is self.arms[0]

    def lineage(self, arm: int) -> dict[str, Any]:
        """Where an arm comes from and what came of it, as it is written into its file."""
        facts = {**lineage_of(self.arms[arm]), "parent": self.arms[0].reference, **self.facts}
        if self.arms[arm] is not self.leader:
            return facts | {"stopped": self.race.stopped(arm) or "measured to the end, and not the leader"}
        gain = {name: round(getattr(self.report, name), 5) for name in ("value", "low", "high")}
        return facts | {"gain": gain | {"n": self.report.n}, "verdict": self.verdict}

    def written(self, store: PromptStore) -> "OptimizedWords":
        """The same with every arm that ran kept in a folder: the leader, and apart from it those that lost."""
        arms = list(self.arms)
        for number, arm in enumerate(self.arms):
            if number and self.race.laps[number]:
                arms[number] = store.add(arm, self.lineage(number), lost=arm is not self.leader)
        leader, chosen = (arms[self.arms.index(arm)] for arm in (self.leader, self.chosen))
        return replace(self, arms=tuple(arms), leader=leader, chosen=chosen)

    def __str__(self) -> str:
        """The race arm by arm, the furthest first, and the verdict."""
        lines = [f"writer {self.proposal.writer}"]
        laps = self.race.laps
        for number in sorted(
            range(len(laps)), key=lambda arm: (-len(laps[arm]), -(laps[arm][-1].value if laps[arm] else 0))
        ):
            values = " ".join(f"{lap.value:.3f}" for lap in laps[number])
            leads = self.arms[number] is self.leader
            why = self.race.stopped(number) or ("leads" if leads else f"{laps[number][-1].gain} to the leader")
            lines.append(f"{'*' if leads else ' '} {values:18} {_named(self.arms[number])}  ({why})")
        return "\n".join([*lines, "", self.verdict])


def optimize_words(
    standing: Prompt,
    cases: Sequence[Evidence],
    *,
    generator: Generator | None = None,
    writer: Generator | None = None,
    domain: str = "neutral",
    n: int = 6,
    seed: int = 0,
    budget: Budget | None = None,
    probe: Probe | None = None,
    further: Sequence[Prompt] = (),
    floor: Floor = floor_complaints,
    over: Callable[[], bool] | None = None,
) -> OptimizedWords:
    """Race prompts for reasons. Users are split into those who choose and those who say what the choice is worth.

    Args:
        standing: The prompt in use, which is kept unless another is surely better: instructions where a model speaks,
            else a template.
        cases: From `evidence_of`.
        generator: The model that speaks; None for templates.
        writer: Drafts further prompts from the verifier's complaints, if it can; None: mutations alone.
        domain: As the verifier reads.
        n: How many prompts are proposed beside instructions × examples.
        seed: Of the split, and of what is proposed.
        budget: Of the writer.
        probe: What is known of the writer already.
        further: Prompts to try as well.
        floor: Forbids candidates beyond what every revision has to keep.
        over: Whether time is up; asked between rounds. By default after ten minutes.

    Raises:
        DataError: Too few users.
        ConfigError: The generator is not trusted with free text.
    """
    judge = WordJudge(cases, generator=generator, domain=domain)
    select, report = _split(judge, seed)
    proposal = propose(
        standing,
        judge.complaints(standing, _flat(select)),
        writer,
        n=n,
        seed=seed,
        sentences=spare_sentences(),
        budget=budget,
        probe=probe,
        floor=floor,
    )
    tried = [standing] if generator is None else word_arms(standing, floor=floor)
    arms = tuple({one.digest: one for one in (*tried, *proposal.arms, *further)}.values())
    result = _race(arms, judge, select, over or _in(600.0))
    users = {"select": len(select), "report": len(report)}
    who = {"speaker": generator.name if generator else "template", "writer": proposal.writer}
    facts = {"arms": len(arms), "users": users, "cases": len(judge.cases), "seed": seed, **who}
    return _concluded(arms, result, proposal, judge, report, facts)


def _concluded(
    arms: tuple[Prompt, ...],
    result: Race,
    proposal: Proposal,
    judge: WordJudge,
    report: Sequence[Sequence[int]],
    facts: dict[str, Any],
) -> OptimizedWords:
    """What users who have had no part in it make of the leader."""
    standing, leader, rows = arms[0], arms[result.leader], _flat(report)
    gain = Gain.of(_by_user(judge, [leader], report)[0] - _by_user(judge, [standing], report)[0])
    figures = {
        name: WordFigures.of(judge.said(one, rows)) for name, one in (("standing", standing), ("leader", leader))
    }
    verdict, taken = _verdict(leader is standing, leader, gain, figures)
    notes = proposal.notes + ((f"the speaker did not answer {judge.silent} times",) if judge.silent else ())
    chosen = leader if taken else standing
    return OptimizedWords(arms, result, proposal, verdict, chosen, leader, gain, figures, facts, notes)


def _split(judge: WordJudge, seed: int) -> tuple[list[list[int]], list[list[int]]]:
    """Each user's cases, of the users who choose and of those who report."""
    rows: dict[str, list[int]] = {}
    for row, user in enumerate(judge.users):
        rows.setdefault(user, []).append(row)
    users = list(rows)
    parts = split_users(users, {"select": 0.5, "report": 0.5}, seed=seed)
    if min(map(len, parts.values())) < FEWEST_USERS:
        raise DataError(
            f"there is something to say to {len(users)} users, and {2 * FEWEST_USERS} are needed to choose a prompt "
            "and to say what it is worth; give evidence of more users"
        )
    return [rows[users[place]] for place in parts["select"]], [rows[users[place]] for place in parts["report"]]


def _flat(users: Sequence[Sequence[int]]) -> list[int]:
    return [row for rows in users for row in rows]


def _race(arms: Sequence[Prompt], judge: WordJudge, users: Sequence[Sequence[int]], over: Callable[[], bool]) -> Race:
    def measure(running: Sequence[int], number: int) -> Float[np.ndarray, "arms users"]:
        asked = users[: max(FEWEST_USERS, round(ROUNDS[number][0] * len(users)))]
        return _by_user(judge, [arms[arm] for arm in running], asked)

    widths = [max(2, round(share * len(arms))) for _, share in ROUNDS]
    costs = [PRICE * len(parts_of(arm)[1]) / 1000 for arm in arms]
    return race(len(arms), measure, widths=widths, costs=costs, over=over)


def _by_user(
    judge: WordJudge, prompts: Sequence[Prompt], users: Sequence[Sequence[int]]
) -> Float[np.ndarray, "prompts users"]:
    """Mean value over each user's cases: cases of one user are not independent."""
    return np.stack([judge.values(prompts, rows).mean(axis=1) for rows in users], axis=1)


def _verdict(same: bool, leader: Prompt, gain: Gain, figures: dict[str, WordFigures]) -> tuple[str, bool]:
    if same:
        return f"kept the standing prompt: none of the others is better ({figures['standing']})", False
    told = f"{gain} for {gain.n} users who had no part in it; {figures['leader']}, before {figures['standing']}"
    if gain.low <= 0:
        return f"kept the standing prompt: '{_named(leader)}' led, but {told}", False
    return f"chose '{_named(leader)}': {told}", True


def _named(prompt: Prompt) -> str:
    """Version, and what makes it another than its parent."""
    told = lineage_of(prompt)
    return f"{prompt.reference}: {told['change']}" if "change" in told else f"{prompt.reference}, the standing prompt"


def _in(seconds: float) -> Callable[[], bool]:
    until = time.monotonic() + seconds
    return lambda: time.monotonic() > until

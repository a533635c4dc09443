"""The item prompt of a catalog, chosen by a race: recall and NDCG of held-out users and items decide, no model judges.

No prompt wins on every catalog (90 prompts by 5 data sets, arXiv 2412.14454), so each is tried where it shall be used.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, final

import numpy as np
from jaxtyping import Float

from recllm.data.catalog import Catalog
from recllm.data.interactions import Interactions
from recllm.encoders.finetuning.figures import TextFigures
from recllm.encoders.text import TextEncoder, TextEncoderConfig
from recllm.options import TrainOptions
from recllm.prompting.template import Prompt, load_prompt
from recllm.tuning.arms import MOST_ARMS, item_layouts
from recllm.tuning.compose import Composed, compose, tokens_of
from recllm.tuning.judge import ItemJudge, Scope, shares
from recllm.tuning.layout import Layout
from recllm.tuning.race import Gain, Race, race
from recllm.tuning.store import PromptStore

FIRST_TOKENS, LAST_TOKENS = 500_000, 700_000
"""Tokens that are read in the first round, by all arms together, and in the last one: minutes on two cores."""

FEWEST_ITEMS = 300
"""Of the first round."""

WHOLE = 0.6
"""If the first round could read this share of the catalog, one round reads all of it."""

FINALISTS = (2, 8)
"""At least and at most so many go on to the whole catalog."""

TOKEN_PRICE = 0.005
"""What twice the tokens of the standing prompt cost an arm, as a share of that prompt's value."""

COUNTED = 100
"""Items whose tokens are counted for the price."""


@final
@dataclass(frozen=True)
class Arm:
    """What is tried.

    Attributes:
        prompt: A checked prompt.
        layout: What it reads, in a line; of the standing prompt, its name.
        tokens: Mean over items, as far as the encoder reads.
    """

    prompt: Prompt
    layout: str
    tokens: float


@final
@dataclass
class Optimized:
    """What came of optimising an item prompt.

    Attributes:
        arms: The standing prompt first.
        race: How they fared.
        verdict: In a sentence.
        chosen: The prompt to use: the winner, or the standing one if nothing is surely better.
        leader: The arm that won the race, whether or not that is sure.
        select: Its gain over the standing prompt for the users who chose, less what its tokens cost.
        report: Its gain for users who have had no part in it, tokens left out.
        figures: Text alone, means over report users: of the standing prompt and of the leader.
        over_mean: The leader's gain over the mean arm of the first round, for the report users there.
        facts: Of the run: users, items, seed, what was read with which model.
    """

    arms: list[Arm]
    race: Race
    verdict: str
    chosen: Arm
    leader: Arm
    select: Gain
    report: Gain
    figures: dict[str, dict[str, float]]
    over_mean: Gain
    facts: dict[str, Any]

    @property
    def kept(self) -> bool:
        """Whether the standing prompt was kept."""
        return self.chosen is self.arms[0]

    def lineage(self, arm: int) -> dict[str, Any]:
        """Where an arm comes from and what came of it, as it is written into its file."""
        won = self.arms[arm] is self.leader
        facts = {
            "parent": self.arms[0].prompt.reference,
            "made_by": "optimize",
            "layout": self.arms[arm].layout,
            **self.facts,
            "tokens": round(self.arms[arm].tokens, 1),
        }
        if won:
            gains = {"gain": _numbers(self.report), "select_gain": _numbers(self.select)}
            return facts | gains | {"verdict": self.verdict}
        return facts | {"stopped": self.race.stopped(arm) or "measured to the end, and not the leader"}

    def written(self, store: PromptStore) -> "Optimized":
        """The same with every arm kept in a folder: the leader, and apart from it those that lost."""
        arms = list(self.arms)
        for number, arm in enumerate(self.arms):
            if number and self.race.laps[number]:
                kept = store.add(arm.prompt, self.lineage(number), lost=arm is not self.leader)
                arms[number] = replace(arm, prompt=kept)
        leader, chosen = (arms[self.arms.index(arm)] for arm in (self.leader, self.chosen))
        return replace(self, arms=arms, leader=leader, chosen=chosen)

    def to_dict(self) -> dict[str, Any]:
        """Plain data: verdict, gains, and how every arm fared."""
        told = []
        for number in _by_value(self.race, len(self.arms)):
            arm, laps = self.arms[number], self.race.laps[number]
            rounds = [{"value": lap.value, "to_leader": _numbers(lap.gain)} for lap in laps]
            why = self.race.stopped(number)
            told.append(
                {
                    "prompt": arm.prompt.name,
                    "layout": arm.layout,
                    "tokens": arm.tokens,
                    "rounds": rounds,
                    "stopped": why,
                }
            )
        return {
            "verdict": self.verdict,
            "kept": self.kept,
            "standing": self.arms[0].prompt.reference,
            "leader": self.leader.prompt.name,
            "leader_layout": self.leader.layout,
            "chosen": self.chosen.prompt.name,
            "gain": _numbers(self.report),
            "select_gain": _numbers(self.select),
            "figures": self.figures,
            "facts": self.facts,
            "arms": told,
        }

    def __str__(self) -> str:
        """The race arm by arm, and the verdict."""
        lines = []
        for number in _by_value(self.race, len(self.arms)):
            arm, laps = self.arms[number], self.race.laps[number]
            values = " ".join(f"{lap.value:.3f}" for lap in laps)
            mark = "*" if arm is self.leader else " "
            why = self.race.stopped(number) or ("leads" if arm is self.leader else f"{laps[-1].gain} to the leader")
            lines.append(f"{mark} {values:12} {arm.tokens:4.0f} tokens  {arm.layout}  ({why})")
        return "\n".join([*lines, "", self.verdict])


def _by_value(race_: Race, arms: int) -> list[int]:
    """Positions of the arms, the furthest and best first."""
    return sorted(range(arms), key=lambda arm: (-len(race_.laps[arm]), -race_.laps[arm][-1].value))


def optimize_items(
    catalog: Catalog,
    events: Interactions,
    *,
    config: TextEncoderConfig | None = None,
    standing: Prompt | None = None,
    layouts: Sequence[Layout] | None = None,
    further: Sequence[Prompt] = (),
    most: int = MOST_ARMS,
    liked_from: float | None = None,
    options: TrainOptions | None = None,
) -> Optimized:
    """Race item prompts for a catalog.

    Args:
        catalog: The items.
        events: Of users who are split into those who choose and those who say what the choice is worth.
        config: The text encoder.
        standing: The prompt in use, which is kept unless another is surely better; None: the shipped one of the
            catalog's domain.
        layouts: What is tried beside it; None: those that suit the catalog's columns.
        further: Prompts to be tried as well, such as those that a model wrote.
        most: Arms at most.
        liked_from: As in the recommender's settings.
        options: Seed, budget, device, progress.

    Raises:
        DataError: Too few users can be asked.
    """
    config, options = config or TextEncoderConfig(), options or TrainOptions()
    composed = compose(catalog, config)
    standing = standing or load_prompt(f"item.{composed.domain.name}")
    run = _Run(catalog, events, composed, config, options, liked_from)
    tried = item_layouts(composed, most) if layouts is None else list(layouts)
    arms = run.arms(standing, tried, further, most)
    return run.run(arms)


@dataclass
class _Run:
    """One race under way."""

    catalog: Catalog
    events: Interactions
    composed: Composed
    config: TextEncoderConfig
    options: TrainOptions
    liked_from: float | None
    reports: list[dict[int, TextFigures]] = field(default_factory=list)
    selects: list[dict[int, TextFigures]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.begin = self.options.clock()
        encoder = TextEncoder(self.config, prompt=self.composed.prompt)
        seed, device = self.options.seed, str(self.options.torch_device())
        self.judge = ItemJudge(self.catalog, self.events, encoder, seed=seed, liked_from=self.liked_from, device=device)

    def arms(self, standing: Prompt, layouts: Sequence[Layout], further: Sequence[Prompt], most: int) -> list[Arm]:
        """The standing prompt and what differs from it in what it says of some items."""
        rows = np.linspace(0, len(self.catalog) - 1, min(COUNTED, len(self.catalog))).astype(int)
        count = tokens_of(self.config)
        found: list[Arm] = []
        said: set[tuple[Any, ...]] = set()
        named = [(standing, f"{standing.reference}, the standing prompt")]
        named += [(prompt, prompt.reference) for prompt in further]
        for layout in layouts:
            prompt = layout.prompt("item.arm", self.composed.domain.name, f"An item, for a sentence encoder: {layout}.")
            named.append((prompt, str(layout)))
        for prompt, words in named:
            texts = self.judge.texts(prompt, rows)
            length = min(prompt.max_tokens or self.config.max_tokens, self.config.max_tokens)
            lengths = np.array(count(texts))
            key = (length if (lengths > length).any() else 0, *texts)
            if key not in said and len(found) < most:
                said.add(key)
                found.append(Arm(prompt, words, float(np.minimum(lengths, length).mean())))
        return found

    def run(self, arms: list[Arm]) -> Optimized:
        scopes, widths = self._rounds(arms)
        asked = sum(min(width, len(arms)) for width in widths)

        def measure(running: Sequence[int], number: int) -> Float[np.ndarray, "arms users"]:
            self.reports.append({})
            self.selects.append({})
            for arm in running:
                done = sum(map(len, self.selects))
                self._say(done, max(asked, done + 1), arms[arm].layout)
                figures = self.judge.figures(arms[arm].prompt, scopes[number])
                self.selects[number][arm], self.reports[number][arm] = figures["select"], figures["report"]
            found = self.selects[number]
            return np.stack([shares(found[arm], found[0]) for arm in running])

        prices = TOKEN_PRICE * np.log2([max(arm.tokens, 1.0) / max(arms[0].tokens, 1.0) for arm in arms])
        result = race(len(arms), measure, widths=widths, costs=prices, over=self._over)
        self._say(1, 1, "")
        return self._verdict(arms, result, scopes, prices)

    def _rounds(self, arms: list[Arm]) -> tuple[list[Scope], list[int]]:
        """One round over the whole catalog if it is small enough, else a part of it first."""
        items, tokens = len(self.catalog), [arm.tokens for arm in arms]
        part = max(FEWEST_ITEMS, int(FIRST_TOKENS / max(sum(tokens), 1.0)))
        if part >= WHOLE * items:
            return [self.judge.scope()], [len(arms)]
        finalists = int(np.clip(LAST_TOKENS / (max(float(np.mean(tokens)), 1.0) * items), *FINALISTS))
        return [self.judge.scope(part), self.judge.scope()], [len(arms), finalists]

    def _verdict(self, arms: list[Arm], result: Race, scopes: list[Scope], prices: np.ndarray) -> Optimized:
        last, leader = len(self.selects) - 1, result.leader
        selects, reports = self.selects[last], self.reports[last]
        cost = prices[leader] - prices[0]
        select = Gain.of(shares(selects[leader], selects[0]) - shares(selects[0], selects[0]) - cost)
        report = Gain.of(shares(reports[leader], reports[0]) - shares(reports[0], reports[0]))
        first = self.reports[0]
        mean = np.mean([shares(figures, first[0]) for figures in first.values()], axis=0)
        facts = {
            "arms": len(arms),
            "users": {"select": select.n, "report": report.n},
            "items": [len(scope.rows) for scope in scopes[: last + 1]],
            "seed": self.options.seed,
            "catalog": self.catalog.fingerprint[:16],
            "model": self.judge.encoder.backbone.digest()[:16],
        }
        words, taken = _words(arms[leader], leader, select, report, result.cut)
        figures = {"standing": reports[0].means(), "leader": reports[leader].means()}
        over_mean = Gain.of(shares(first[leader], first[0]) - mean)
        chosen = arms[leader if taken else 0]
        return Optimized(arms, result, words, chosen, arms[leader], select, report, figures, over_mean, facts)

    def _over(self) -> bool:
        budget = self.options.budget_seconds()
        return budget is not None and self.options.clock() - self.begin > 0.5 * budget

    def _say(self, done: int, total: int, note: str) -> None:
        if self.options.progress is not None:
            self.options.progress("race prompts", done, total, note)


def _words(leader: Arm, number: int, select: Gain, report: Gain, cut: bool) -> tuple[str, bool]:
    """The verdict, and whether the leader is to be used."""
    short = " Time was up before the whole catalog was read." if cut else ""
    if number == 0:
        return f"kept the standing prompt: none of the others is better for the users who choose.{short}", False
    ahead = f"'{leader.layout}' is ahead by {select} for the users who choose"
    if select.low <= 0:
        return f"kept the standing prompt: {ahead}, which may be chance.{short}", False
    told = f"{report} for {report.n} users who had no part in it"
    if report.low <= 0:  # the best of many is ahead of itself for those who chose it
        return f"kept the standing prompt: {ahead}, but {told}.{short}", False
    return f"chose '{leader.layout}': {told} ({select} for those who chose).{short}", True


def _numbers(gain: Gain) -> dict[str, float | int]:
    return {"value": round(gain.value, 5), "low": round(gain.low, 5), "high": round(gain.high, 5), "n": gain.n}

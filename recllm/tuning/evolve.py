"""GEPA as another source of drafts: prompts evolve by what the verifier says of their texts, case by case.

GEPA (Agrawal et al., arXiv 2507.19457; the package `gepa`) keeps a front of prompts that are each best in some case,
and has them drafted anew from what went wrong in a few cases. Who speaks, writes, checks and judges is as everywhere
here; nothing is kept on disk, and what comes of it are arms for a race.
"""

from collections.abc import Mapping, Sequence
from typing import Any, final

from recllm.errors import require
from recllm.prompting.generator import Generator
from recllm.prompting.template import Prompt
from recllm.tuning.mutations import revised
from recllm.tuning.propose import Probe, Proposal, probe_writer, propose
from recllm.tuning.slots import gained, parts_of
from recllm.tuning.words import WordJudge

_BODY = "body"


def evolve_words(
    standing: Prompt,
    judge: WordJudge,
    rows: Sequence[int],
    writer: Generator,
    *,
    texts: int = 200,
    seed: int = 0,
    probe: Probe | None = None,
) -> Proposal:
    """Prompts to try instead of `standing`; none if the writer does not pass its probe.

    Args:
        standing: Where evolution begins.
        judge: Says what a prompt's text is worth in a case.
        rows: Cases of users who choose.
        writer: Drafts prompts.
        texts: About how many texts are made and judged.
        seed: Of what GEPA draws.
        probe: What is known of the writer already.

    Raises:
        MissingExtraError: The package `gepa` is not installed.
    """
    gepa = require("gepa", extra="gepa")
    found = probe_writer(writer) if probe is None else probe
    if not found.on:
        return Proposal((), str(found), found.notes)
    words, cases = _Words(standing, judge, writer), list(rows)
    start, limits = {_BODY: parts_of(standing)[1]}, {"max_metric_calls": texts, "raise_on_exception": False}
    evolved = gepa.optimize(start, cases, cases, adapter=words, logger=words, seed=seed, **limits)
    prompts = (words.prompt(candidate) for candidate in evolved.candidates)
    arms = {one.digest: one for one in prompts if one is not None and one.digest != standing.digest}
    return Proposal(tuple(arms.values()), str(found), tuple(words.notes), len(arms))


@final
class _Words:
    """What GEPA asks of a system: run it, tell what went wrong, and write it anew."""

    def __init__(self, standing: Prompt, judge: WordJudge, writer: Generator) -> None:
        self._standing, self._judge, self._writer, self.notes = standing, judge, writer, list[str]()

    def log(self, message: str) -> None:
        """GEPA's own words are not shown."""

    def prompt(self, candidate: Mapping[str, str]) -> Prompt | None:
        """A candidate as a checked prompt; None if something is wrong with it."""
        front, body = parts_of(self._standing)
        if candidate[_BODY] == body:
            return self._standing
        made, wrong = revised(self._standing, front, candidate[_BODY], "evolved", "by GEPA")
        return None if made is None or wrong or gained(made, self._standing) else made

    def evaluate(self, batch: list[int], candidate: dict[str, str], capture_traces: bool = False) -> Any:
        """Texts, what they are worth, and what is wrong with them."""
        prompt, batches = self.prompt(candidate), require("gepa", extra="gepa").EvaluationBatch
        if prompt is None:
            return batches([""] * len(batch), [0.0] * len(batch), [[] for _ in batch])
        said = self._judge.said(prompt, batch)
        return batches([one.text for one in said], [one.value for one in said], [list(one.wrong) for one in said])

    def make_reflective_dataset(self, _: Any, eval_batch: Any, __: Any) -> dict[str, list[dict[str, Any]]]:
        """The verifier's complaints."""
        return {_BODY: [{"complaints": wrong} for wrong in eval_batch.trajectories]}

    def propose_new_texts(self, candidate: dict[str, str], reflective_dataset: Any, _: Any) -> dict[str, str]:
        """A draft, or a mutation where the draft is refused; the same text if there is neither."""
        told = [one for record in reflective_dataset[_BODY] for one in record["complaints"]]
        parent, turn = self.prompt(candidate) or self._standing, len(self.notes)
        made = propose(parent, told, self._writer, n=1, seed=turn, probe=Probe(10, 10))
        self.notes.append(f"turn {turn + 1}: {'; '.join(made.notes) or 'drafted'}")
        return {_BODY: parts_of(made.arms[0])[1] if made.arms else candidate[_BODY]}

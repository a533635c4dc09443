"""The stage that learns from the reserved users, whom base and channels have not seen: how to weigh the channels."""

import numpy as np
import torch

from recllm.counts.matrices import binary_matrix
from recllm.data.histories import Histories
from recllm.encoders.history import encode_users
from recllm.encoders.validation import evaluating
from recllm.encoders.windows import Predictions
from recllm.model.fit.run import FitRun
from recllm.model.model import Model
from recllm.ranking.fit import fit_head
from recllm.ranking.objective import RankingTasks
from recllm.retrieval.profiles import Space

HEAD_SHARE = 0.5
"""Part of the time that is left when the head begins."""

DRAWING_SHARE = 0.6
"""Part of the head's and the adapters' time at most for asking the channels about windows of users."""

FEWEST_TO_LEARN_FROM = 5
"""Reserved users who came back, below which the head stays a plain sum of the channels."""

MOST_ROUNDS = 60
"""Windows of one reserved user at most: the same events again and again teach nothing new."""

NOTHING_KNOWN = 0.1
"""Share of the head's tasks in which the user's events are hidden: newcomers are ranked for, too."""


def weigh_channels(run: FitRun, model: Model, seconds: float | None = None) -> None:
    """Fit the head of `model` in place; with too few to learn from it stays a plain sum."""
    if len(run.windows()) < FEWEST_TO_LEARN_FROM:
        run.report.notes.append(
            f"the ranking is a plain sum of its channels: {len(run.windows())} of the {len(run.reserved)} users "
            f"kept for the head came back at a later moment, and {FEWEST_TO_LEARN_FROM} are needed to weigh them."
        )
        return
    config, begin = run.config.ranking, run.options.clock()
    _, tasks = ranking_tasks(
        run,
        model,
        config.tasks,
        nothing_known=NOTHING_KNOWN,
        masked_items=config.masked_items,
        seconds=None if seconds is None else DRAWING_SHARE * seconds,
    )
    left = None if seconds is None else max(seconds - (run.options.clock() - begin), seconds / 4)
    fit_head(model.head, tasks, run.options.seed, seconds=left, clock=run.options.clock)
    run.say("weigh the channels", 1, 1)


def ranking_tasks(
    run: FitRun, model: Model, wanted: int, *, nothing_known: float, masked_items: float, seconds: float | None = None
) -> tuple[Histories, RankingTasks]:
    """Windows of the reserved users and what came next, the same number of each user.

    Args:
        run: The fit.
        model: Its base and channels.
        wanted: Tasks in all, roughly.
        nothing_known: Share of windows whose events are hidden.
        masked_items: Share of items that look new.
        seconds: After which no further round begins.
    """
    sampler, config = run.windows(), run.config.ranking
    rounds = min(max(config.rounds, -(-wanted // len(sampler))), MOST_ROUNDS)
    rng = np.random.default_rng(run.options.seed + 2)
    histories, tasks, begin = [], [], run.options.clock()
    for round_ in range(rounds):
        if round_ and seconds is not None and run.options.clock() - begin >= seconds:
            break
        run.say("weigh the channels", round_, rounds + 1)
        masked = torch.from_numpy(rng.random(len(run.catalog)) < masked_items)
        generator = torch.Generator().manual_seed(int(rng.integers(2**31)))
        with torch.no_grad():
            space = Space(model.items(hidden_delta=masked))
        for start in range(0, len(sampler), model.batch_users):
            users = np.arange(start, min(start + model.batch_users, len(sampler)))
            windows, predictions = sampler.draw_supports(users, rng)
            hidden = rng.random(len(windows)) < nothing_known
            windows = windows.drop_events(~hidden[windows.user_rows])
            histories.append(windows)
            tasks.append(_asked(run, model, windows, predictions, space, masked, users, generator))
    # In one piece: small arrays that are kept among large ones that are not would hold on to the memory of both.
    return Histories.concatenate(histories), RankingTasks.concatenate(tasks)


def _asked(
    run: FitRun,
    model: Model,
    windows: Histories,
    predictions: Predictions,
    space: Space,
    masked: torch.Tensor,
    users: np.ndarray,
    generator: torch.Generator,
) -> RankingTasks:
    """A batch of windows as tasks; masked items have no events, as far as the channels can tell."""
    with evaluating(model.encoder):
        vectors = encode_users(model.encoder, windows, space.vectors)
    # What is popular now counts as it did at the time; at serving, now is when the log ends.
    scores = model.channels.scores(windows, vectors, space, predictions.asked_at)
    for place, channel in enumerate(model.channels.fitted):
        if not channel.knows_new_items:
            scores[:, place] = torch.where(masked, scores[:, place].amin(dim=1, keepdim=True), scores[:, place])
    target = torch.zeros(len(windows), len(run.catalog))
    target[predictions.user[predictions.target_of], predictions.target_item] = predictions.target_weight
    eligible = torch.from_numpy(binary_matrix(windows, len(run.catalog), liked_only=False).toarray() == 0)
    known = torch.from_numpy(windows.lengths.astype(np.float32))
    size = run.config.ranking.listed
    return RankingTasks.listing(scores, known, eligible, target, torch.from_numpy(users), size, generator)

"""The stage that learns how to weigh the channels: from the shop prior, and from users whom they have not seen."""

from copy import copy
from dataclasses import replace

import numpy as np
import torch

from recllm.adaptation.own import OwnStep
from recllm.adaptation.statistics import HISTORY, without_histories
from recllm.counts.matrices import binary_matrix
from recllm.data.histories import Histories
from recllm.encoders.history import encode_users
from recllm.encoders.validation import evaluating, few_shot
from recllm.encoders.windows import Predictions, WindowSampler
from recllm.model.fit.folds import PARTS, Folds, Scored
from recllm.model.fit.run import FitRun
from recllm.model.model import JUDGED, Model
from recllm.ranking.fit import fit_head
from recllm.ranking.head import RankingHead
from recllm.ranking.objective import RankingTasks
from recllm.retrieval.scoring import Channels
from recllm.retrieval.space import Space

HEAD_SHARE = 0.5
"""Part of the time that is left when the head begins."""

DRAWING_SHARE = 0.6
"""Part of the head's and the adapters' time at most for asking the channels about windows of users."""

FEWEST_TO_LEARN_FROM = 5
"""Users who came back, below which the head stays what it was: the prior's, or a plain sum of the channels."""

MOST_ROUNDS = 60
"""Windows of one reserved user at most: the same events again and again teach nothing new."""

NOTHING_KNOWN = 0.1
"""Share of the head's tasks in which the user's events are hidden: newcomers are ranked for, too."""


def weigh_channels(run: FitRun, model: Model, folds: Folds | None, seconds: float | None = None) -> None:
    """Give `model` its head: by the shop prior and the shop's own users, or without a prior by these alone."""
    if run.prior is None:
        _fit_alone(run, model, seconds)
        return
    names, config = model.channels.names, run.config.ranking
    shop = run.statistics(names)
    start = run.prior.head(shop, names, config)
    if folds is not None:
        _asked_in_parts(run, model, folds, start, run.prior.head(without_histories(shop), names, config), seconds)
    else:
        _asked_reserved(run, model, start, seconds)
    run.report.chosen["ranking"] = str(model.own)


def _asked_in_parts(
    run: FitRun, model: Model, folds: Folds, start: RankingHead, unread: RankingHead, seconds: float | None
) -> None:
    """All users are asked, part by part; what the shop adds to the prior is asked of those it was not learned from.

    Args:
        run: The fit.
        model: Gets its head.
        folds: The parts.
        start: The head that the prior makes.
        unread: And where the transformer says nothing.
        seconds: For all of it; None: as many as it takes.
    """
    begin, drawing = run.options.clock(), None if seconds is None else DRAWING_SHARE * seconds / PARTS
    tasks = [_of_part(run, model, asked, channels, drawing) for asked, channels in folds.parts]
    if sum(len(part.users.unique()) for part in tasks) < FEWEST_TO_LEARN_FROM:
        run.report.notes.append("the ranking is the shop prior's: too few users came back to learn more from them.")
        model.take(OwnStep.none(start.channels), start)
        return
    together = RankingTasks.of_other_users
    each = None if seconds is None else _left(run, begin, seconds) / (PARTS + 1)
    parts = [_learned(run, unread, together(tasks[:part] + tasks[part + 1 :]), each)[1] for part in range(len(tasks))]
    own, _, alone = _learned(run, unread, together(tasks), each)
    before = folds.ndcg([_by(model, unread)] * len(tasks), model.batch_users)
    after = folds.ndcg([_by(model, head) for head in parts], model.batch_users)
    if HISTORY in model.channels.names:
        _believe_as(alone, start, model.channels.names.index(HISTORY))
    model.take(_told(run, own, before, after), start, alone)


def _learned(
    run: FitRun, start: RankingHead, tasks: RankingTasks, seconds: float | None
) -> tuple[OwnStep, RankingHead, RankingHead]:
    """The own step, with the share of a head that is fitted to the shop alone; both mixed; and that head."""
    own, alone = OwnStep.learn(start, tasks), RankingHead(start.channels, run.config.ranking)
    fit_head(alone, tasks, run.options.seed, seconds=seconds, clock=run.options.clock)
    own = own.beside()
    return own, own.mixed(start, alone), alone


def _believe_as(head: RankingHead, other: RankingHead, channel: int) -> None:
    """Of a channel that said nothing while `head` was fitted, it thinks what the other head does."""
    with torch.no_grad():
        head.hidden.weight[:, channel] = 0.0
        head.weights.weight[channel], head.weights.bias[channel] = (
            other.weights.weight[channel],
            other.weights.bias[channel],
        )


def _left(run: FitRun, begin: float, seconds: float) -> float:
    """Of the seconds that a stage was given; however long drawing took, some are left to learn in."""
    return max(seconds - (run.options.clock() - begin), seconds / 4)


def _of_part(run: FitRun, model: Model, asked: Histories, channels: Channels, seconds: float | None) -> RankingTasks:
    """Tasks of one part of the users, who were not counted in these channels."""
    config, sampler, model = run.config.ranking, run.windows(asked), model.with_channels(channels)
    if not len(sampler):
        return RankingTasks.none(len(channels.names), min(config.listed, len(run.catalog)))
    wanted, masked = config.tasks // PARTS, config.masked_items
    return ranking_tasks(
        run, model, sampler, wanted, nothing_known=NOTHING_KNOWN, masked_items=masked, seconds=seconds, reads=False
    )[1]


def _by(model: Model, head: RankingHead) -> Scored:
    """Scores of a head over channels that the transformer has no part in."""
    size = model.retrieval.per_channel + JUDGED

    def scores(channels: Channels, histories: Histories) -> torch.Tensor:
        unread = torch.zeros(len(histories), model.vectors.shape[1])
        known = torch.from_numpy(histories.lengths.astype(np.float32))
        with torch.no_grad():
            profiles = channels.profiles(histories, unread, model.space)
            return channels.best_scores(profiles, histories, size, lambda said, _: head(said, known))

    return scores


def _told(run: FitRun, own: OwnStep, before: np.ndarray, after: np.ndarray) -> OwnStep:
    """The step, with what it is worth to users whom it was not learned from: NDCG@10 of the prior, and with it."""
    if len(before):
        run.report.figures |= {"shop prior": float(before.mean()), "shop prior and own users": float(after.mean())}
    if len(before) > 1 and before.mean() > 0:
        gain = (after - before) / before.mean()
        own = replace(own, gain=float(gain.mean()), error=float(gain.std(ddof=1) / len(gain) ** 0.5))
    return own


def _asked_reserved(run: FitRun, model: Model, start: RankingHead, seconds: float | None) -> None:
    """The reserved users are asked; others say what the shop adds to the prior."""
    tasks = _fit_alone(run, model, seconds)
    if tasks is None:
        model.take(OwnStep.none(start.channels), start)
        return
    alone = model.head
    own = OwnStep.learn(start, tasks).beside()
    asked, of, values = run.validation, copy(model), []
    for head in (start, own.mixed(start, alone)):
        of.served = head
        found = few_shot(of.best_scores, asked, batch=model.batch_users)
        values.append(np.mean(list(found.values()), axis=0))
    model.take(_told(run, own, *values), start, alone)


def _fit_alone(run: FitRun, model: Model, seconds: float | None) -> RankingTasks | None:
    """Fit the head of `model` in place to the reserved users, and give their tasks; with too few it stays as it is."""
    if len(run.windows()) < FEWEST_TO_LEARN_FROM:
        made = "a plain sum of its channels" if run.prior is None else "the shop prior's"
        run.report.notes.append(
            f"the ranking is {made}: {len(run.windows())} of the {len(run.reserved)} users kept for the head came back "
            f"at a later moment, and {FEWEST_TO_LEARN_FROM} are needed to weigh its channels."
        )
        return None
    config, begin = run.config.ranking, run.options.clock()
    _, tasks = ranking_tasks(
        run,
        model,
        run.windows(),
        config.tasks,
        nothing_known=NOTHING_KNOWN,
        masked_items=config.masked_items,
        seconds=None if seconds is None else DRAWING_SHARE * seconds,
    )
    left = None if seconds is None else _left(run, begin, seconds)
    fit_head(model.head, tasks, run.options.seed, seconds=left, clock=run.options.clock)
    run.say("weigh the channels", 1, 1)
    return tasks


def ranking_tasks(
    run: FitRun,
    model: Model,
    sampler: WindowSampler,
    wanted: int,
    *,
    nothing_known: float,
    masked_items: float,
    seconds: float | None,
    reads: bool = True,
) -> tuple[Histories, RankingTasks]:
    """Windows of users and what came next, the same number of each user.

    Args:
        run: The fit.
        model: Its base and channels.
        sampler: The users' windows.
        wanted: Tasks in all, roughly.
        nothing_known: Share of windows whose events are hidden.
        masked_items: Share of items that look new.
        seconds: After which no further round begins.
        reads: Whether the transformer reads them; it says nothing else, as where it was trained on these users.
    """
    config = run.config.ranking
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
            tasks.append(_asked(run, model, windows, predictions, space, masked, users, generator, reads))
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
    reads: bool,
) -> RankingTasks:
    """A batch of windows as tasks; masked items have no events, as far as the channels can tell."""
    vectors = torch.zeros(len(windows), space.vectors.shape[1])
    if reads:
        with evaluating(model.encoder):
            vectors = encode_users(model.encoder, windows, space.vectors)
    # What is popular now counts as it did at the time; at serving, now is when the log ends.
    profiles, fitted = model.channels.profiles(windows, vectors, space, predictions.asked_at), model.channels.fitted

    def said(rows: torch.Tensor) -> torch.Tensor:
        scores, new = model.channels.scores_of(profiles, rows), masked[rows]
        for place, channel in enumerate(fitted):
            if not channel.knows_new_items:
                scores[:, place] = torch.where(new, profiles[place].standardised_least(), scores[:, place])
        return scores

    target = torch.zeros(len(windows), len(run.catalog))
    target[predictions.user[predictions.target_of], predictions.target_item] = predictions.target_weight
    eligible = torch.from_numpy(binary_matrix(windows, len(run.catalog), liked_only=False).toarray() == 0)
    known = torch.from_numpy(windows.lengths.astype(np.float32))
    size = run.config.ranking.listed
    return RankingTasks.listing(said, known, eligible, target, torch.from_numpy(users), size, generator)

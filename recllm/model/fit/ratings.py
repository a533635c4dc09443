"""The stage that learns what ratings will be."""

from recllm.errors import DataError
from recllm.model.fit.run import FitRun
from recllm.model.model import Model
from recllm.ranking.ratings.ratings import Ratings


def check_ratings(run: FitRun) -> None:
    """Refuse to learn ratings where there are none, before anything else is learned.

    Raises:
        DataError: No event has a rating.
    """
    if run.config.objective == "rating" and not run.histories.rated.n_events:
        raise DataError(
            f'objective="rating" learns ratings, and none of the {run.histories.n_events:,} events has one; give the '
            'log a column "rating", or write objective="ranking".'
        )


def fit_ratings(run: FitRun, model: Model) -> None:
    """What all training users have rated; each part of them says how what the others have rated is to be weighed."""

    def progress(done: float, total: float) -> None:
        run.say("learn the ratings", done, total)

    text = model.channels.text.numpy()
    model.ratings = Ratings.learn(run.histories, text, run.config.rating, run.options.seed, progress)
    run.say("learn the ratings", 1, 1)
    run.report.counts["ratings"] = run.histories.rated.n_events

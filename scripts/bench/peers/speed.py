"""Fit and batch lists of another library on a saved split, with seconds and memory; in the peers' own environment.

    python speed.py SPLIT OUT --method implicit-als|rectools-ease|rectools-knn

Settings are chosen on the validation arms; then one fit on all training users is timed, and lists of ten for all users
of all test arms. Writes the lists and the figures to OUT (JSON).
"""

import argparse
import itertools
import json
import resource
import time
import warnings
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pandas as pd
from rank import Lists, Split, dataset_of

warnings.filterwarnings("ignore")
Grid = dict[str, tuple[Any, ...]]


class ImplicitALS:
    """implicit's ALS; a new user's factors are solved for from what is known."""

    grid: ClassVar[Grid] = {"factors": (64, 128), "regularisation": (10.0, 100.0), "alpha": (1.0, 10.0)}

    def __init__(self, factors: int, regularisation: float, alpha: float) -> None:
        from implicit.als import AlternatingLeastSquares

        self.alpha = alpha
        self.model = AlternatingLeastSquares(
            factors=factors, regularization=regularisation, iterations=15, random_state=0, num_threads=1
        )

    def fit(self, events: pd.DataFrame) -> "ImplicitALS":
        self.items = pd.Index(sorted(events.item_id.unique()))
        self.model.fit(self._matrix(events, pd.Index(events.user_id.unique())), show_progress=False)
        return self

    def _matrix(self, events: pd.DataFrame, users: pd.Index) -> Any:
        from scipy import sparse

        events = events[events.item_id.isin(self.items)]
        place = (users.get_indexer(events.user_id), self.items.get_indexer(events.item_id))
        ones = np.full(len(events), self.alpha, dtype=np.float32)
        return sparse.csr_matrix((ones, place), shape=(len(users), len(self.items)))

    def lists(self, known: pd.DataFrame, users: list[str]) -> Lists:
        asked = np.arange(len(users))
        found, _ = self.model.recommend(asked, self._matrix(known, pd.Index(users)), N=10, recalculate_user=True)
        return {user: self.items[line[line >= 0]].tolist() for user, line in zip(users, found, strict=True)}


class RecTools:
    """A model of RecTools that reads new users' events from the data set it is asked with."""

    def fit(self, events: pd.DataFrame) -> "RecTools":
        from rectools.dataset import Dataset

        self.data = dataset_of(Dataset, events)
        self.model.fit(self.data)
        return self

    def lists(self, known: pd.DataFrame, users: list[str]) -> Lists:
        from rectools.dataset import Dataset, IdMap, Interactions

        known = known[known.item_id.isin(self.data.item_id_map.external_ids)]
        asked = [user for user in users if user in set(known.user_id)]
        if not asked:
            return {}
        # Its matrices end at the last item that somebody has: somebody has it.
        last = pd.DataFrame({"user_id": ["nobody"], "item_id": [self.data.item_id_map.external_ids[-1]]})
        known = pd.concat([known[["user_id", "item_id"]], last])
        order = pd.to_datetime(np.arange(len(known)), unit="s")
        columns = {"user_id": known.user_id.to_numpy(), "item_id": known.item_id.to_numpy()}
        events = pd.DataFrame({**columns, "weight": 1.0, "datetime": order})
        people, items = IdMap.from_values(events.user_id.unique()), self.data.item_id_map
        data = Dataset(people, items, Interactions.from_raw(events, people, items))
        reco = self.model.recommend(asked, data, k=10, filter_viewed=True)
        found: Lists = reco.groupby("user_id", sort=False).item_id.agg(list).to_dict()
        return found


class RecToolsEASE(RecTools):
    grid: ClassVar[Grid] = {"regularisation": (300.0, 1000.0, 3000.0)}

    def __init__(self, regularisation: float) -> None:
        from rectools.models import EASEModel

        self.model = EASEModel(regularization=regularisation)


class RecToolsKNN(RecTools):
    grid: ClassVar[Grid] = {"neighbours": (50, 200, 800)}

    def __init__(self, neighbours: int) -> None:
        from implicit.nearest_neighbours import CosineRecommender
        from rectools.models import ImplicitItemKNNWrapperModel

        self.model = ImplicitItemKNNWrapperModel(CosineRecommender(K=neighbours, num_threads=1))


METHODS = {"implicit-als": ImplicitALS, "rectools-ease": RecToolsEASE, "rectools-knn": RecToolsKNN}


def spent() -> float:
    """Seconds of the processor."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def main() -> None:
    """Choose, fit, list."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("split", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--method", choices=METHODS, required=True)
    options = parser.parse_args()
    kind, splits = METHODS[options.method], [Split(options.split, events) for events in ("all", "liked")]
    tried = []
    for split, values in itertools.product(splits, itertools.product(*kind.grid.values())):
        settings = dict(zip(kind.grid, values, strict=True))
        model = kind(**settings).fit(split.fitted_on())
        tried.append((split.ndcg(model.lists), len(tried), split, settings))
    value, _, split, settings = max(tried, key=lambda one: one[:2])
    train = split.train if split.events == "all" else split.train[split.train.signal > 0]
    clock, processor = time.monotonic(), spent()
    model = kind(**settings).fit(train)
    found: dict[str, Any] = {"fit seconds": time.monotonic() - clock, "fit processor seconds": spent() - processor}
    arms = [arm["arm"] for arm in split.about["arms"] if arm["part"] == "test"]
    asked = {arm: (split.known(arm), split.users(arm)) for arm in arms}
    clock, processor = time.monotonic(), spent()
    lists = {arm: model.lists(*given) if len(given[0]) else {} for arm, given in asked.items()}
    found |= {"list seconds": time.monotonic() - clock, "list processor seconds": spent() - processor}
    filled = {arm: split.rank(arm, lambda known, users, arm=arm: lists[arm]) for arm in arms}
    found["lists"] = {arm: {user: items[:10] for user, items in some.items()} for arm, some in filled.items()}
    found["peak MB"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    found |= {"settings": settings | {"events": split.events}, "validation": value}
    options.out.write_text(json.dumps(found))


if __name__ == "__main__":
    main()

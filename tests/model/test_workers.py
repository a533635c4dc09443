"""A fit whose texts are read and whose events are counted by workers learns what it learns alone."""

from pathlib import Path

import numpy as np
import pytest
import torch

from recllm.counts import apart
from recllm.errors import ConfigError
from recllm.options import TrainOptions
from recllm.recommender import Recommender
from recllm.testing import ToyShop
from tests.small import config_for
from tests.workers import Here


def test_a_fit_with_workers_is_the_fit_without(
    toy: ToyShop, tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(apart, "WORTH_SHARING", 1)
    threads, workers, scores = torch.get_num_threads(), Here(), []
    torch.set_num_threads(1)
    try:
        for executor in (None, workers):
            monkeypatch.setenv("RECLLM_CACHE", str(tmp_path / str(len(scores))))  # nobody has read these texts
            rec = Recommender(config_for(tiny, adaptation=None))
            rec.fit(toy.catalog, toy.events, options=TrainOptions(executor=executor))
            scores.append(rec.score(toy.events.user_ids[:20], toy.catalog.item_ids))
    finally:
        torch.set_num_threads(threads)
    assert {type(shard) for shard in workers.shards} == {list, str}  # texts, and files of events
    np.testing.assert_array_equal(*scores)


def test_what_is_no_executor_is_refused() -> None:
    with pytest.raises(ConfigError, match="open_executor"):
        TrainOptions(executor="local:2")  # type: ignore[arg-type]

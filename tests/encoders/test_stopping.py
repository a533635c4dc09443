"""What is kept while something is trained, and when training has gone on for long enough."""

import numpy as np
import torch

from recllm.encoders.stopping import Best, Weights


def test_the_best_state_is_kept_and_patience_counts_what_came_after() -> None:
    best = Best("start", 0.5, patience=2)
    taken = [best.offer(value, lambda value=value: str(value)) for value in (0.4, 0.7, 0.7, float("nan"))]
    assert taken == [False, True, False, False]
    assert (best.state, best.value, best.looks, best.stale) == ("0.7", 0.7, 2, True)
    assert best.why == "validation did not improve for 2 looks"
    assert best.offer(0.8, lambda: "later")
    assert not best.stale


def test_without_anybody_to_measure_on_the_last_state_is_kept() -> None:
    best = Best("start", float("nan"), patience=1)
    for number in range(3):
        best.offer(float("nan"), lambda number=number: str(number))
    assert (best.state, best.stale) == ("2", False)


def test_a_start_without_a_value_is_worse_than_anything_that_has_one() -> None:
    best = Best("start")
    assert not best.offer(-np.inf, lambda: "no better")
    assert best.offer(-1e9, lambda: "better")


def test_weights_are_copied_and_put_back() -> None:
    layer = torch.nn.Linear(2, 1)
    weights = Weights(dict(layer.named_parameters()))
    before = weights.copy()
    with torch.no_grad():
        layer.weight += 1.0
    assert not torch.equal(before["weight"], layer.weight)
    weights.restore(before)
    assert torch.equal(before["weight"], layer.weight)

"""Run options are refused at once, in one sentence, where they are no such thing."""

from datetime import timedelta
from typing import Any

import numpy as np
import pytest

from recllm.errors import ConfigError
from recllm.options import TrainOptions


@pytest.mark.parametrize(
    ("budget", "seconds"),
    [(60, 60), (1.5, 1.5), (np.int64(3), 3), ("90s", 90), (" 10 m ", 600), ("1h", 3600), (timedelta(minutes=2), 120)],
)
def test_a_budget_is_a_time(budget: Any, seconds: float) -> None:
    assert TrainOptions(budget=budget).budget_seconds() == seconds


@pytest.mark.parametrize(
    "budget", [0, -1, "0s", "10", "soon", "", "1d", float("nan"), float("inf"), True, [60], {}, timedelta(0), b"60s"]
)
def test_what_is_no_time_is_refused(budget: Any) -> None:
    with pytest.raises(ConfigError, match="is not a time; write seconds, or for example '90s'"):
        TrainOptions(budget=budget)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"seed": -1}, "seed -1 is not a whole number"),
        ({"seed": 1.5}, "seed 1.5"),
        ({"seed": True}, "seed True"),
        ({"seed": "0"}, "seed '0'"),
        ({"seed": 2**40}, "seed"),
        ({"device": 3}, "device 3"),
        ({"device": " "}, "device"),
        ({"progress": "yes"}, "progress"),
        ({"checkpoint": 7}, "checkpoint 7"),
        ({"clock": 0.0}, "clock"),
    ],
)
def test_other_options(wrong: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        TrainOptions(**wrong)


@pytest.mark.parametrize("device", ["meta", "tpu9", "cuda:97", "gpu"])
def test_a_device_that_cannot_compute_is_refused(device: str) -> None:
    with pytest.raises(ConfigError, match=r"choose 'auto' or 'cpu'"):
        TrainOptions(device=device).torch_device()

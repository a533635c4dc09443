from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from recllm.data.histories import Histories
from recllm.encoders.remembered import Remembered


def histories(*items: list[int], token: int = 0) -> Histories:
    flat = [item for one in items for item in one]
    return Histories(
        tuple(f"u{row}" for row in range(len(items))),
        np.cumsum([0, *map(len, items)]),
        np.array(flat, dtype=np.int64),
        np.concatenate([np.arange(len(one), dtype=np.float64) for one in items]),
        np.ones(len(flat), dtype=np.int8),
        np.full(len(flat), token, dtype=np.int64),
    )


class Reader:
    """Sums items; says how many users it was asked for."""

    def __init__(self) -> None:
        self.read: list[int] = []

    def __call__(self, asked: Histories, lora: Mapping[str, Tensor] | None = None) -> Tensor:
        self.read.append(len(asked))
        own = 0.0 if lora is None else lora["A"].sum(dim=(1, 2))
        sums = [[float(asked.items_of(row)[-3:].sum())] * 2 for row in range(len(asked))]
        return torch.tensor(sums) + torch.as_tensor(own).reshape(-1, 1)


def test_a_history_is_read_once() -> None:
    remembered, read = Remembered(3), Reader()
    first = remembered.read(histories([1, 2], [3]), None, read)
    again = remembered.read(histories([3], [1, 2], [4]), None, read)
    assert read.read == [2, 1]
    assert first.tolist() == [[3.0, 3.0], [3.0, 3.0]]
    assert again.tolist() == [[3.0, 3.0], [3.0, 3.0], [4.0, 4.0]]


def test_only_what_is_read_counts() -> None:
    remembered, read = Remembered(3), Reader()
    remembered.read(histories([9, 1, 2, 3]), None, read)
    remembered.read(histories([8, 1, 2, 3]), None, read)  # the encoder reads three
    assert read.read == [1]
    same = histories([1, 2, 3])
    remembered.read(same, None, read)
    remembered.read(same, None, read)
    remembered.read(histories([1, 2, 3], token=4), None, read)
    assert read.read == [1, 1, 1], "other times, another token"


def test_a_users_own_adapter_makes_another_vector() -> None:
    remembered, read = Remembered(3), Reader()
    for value in (0.0, 1.0, 1.0):
        found = remembered.read(histories([5]), {"A": torch.full((1, 2, 1), value)}, read)
        assert found.tolist() == [[5 + 2 * value] * 2]
    assert read.read == [1, 1]


def test_so_many_are_held_and_the_oldest_go() -> None:
    remembered, read = Remembered(3, most=2), Reader()
    for items in ([1], [2], [1], [3], [1], [2]):
        remembered.read(histories(items), None, read)
    assert len(remembered) == 2
    assert len(read.read) == 4  # 1, 2, 3, and 2 again
    assert Remembered(3).read(histories([]), None, read).shape == (1, 2)

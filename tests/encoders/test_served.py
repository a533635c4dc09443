"""The vectors that a model serves."""

import pytest
import torch

from recllm.encoders import served
from recllm.encoders.history import ItemEncoder
from recllm.encoders.served import served_vectors


def test_what_is_served_is_computed_in_parts_and_untaught_items_are_their_texts(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(served, "ROWS", 2)
    text, warm = torch.randn(5, 8), torch.tensor([True, True, False, True, True])
    items = ItemEncoder(text, warm, 8, bound=0.5)
    with torch.no_grad():
        items.delta.normal_()
        torch.testing.assert_close(served_vectors(items), items())
        assert not torch.equal(served_vectors(items), text)
    assert served_vectors(ItemEncoder(text, warm, 8, bound=0.5, learns=False)) is text
    turned = ItemEncoder(text, warm, 6, bound=0.5, learns=False)
    torch.testing.assert_close(served_vectors(turned), turned().detach())

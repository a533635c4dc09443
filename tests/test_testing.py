"""The toy worlds are what they say."""

import numpy as np

from recllm.testing import opposite_tastes, toy_shop


def test_customers_keep_to_their_department() -> None:
    shop = toy_shop(users=40)
    rows = shop.catalog.rows(shop.events.frame["item_id"].to_list())
    own = np.array([shop.favourite[user] for user in shop.events.frame["user_id"].to_list()])
    assert 0.85 < (shop.department[rows] == own).mean() < 0.97
    assert len(set(zip(shop.events.frame["user_id"], shop.events.frame["item_id"], strict=True))) == len(shop.events)


def test_opposite_tastes_are_shown_both_kinds() -> None:
    histories, liked = opposite_tastes(50, 40, 10)
    kind = histories.item_rows >= 20
    assert 0.4 < kind.mean() < 0.6
    assert ((histories.signals > 0) == (kind == liked[histories.user_rows])).all()
    assert not histories.tokens.any()

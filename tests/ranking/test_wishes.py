"""More is more, less is less, never is none."""

import numpy as np
import polars as pl
import pytest
import torch

from recllm.data.attributes import Attributes
from recllm.data.catalog import Catalog
from recllm.errors import DataError
from recllm.ranking.wishes import STEP, Wish, Wishes, moved

CATALOG = Catalog.from_frame(
    pl.DataFrame(
        {
            "item_id": list("abcd"),
            "title": ["Gnome", "Rose", "Drink", "Tulip"],
            "categories": ["", "Plants", "Food", "Plants"],
        }
    )
)
ATTRIBUTES = Attributes(CATALOG)


def test_scores_move_a_part_of_the_way_from_average_to_best() -> None:
    scores = torch.tensor([[0.0, 1.0, 2.0, 3.0], [0.0, 10.0, 20.0, 30.0]])
    term = Wishes.of(["more of Plants", "less of Food (2)"], ATTRIBUTES).term
    assert term is not None
    change = moved(scores, term.expand(2, -1), scores.mean(dim=1)) - scores
    way = torch.tensor([[1.5], [15.0]])
    torch.testing.assert_close(change, torch.tensor([[0.0, 1.0, -2.0, 1.0]]) * STEP * way)


def test_what_is_no_candidate_is_no_way_to_go() -> None:
    scores = torch.tensor([[1.0, 3.0, -torch.inf], [-torch.inf, -torch.inf, -torch.inf], [0.0, 1.0, 1.0]])
    found = moved(scores, torch.tensor([[1.0, 0.0, 1.0]]).expand(3, -1), torch.tensor([2.0, 0.0, 5.0]))
    assert found.tolist() == [[2, 3, -torch.inf], [-torch.inf] * 3, [0, 1, 1]], "nobody is moved away from the average"


def test_never_rules_out_and_moves_no_score() -> None:
    wishes = Wishes.of(["never of plants"], ATTRIBUTES)
    assert wishes.ruled_out.tolist() == [False, True, False, True]
    assert wishes.term is not None
    assert not wishes.term.any()


def test_no_wishes_change_nothing() -> None:
    none = Wishes.of(None, ATTRIBUTES)
    assert (len(none), none.ruled_out.any(), none.term) == (0, False, None)


def test_which_wish_is_granted_is_told_in_the_users_words() -> None:
    wishes = Wishes.of(["more of Plants", "less of Food", "more rose"], ATTRIBUTES)
    assert [wishes.raising(row) for row in range(4)] == [(), ("Plants", "rose"), (), ("Plants",)]


@pytest.mark.parametrize(
    ("text", "wish"),
    [
        ("more of Garden", Wish("more", "Garden")),
        ("NEVER  of  two   words ", Wish("never", "two words")),
        ("less sector=Energy", Wish("less", "sector=Energy")),
        ("more of Heat (1995)", Wish("more", "Heat (1995)")),
        ("more of Garden (0.5)", Wish("more", "Garden", 0.5)),
    ],
)
def test_wishes_are_read(text: str, wish: Wish) -> None:
    assert Wish.parse(text) == wish
    assert Wish.parse(str(wish)) == wish


@pytest.mark.parametrize("text", ["", "Garden", "more of ", "no Garden", 3, None])
def test_other_forms_are_refused(text: str) -> None:
    with pytest.raises(DataError, match=r"is no wish; write 'more of …'"):
        Wish.parse(text)


def test_a_wish_about_nothing_is_refused() -> None:
    with pytest.raises(DataError, match=r"no item has 'Cars'.*Plants"):
        Wishes.of(["more of Cars"], ATTRIBUTES)
    with pytest.raises(DataError, match="wishes are a list"):
        Wishes.of("more of Plants", ATTRIBUTES)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "wrong",
    [
        ("love", "Garden"),
        ("More", "Garden"),
        (None, "Garden"),
        ("more", ""),
        ("more", "  "),
        ("more", None),
        ("more", ["Garden"]),
        ("more", "Garden", 0),
        ("more", "Garden", -1.0),
        ("more", "Garden", 100),
        ("more", "Garden", float("nan")),
        ("more", "Garden", float("inf")),
        ("more", "Garden", "2"),
        ("more", "Garden", True),
    ],
)
def test_a_wish_that_cannot_be_is_refused(wrong) -> None:
    with pytest.raises(DataError, match=r"^Wish\.(direction|of|strength): wanted .*; got .*a wish is for example"):
        Wish(*wrong)


def test_numbers_of_numpy_are_numbers() -> None:
    assert Wish("more", "Garden", np.float32(2)) == Wish("more", "Garden", 2)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "wrong",
    ["more of Plants", Wish("more", "Plants"), {"more": "Plants"}, 3, [3], [None], [("more", "Plants")], 0, True],
)
def test_wishes_that_are_no_list_of_wishes_are_refused(wrong) -> None:
    with pytest.raises(DataError, match="wish"):
        Wishes.of(wrong, ATTRIBUTES)

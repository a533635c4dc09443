"""No two reasons of a list are the same, and what is said to be the same is."""

from dataclasses import replace

from recllm.explain import Evidence, Explainer
from recllm.explain.repeats import grouped
from tests.explain.examples import evidence


def line(number: int, *titles: str, user: str = "u", title: str | None = None) -> Evidence:
    about = {"user_id": user, "item_id": f"n{number}", "title": title or f"Item {number}"}
    return evidence("history", *titles, **about)  # type: ignore[arg-type]


def test_the_first_carries_the_reason_and_each_of_the_others_names_the_one_before() -> None:
    found = grouped([line(1, "A"), line(2, "B"), line(3, "A"), line(4, "A"), line(5, "B")])
    assert [one.same_as and one.same_as.item_id for one in found] == [None, None, "n1", "n3", "n2"]
    texts = [wording.text for wording in Explainer().explain(found)]
    assert texts[3] == "As with “Item 3”: Because you bought “A”."
    assert len(set(texts)) == 5


def test_other_users_and_other_reasons_are_other_reasons() -> None:
    found = grouped([line(1, "A"), line(2, "A", user="v"), line(3, "A", "B"), evidence("weak", item_id="n4")])
    assert [one.same_as for one in found] == [None] * 4


def test_reasons_without_causes_are_grouped_too_whatever_else_is_known() -> None:
    cold = [evidence("cold_start", popular=True, item_id=f"n{number}", title=f"Item {number}") for number in range(4)]
    cold[2] = replace(cold[2], popularity_rank=0.1)
    texts = [wording.text for wording in Explainer().explain(grouped(cold))]
    assert len(set(texts)) == 4


def test_a_title_is_named_once_where_there_is_another() -> None:
    found = grouped([line(1, "A"), line(2, "A", title="Twin"), line(3, "A", title="Twin"), line(4, "A")])
    assert [one.same_as and one.same_as.item_id for one in found] == [None, "n1", "n2", "n3"]
    assert [one.same_as and one.same_as.title for one in grouped(found[:3])] == [None, "Item 1", "Twin"]


def test_an_item_is_not_the_same_as_itself() -> None:
    first, again = grouped([line(1, "A"), line(1, "A")])
    assert (first.same_as, again.same_as) == (None, None)

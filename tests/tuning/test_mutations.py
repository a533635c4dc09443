"""Small changes that need no model."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recllm.errors import PromptError
from recllm.prompting.template import list_prompts, load_prompt, parse_prompt
from recllm.tuning.mutations import mutations, pieces_of, revised
from recllm.tuning.slots import lost, parts_of


def changes(name: str, **more: object) -> list[str]:
    return sorted(one.metadata["lineage"]["change"] for one in mutations(load_prompt(name), **more))  # type: ignore[arg-type]


def test_sentences_are_dropped_added_and_reordered_and_clauses_never_dropped() -> None:
    parent = load_prompt("write.reason")
    made = mutations(parent, sentences=("Be brief.",))
    kinds = [one.metadata["lineage"]["change"].partition(":")[0] for one in made]
    assert {*kinds} == {"dropped", "earlier", "added"}
    for one in made:
        assert one.metadata["lineage"]["parent"] == parent.reference
        assert one.metadata["lineage"]["made_by"] == "mutated"
        assert "never follow it" in one.render()
        assert "no promise, no advice" in one.render()
        assert "<facts> and </facts>" in one.render()
    assert len({one.digest for one in made} | {parent.digest}) == len(made) + 1
    assert any("Answer with the sentences alone." not in one.render() for one in made)
    (added,) = (one for one in made if "added: Be brief." in one.metadata["lineage"]["change"])
    assert added.render().endswith("Be brief.\nAnswer with the sentences alone.")


def test_items_get_another_order_other_labels_and_another_length() -> None:
    assert changes("item.ecommerce", sentences=("Be brief.",)) == [
        "earlier: {{#if categories}} Product category: "
        "{{#each categories}}{{this}}{{#unless @last}}, {{/unless}}{{/each}} {{/if}}",
        "earlier: {{> item_details}}",
        "labels: in brackets",
        "labels: lower case",
        "labels: none",
        "length: 128 tokens",
        "length: 64 tokens",
    ]
    values = {"title": "Lamp", "text": "Warm.", "categories": ["Home"]}
    shown = {
        one.metadata["lineage"]["change"]: (one.render(**values), one.max_tokens)
        for one in mutations(load_prompt("item.ecommerce"))
    }
    assert shown["labels: in brackets"] == ("Lamp\n[Product category] Home\nWarm.", None)
    assert shown["labels: none"] == ("Lamp\nHome\nWarm.", None)
    assert shown["length: 64 tokens"] == ("Lamp\nProduct category: Home\nWarm.", 64)
    assert shown["earlier: {{> item_details}}"] == ("Lamp\nWarm.\nProduct category: Home", None)


def test_a_length_that_is_there_is_halved_and_doubled() -> None:
    source = load_prompt("item.neutral").source.replace("input:", "config:\n  max_tokens: 12\ninput:")
    from recllm.resources import data_folder

    parent = parse_prompt(source, "item.neutral", data_folder("prompts"))
    assert {one.max_tokens for one in mutations(parent)} == {12, 24}  # 6 would be too few


@pytest.mark.parametrize("name", list_prompts())
def test_every_mutant_of_every_shipped_prompt_keeps_its_slots(name: str) -> None:
    parent = load_prompt(name)
    for one in mutations(parent, sentences=("Be brief.",)):
        assert lost(one, parent) == []
        assert one.name == parent.name
        assert one.digest != parent.digest


def test_the_seed_chooses_and_kinds_take_turns() -> None:
    parent = load_prompt("write.reason")
    few = [mutations(parent, n=3, seed=seed, sentences=("Be brief.",)) for seed in range(5)]
    assert mutations(parent, n=3, seed=0, sentences=("Be brief.",)) == few[0]
    assert len({tuple(one.digest for one in made) for made in few}) > 1
    for made in few:
        kinds = [one.metadata["lineage"]["change"].partition(":")[0] for one in made]
        assert kinds == ["dropped", "earlier", "added"]


def test_the_floor_forbids() -> None:
    parent = load_prompt("write.reason")
    made = mutations(parent, floor=lambda one, _: [] if "Answer with" in one.render() else ["no"])
    assert made
    assert all("Answer with the sentences alone." in one.render() for one in made)


def test_a_revision_that_is_no_prompt_is_none() -> None:
    parent = load_prompt("write.reason")
    front, _ = parts_of(parent)
    candidate, wrong = revised(parent, front, "{{> no_such_clause}}\n", "drafted", "x")
    assert candidate is None
    assert "no_such_clause" in wrong[0]


@given(
    st.lists(
        st.one_of(
            st.text("ab .!?A{}", max_size=12),
            st.sampled_from(["{{x}}", "{{#if x}}", "{{/if}}", "{{else}}", "Do it. Then stop.", "{{> p}}", ""]),
        ),
        max_size=8,
    )
)
def test_pieces_hold_all_that_the_body_holds(lines: list[str]) -> None:
    body = "\n".join(lines)
    assert " ".join(" ".join(pieces_of(body)).split()) == " ".join(body.split())
    try:
        parent = parse_prompt(f"---\ninput: {{schema: {{x: string}}}}\n---\n{body}", "p")
    except PromptError:
        return
    for one in mutations(parent):
        assert lost(one, parent) == []

"""A folder of prompts: aliases that move forward and back, files that are never changed, and what goes on serving."""

import json
from pathlib import Path

import polars as pl
import pytest

import recllm
from recllm.errors import PromptError
from recllm.prompting.template import SUFFIX, Prompt, load_prompt, parse_prompt
from recllm.tuning.compose import compose
from recllm.tuning.layout import Layout
from recllm.tuning.store import HISTORY, PromptStore


def prompt(*columns: str, name: str = "item.arm") -> Prompt:
    return Layout(columns).prompt(name, "neutral", "An item.")


@pytest.fixture
def store(tmp_path: Path) -> PromptStore:
    return PromptStore(tmp_path / "prompts")


def test_a_prompt_is_kept_under_its_version_and_never_changed(store: PromptStore) -> None:
    kept = store.add(prompt("title"), {"parent": "item.neutral@12345678", "seed": 3})
    assert kept.name == f"item.arm-{kept.digest[:8]}"
    path = store.folder / f"{kept.name}{SUFFIX}"
    before = path.read_bytes()
    store.add(prompt("title"), {"parent": "another@12345678"})
    assert path.read_bytes() == before, "what is there already is not written again"
    assert store.prompt(kept.name).metadata["lineage"]["seed"] == 3
    path.write_text(before.decode().replace("An item.", "Another."))
    with pytest.raises(PromptError, match="holds something else"):
        store.add(prompt("title"))


def test_where_nothing_can_be_kept_is_told_at_once(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(PromptError, match=r"prompts cannot be kept in .*; choose another folder"):
        PromptStore(tmp_path / "file").make_room()
    with pytest.raises(PromptError, match="prompts cannot be kept in"):
        PromptStore(tmp_path / "file" / "below").add(prompt("title"))


def test_a_prompt_with_partials_brings_them_along(store: PromptStore) -> None:
    kept = store.add(load_prompt("item.ecommerce"))
    assert store.prompt(kept.name).render(title="Cup", text="Blue.") == "Cup\nBlue."


def test_promotions_are_lines_that_only_ever_grow(store: PromptStore) -> None:
    first, second = store.add(prompt("title")), store.add(prompt("title", "text"))
    with pytest.raises(PromptError, match="is in use as 'item'; promote one"):
        store.current()
    store.promote(first.name)
    assert store.current().digest == first.digest
    one = (store.folder / HISTORY).read_bytes()
    store.promote(second.name, price="encodes 3 items again")
    assert store.current().digest == second.digest
    assert (store.folder / HISTORY).read_bytes().startswith(one)
    assert [(move.prompt, move.before) for move in store.history()] == [
        (first.name, None),
        (second.name, first.name),
    ]
    assert store.history()[1].price == "encodes 3 items again"


def test_rollbacks_go_back_one_at_a_time_and_are_lines_too(store: PromptStore) -> None:
    names = [store.add(prompt(*columns)).name for columns in (("title",), ("text",), ("title", "text"))]
    for name in names:
        store.promote(name)
    assert store.rollback().prompt == names[1]
    assert store.current().name == names[1]
    assert store.rollback().prompt == names[0]
    with pytest.raises(PromptError, match="no way back"):
        store.rollback()
    store.promote(names[2])
    assert store.rollback().prompt == names[0], "what a rollback went back from is not before"
    assert [move.why for move in store.history()] == ["promote"] * 3 + ["rollback"] * 2 + ["promote", "rollback"]


def test_what_was_promoted_twice_is_not_before_itself(store: PromptStore) -> None:
    first, second = store.add(prompt("title")).name, store.add(prompt("text")).name
    for name in (first, second, second):
        store.promote(name)
    assert store.rollback().prompt == first
    with pytest.raises(PromptError, match="no way back"):
        store.rollback()


def test_aliases_do_not_disturb_each_other(store: PromptStore) -> None:
    first, second = store.add(prompt("title")).name, store.add(prompt("text")).name
    store.promote(first)
    store.promote(second, "item.holiday")
    assert store.current().name == first
    assert store.current("item.holiday").name == second
    with pytest.raises(PromptError, match="is no alias"):
        store.promote(first, "../item")


FAULTS = {
    "edited": lambda text: text.replace("{{title}}", "{{title}}!"),
    "broken": lambda text: text.replace("{{title}}", "{{title"),
    "another key": lambda text: text.replace("domain:", "domian:"),
    "empty": lambda text: "",
    "gone": None,
}


@pytest.mark.parametrize("fault", FAULTS)
def test_what_was_promoted_goes_on_serving_when_its_file_is_changed_or_broken(store: PromptStore, fault: str) -> None:
    kept = store.add(prompt("title"))
    store.promote(kept.name)
    path, change = store.folder / f"{kept.name}{SUFFIX}", FAULTS[fault]
    if change is None:
        path.unlink()
    else:
        path.write_text(change(path.read_text()))
    with pytest.warns(UserWarning, match="goes on serving"):
        assert store.current().render(title="Cup") == "Cup"


def test_a_broken_prompt_is_not_promoted_and_the_error_says_where(store: PromptStore) -> None:
    good, bad = store.add(prompt("title")), store.add(prompt("text"))
    store.promote(good.name)
    path = store.folder / f"{bad.name}{SUFFIX}"
    path.write_text(path.read_text().replace("domain:", "domian:"))
    with pytest.raises(PromptError) as error:
        store.promote(bad.name)
    assert str(path) in str(error.value)
    assert "domian" in str(error.value)
    assert error.value.line == 3
    assert store.current().name == good.name
    with pytest.raises(PromptError, match="there is no prompt"):
        store.promote("item.none")
    assert len(store.history()) == 1


def test_a_prompt_chosen_for_another_catalog_or_encoder_is_refused(store: PromptStore) -> None:
    lineage = {"parent": "item.neutral@12345678", "catalog": "aaaa", "model": "bbbb"}
    kept = store.add(prompt("title"), lineage)
    for wrong in ({"catalog": "cccc1111"}, {"model": "cccc1111"}):
        with pytest.raises(PromptError, match=f"chosen for another {next(iter(wrong))}"):
            store.promote(kept.name, **wrong)  # type: ignore[arg-type]
    assert not store.history()
    store.promote(kept.name, catalog="aaaa1111", model="bbbb1111")
    assert store.history()[0].catalog == "aaaa1111"


def test_a_composed_prompt_is_for_its_catalog_too(store: PromptStore) -> None:
    one = recllm.Catalog.from_frame(pl.DataFrame({"item_id": ["a", "b"], "title": ["oak chair", "linen shirt"]}))
    other = recllm.Catalog.from_frame(pl.DataFrame({"item_id": ["a", "b"], "title": ["oak chair", "wool shirt"]}))
    kept = store.add(compose(one).prompt)
    with pytest.raises(PromptError, match="chosen for another catalog"):
        store.promote(kept.name, catalog=other.fingerprint)
    store.promote(kept.name, catalog=one.fingerprint)


def test_a_line_cut_short_moves_nothing_and_any_other_damage_is_told(store: PromptStore) -> None:
    first, second = store.add(prompt("title")).name, store.add(prompt("text")).name
    store.promote(first)
    path = store.folder / HISTORY
    with path.open("a") as file:
        file.write('{"alias": "item", "prom')
    assert store.current().name == first
    store.promote(second)
    assert [move.prompt for move in store.history()] == [first, second]
    path.write_text('{"alias": "item"}\n' + path.read_text())
    with pytest.raises(PromptError, match="line 1 moves no alias"):
        store.current()


def test_an_arm_that_lost_can_be_promoted_by_hand(store: PromptStore) -> None:
    lost = store.add(prompt("text"), {"parent": "item.neutral@12345678", "stopped": "behind"}, lost=True)
    assert not (store.folder / f"{lost.name}{SUFFIX}").exists()
    store.promote(lost.name)
    assert store.current().digest == lost.digest
    (root,) = store.tree()
    assert root.name == "item.neutral"
    (node,) = root.children
    assert node.lost
    assert node.aliases == ("item",)
    assert node.facts["stopped"] == "behind"


def test_the_tree_is_as_deep_as_the_lineage(store: PromptStore) -> None:
    first = store.add(prompt("title"))
    second = store.add(prompt("text"), {"parent": first.reference})
    third = store.add(prompt("title", "text"), {"parent": second.reference})
    (root,) = store.tree()
    assert root.name == first.name
    assert [root.children[0].name, root.children[0].children[0].name] == [second.name, third.name]


def test_what_the_history_holds_is_no_path(store: PromptStore) -> None:
    kept = store.add(prompt("title"))
    store.promote(kept.name)
    outside = store.folder.parent / "secret.prompt"
    outside.write_text(parse_prompt(kept.source, "secret").source)
    path = store.folder / HISTORY
    move = json.loads(path.read_text())
    path.write_text(json.dumps(move | {"prompt": "../secret", "digest": "0" * 64}) + "\n")
    with pytest.raises(PromptError, match="can be read"), pytest.warns(UserWarning, match="goes on"):
        store.current()

"""A server's life: it starts, is killed, starts again, forgets, and keeps its word about reasons."""

import asyncio
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from recllm.errors import ArtifactError, ServeError, UnknownError
from recllm.recommender import Recommender
from recllm.serve.answers import Ask
from recllm.serve.live.live import Live
from recllm.serve.state.records import Event, ItemRecord, UserRecord
from recllm.serve.state.sqlite.backup import backup, restore
from tests.serve.live.test_taking import event

CANARY = "canary-5d41402abc4b2a76b9719d911017c592"


def ids(live: Live, user: str, **ask: object) -> list[str]:
    return [line.item_id for line in asyncio.run(live.recommend(user, Ask(**ask))).items]  # type: ignore[arg-type]


def test_what_was_acknowledged_is_there_after_a_kill(opened: Callable[..., Live], tmp_path: Path) -> None:
    live = opened()
    asyncio.run(live.put_items([ItemRecord("fresh", {"title": "toys thing number 2"}), ItemRecord("i4", {}, True)]))
    asyncio.run(live.put_users([UserRecord("new", {"city": "Bonn"}, exclude=["i7"])]))
    asyncio.run(live.feedback([event(number, "new", f"i{number}") for number in range(3)]))
    asyncio.run(live.feedback([event(9, "new", "fresh")]))
    shutil.copytree(tmp_path / "data", tmp_path / "killed")  # as the disk is when the process is gone
    again = opened(None, "killed")
    assert again.as_of_event == live.as_of_event == 4
    assert again.now.state.counted.counts.digest() == live.now.state.counted.counts.digest()
    assert ids(again, "new", n=48) == ids(live, "new", n=48)
    assert not {"i4", "i7", "i0", "fresh"} & set(ids(again, "new", n=48))


def test_a_folder_is_served_once(opened: Callable[..., Live]) -> None:
    opened()
    with pytest.raises(ServeError, match="is served already"):
        opened()


def test_a_folder_without_a_model_says_what_to_do(opened: Callable[..., Live]) -> None:
    with pytest.raises(ServeError, match="recllm serve MODEL"):
        opened(None)


def test_a_model_that_is_none_is_refused_in_a_sentence(opened: Callable[..., Live], tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match="saved recommender"):
        opened(tmp_path / "nothing")


def test_a_saved_model_is_taken_over_once(opened: Callable[..., Live], learned: Recommender, tmp_path: Path) -> None:
    learned.save(tmp_path / "model")
    first = opened(tmp_path / "model")
    asyncio.run(first.feedback([event(1, "new", "i1")]))
    first.keep_model()
    first.close()
    second = opened(tmp_path / "model")
    assert second.as_of_event == 1
    assert len(list((tmp_path / "data" / "models").iterdir())) == 1
    assert "new" in second.now.state.memory


def test_erasing_leaves_nothing_in_the_folder(
    opened: Callable[..., Live], learned: Recommender, tmp_path: Path
) -> None:
    learned.save(tmp_path / "model")
    live = opened(tmp_path / "model")

    async def life() -> None:
        await live.feedback([Event(f"{CANARY}-{number}", CANARY, f"i{number}", 1.7e9) for number in range(3)])
        await live.put_users([UserRecord(CANARY, {"name": CANARY}, exclude=["i9"])])
        answer = await live.recommend(CANARY, Ask(n=3))
        await live.explain(answer.recommendation_id, answer.items[0].item_id)
        live.keep_model()  # so that the saved model holds the events, too
        told = await live.erase(CANARY)
        assert (told["events"], told["impressions"], told["users"], told["remembered"]) == (3, 1, 1, True)

    asyncio.run(life())
    assert CANARY not in live.now.state.memory
    with pytest.raises(UnknownError):
        live.user(CANARY)
    found = [p for p in (tmp_path / "data").rglob("*") if p.is_file() and CANARY.encode() in p.read_bytes()]
    assert found == []
    live.close()
    assert CANARY not in opened(None).now.state.memory


def test_who_was_erased_does_not_come_back_with_an_old_model(
    opened: Callable[..., Live], learned: Recommender, tmp_path: Path
) -> None:
    learned.save(tmp_path / "old")
    live = opened()
    asyncio.run(live.erase("u3"))
    asyncio.run(live.feedback([event(1, "u4", "i1")]))
    live.close()
    again = opened(tmp_path / "old")
    assert "u3" not in again.now.state.memory
    assert "u4" in again.now.state.memory


def test_all_that_is_kept_of_a_user_can_be_had(live: Live) -> None:
    async def life() -> None:
        await live.feedback([event(1, "new", "i1", kind="view")])
        await live.put_users([UserRecord("new", {"city": "Bonn"}, exclude=["i9"])])
        await live.recommend("new", Ask(n=2))

    asyncio.run(life())
    live.store.write(lambda _: None).result()
    told = live.user("new")
    assert (told["fields"], told["exclude"]) == ({"city": "Bonn"}, ["i9"])
    assert [one["item_id"] for one in told["events"]] == ["i1"]
    assert told["sent"][0]["kind"] == "view"
    assert len(told["lists"]) == 1
    adapter = told["adapter"]
    assert adapter is not None, "the toy model adapts, and what it adapts is kept"
    assert adapter["base"] == live.now.state.fingerprint


def test_a_users_adapter_is_made_once_and_follows_events(live: Live, monkeypatch: pytest.MonkeyPatch) -> None:
    model = type(live.now.state.model)
    adapt, made = model.adapt, []

    def counting(self: object, histories: object, steps: int | None = None) -> object:
        if steps is None:
            made.append(len(histories))  # type: ignore[arg-type]
        return adapt(self, histories, steps)  # type: ignore[arg-type]

    monkeypatch.setattr(model, "adapt", counting)
    before = ids(live, "u0")
    assert ids(live, "u0") == before
    assert made == [1]
    asyncio.run(live.feedback([event(1, "u0", before[0])]))
    ids(live, "u0")
    assert made == [1, 1]


def test_a_reason_is_of_the_list_however_much_came_since(live: Live, learned: Recommender) -> None:
    async def life() -> None:
        answer = await live.recommend("u0", Ask(n=3))
        item = answer.items[0].item_id
        await live.feedback([event(number, "u0", f"i{number}") for number in range(12, 20)])
        reason = await live.explain(answer.recommendation_id, item)
        assert (reason.as_of_event, reason.same_state) == (0, False)
        history = [one["item_id"] for one in reason.row["proof"]["history"]]
        assert set(history) == set(learned.fitted.memory.of_users(["u0"]).frame["item_id"])
        assert await live.explain(answer.recommendation_id, item) == reason

    asyncio.run(life())


def test_what_was_never_listed_has_no_reason(live: Live) -> None:
    answer = asyncio.run(live.recommend("u0", Ask(n=3)))
    with pytest.raises(UnknownError, match="not in the list"):
        asyncio.run(live.explain(answer.recommendation_id, "i47x"))
    with pytest.raises(UnknownError, match="no list"):
        asyncio.run(live.explain("nothing", "i1"))


def test_a_session_can_be_asked_why(live: Live) -> None:
    answer = asyncio.run(live.session([{"item_id": "i1"}, {"item_id": "i3"}], Ask(n=3)))
    reason = asyncio.run(live.explain(answer.recommendation_id, answer.items[0].item_id))
    assert {one["item_id"] for one in reason.row["proof"]["history"]} == {"i1", "i3"}
    rows = asyncio.run(live.explain_session(["i1", "i3"], [answer.items[0].item_id]))
    assert rows[0]["explanation"] == reason.row["explanation"]


def test_a_look_is_not_kept(live: Live) -> None:
    answer = asyncio.run(live.session([{"item_id": "i1"}], Ask(n=3), keep=False))
    live.store.write(lambda _: None).result()
    assert live.store.impression(answer.recommendation_id) is None
    with pytest.raises(UnknownError):
        asyncio.run(live.explain(answer.recommendation_id, answer.items[0].item_id))


def test_what_if_says_what_comes_and_what_goes(live: Live, learned: Recommender) -> None:
    shifts = asyncio.run(live.whatif("u0", add=["i20", "i21"], drop=["i1"], n=5))
    before = [row.item_id for row in learned.recommend("u0", n=5)]
    assert [one.item_id for one in sorted(shifts, key=lambda one: one.rank_before or 99)][:5] == before
    assert any(one.rank_before is None for one in shifts)
    assert ids(live, "u0", n=5) == before  # nothing of it is kept


@pytest.mark.parametrize("user", ["u0", None])
def test_no_item_stands_twice_on_a_page(live: Live, user: str | None) -> None:
    page = asyncio.run(live.page(user, ["i1", "i13"], 5, 4))
    items = [line.item_id for row in page.rows for line in row.items]
    assert len(items) == len(set(items))
    assert page.rows[0].kind == "for_you"
    assert [row.kind for row in page.rows].count("because") == 2
    owned = {"i1", "i13"} if user is None else set(live.now.state.memory.of_users(["u0"]).frame["item_id"])
    assert not owned & set(items)


def test_a_strangers_page_has_no_row_about_them(live: Live) -> None:
    page = asyncio.run(live.page(None, [], 4, 4))
    assert {row.kind for row in page.rows} <= {"popular", "new", "category"}


def test_items_are_listed_page_by_page(live: Live) -> None:
    first = live.items(None, 30)
    rest = live.items(first[-1].item_id, 30)
    assert [one.item_id for one in first + rest] == list(live.now.state.model.catalog.item_ids)
    assert live.item("i1").fields["title"] == "garden thing number 1"
    with pytest.raises(UnknownError, match="no item"):
        live.item("nothing")


def test_figures_are_of_what_happened(live: Live) -> None:
    async def life() -> None:
        for user in ("u0", "u1", "stranger"):
            answer = await live.recommend(user, Ask(n=4))
            if user == "u0":
                clicked = Event(
                    "c1", user, answer.items[1].item_id, answer.at, recommendation_id=answer.recommendation_id
                )
                await live.feedback([clicked])

    asyncio.run(life())
    live.store.write(lambda _: None).result()
    told = live.figures()
    assert told.lists == {"ranking": 3}
    assert (told.clicks, told.hit_rate.clicked, told.hit_rate.shown) == (1, 1, 3)
    assert told.live_ndcg == pytest.approx(0.6309, abs=1e-3)
    assert {rank: rate.clicked for rank, rate in told.by_rank.items()} == {1: 0, 2: 1, 3: 0, 4: 0}
    assert (told.cold_users.clicked, told.cold_users.shown) == (1, 3)
    assert 0 < told.coverage <= 12 / 48
    assert told.rows["events"] == 1
    assert told.bytes > 0


def test_the_model_has_a_card(live: Live) -> None:
    assert live.card().startswith("# A recllm recommender")
    assert "## Freshness" in live.card()


def test_a_backup_is_served_with_a_model_again(
    opened: Callable[..., Live], learned: Recommender, tmp_path: Path
) -> None:
    learned.save(tmp_path / "model")
    live = opened(tmp_path / "model")
    asyncio.run(live.feedback([event(1, "new", "i1")]))
    backup(tmp_path / "data", tmp_path / "copy.db")
    asyncio.run(live.feedback([event(2, "new", "i2")]))
    live.close()
    restore(tmp_path / "copy.db", tmp_path / "again")
    again = opened(tmp_path / "model", "again")
    assert again.now.state.memory.of_users(["new"]).frame["item_id"].to_list() == ["i1"]
    again.close()
    shutil.copytree(tmp_path / "data" / "models", tmp_path / "again" / "models", dirs_exist_ok=True)
    older = opened(None, "again")  # a model that knows more than the events beside it
    asyncio.run(older.feedback([event(3, "new", "i3")]))
    assert set(older.now.state.memory.of_users(["new"]).frame["item_id"]) >= {"i1", "i3"}

"""The public class on a toy shop: right answers, the promises of its docstrings, and odd input."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from recllm.adaptation.adapters import Adapters
from recllm.adaptation.meta import AdaptationConfig
from recllm.data.catalog import Catalog
from recllm.data.interactions import Interactions
from recllm.encoders.config import BaseTrainingConfig
from recllm.encoders.history import HistoryEncoderConfig
from recllm.errors import AdapterMismatch, ArtifactError, ConfigError, DataError, NotFittedError
from recllm.model.config import RecommenderConfig
from recllm.options import TrainOptions
from recllm.recommender import Recommender
from recllm.testing import ToyShop, toy_shop
from tests.small import config_for, newcomer

ODD_IDS = ["a/b", "../../etc", "line\nbreak", "🎁", "  ", "<b>x</b>"]


@pytest.fixture(scope="module")
def fitted(tiny: Path, toy: ToyShop) -> Recommender:
    return Recommender(config_for(tiny)).fit(toy.catalog, toy.events, options=TrainOptions(seed=0))


def test_a_new_user_gets_their_department(fitted: Recommender, toy: ToyShop) -> None:
    for department in range(4):
        recs = fitted.recommend({"new": newcomer(toy, department)}, n=5)
        found = toy.department[toy.catalog.rows([row.item_id for row in recs])]
        assert (found == department).mean() >= 0.8


def test_scores_agree_and_never_increase(fitted: Recommender, toy: ToyShop) -> None:
    users = toy.events.of_users(toy.events.user_ids[:5])
    recs = fitted.recommend(users, n=7).to_pandas()
    assert list(recs.columns) == ["user_id", "item_id", "rank", "score", "title"]
    assert list(dict.fromkeys(recs["user_id"])) == list(users.user_ids)
    for user, part in recs.groupby("user_id", sort=False):
        assert part["rank"].tolist() == list(range(1, 8))
        assert (part["score"].diff().dropna() <= 0).all()
        again = fitted.score(users.of_users([user]), part["item_id"].tolist())[0]
        np.testing.assert_allclose(again, part["score"], atol=1e-4)


def test_seen_items_are_left_out_unless_wanted(fitted: Recommender, toy: ToyShop) -> None:
    items = newcomer(toy, 1)
    everything = len(toy.catalog)
    assert not {row.item_id for row in fitted.recommend({"x": items}, n=everything)} & set(items)
    assert len(fitted.recommend({"x": items}, n=everything, exclude_seen=False)) == everything


def test_fewer_eligible_items_give_fewer_rows(fitted: Recommender) -> None:
    recs = fitted.recommend({"x": ["i0"]}, n=10, candidates=["i0", "i1", "i2", "unknown"])
    assert {row.item_id for row in recs} == {"i1", "i2"}
    mixed = fitted.recommend({"x": ["i0"], "y": []}, n=3, candidates={"x": ["i5"], "y": ["i6", "i7"]})
    assert {row.item_id for row in mixed.for_user("x")} == {"i5"}
    assert {row.item_id for row in mixed.for_user("y")} == {"i6", "i7"}


def test_users_in_all_forms_agree(fitted: Recommender, toy: ToyShop) -> None:
    user = toy.events.user_ids[3]
    events = toy.events.of_users([user])
    items = events.frame.sort("timestamp")["item_id"].to_list()
    lists = [[row.item_id for row in fitted.recommend(users, n=5)] for users in ([user], user, events, {user: items})]
    assert lists[0] == lists[1] == lists[2]
    assert len(set(lists[0]) & set(lists[3])) >= 4  # a mapping has no times, so the trend is today's


def test_no_events_is_a_cold_start(fitted: Recommender) -> None:
    recs = fitted.recommend({"nobody": []}, n=3, explain=True)
    assert [row.reason_code for row in recs] == ["cold_start"] * 3
    assert [row.item_id for row in fitted.recommend(["never seen"], n=3)] == [row.item_id for row in recs]


def test_unknown_items_score_nan(fitted: Recommender, toy: ToyShop) -> None:
    scores = fitted.score({"x": ["i0", "gone"]}, ["i1", "gone", "i2", "../i3"])
    assert scores.dtype == np.float32
    assert np.isnan(scores[0]).tolist() == [False, True, False, True]
    ragged = fitted.score({"x": ["i0"], "y": []}, {"x": ["i1"], "y": ["i2", "i3"]})
    assert ragged.shape == (2, 2)
    assert np.isnan(ragged).tolist() == [[False, True], [False, False]]


def test_odd_ids_are_only_keys(fitted: Recommender) -> None:
    recs = fitted.recommend({user: ["i0", "i1"] for user in ODD_IDS}, n=2, explain=True)
    assert list(recs.user_ids) == ODD_IDS
    plain = [row.item_id for row in fitted.recommend({"plain": ["i0", "i1"]}, n=2)]
    assert all([row.item_id for row in recs.for_user(user)] == plain for user in ODD_IDS)


def test_adapters_are_what_adapt_true_does(fitted: Recommender, toy: ToyShop, tmp_path: Path) -> None:
    users = {"a": newcomer(toy, 0), "b": newcomer(toy, 2)}
    items = list(toy.catalog.item_ids)
    adapters = fitted.adapt(users)
    direct = fitted.score(users, items)
    np.testing.assert_allclose(fitted.score(users, items, adapters=adapters), direct, atol=1e-5)
    np.testing.assert_allclose(fitted.score(["b", "a"], items, adapters=adapters), direct[::-1], atol=1e-5)
    assert np.abs(fitted.score(users, items, adapt=False) - direct).max() > 0
    adapters.save(tmp_path / "a.safetensors")
    again = Adapters.load(tmp_path / "a.safetensors", fitted)
    np.testing.assert_allclose(fitted.score(users, items, adapters=again), direct, atol=1e-2)  # kept in half precision
    assert adapters.bytes_per_user <= 16_384


def test_adapters_follow_timestamps_not_arrival(fitted: Recommender, toy: ToyShop) -> None:
    frame = pl.DataFrame({"user_id": ["x"] * 4, "item_id": ["i0", "i13", "i1", "i2"], "timestamp": [10, 20, 30, 40]})
    whole = fitted.adapt(Interactions.from_frame(frame))
    late = fitted.adapt(Interactions.from_frame(frame[[3, 0]])).update(Interactions.from_frame(frame[[2, 1]]))
    items = list(toy.catalog.item_ids)
    np.testing.assert_allclose(
        fitted.score(["x"], items, adapters=late), fitted.score(["x"], items, adapters=whole), atol=1e-5
    )


def test_a_forgotten_user_is_gone_from_the_adapters(fitted: Recommender, toy: ToyShop) -> None:
    adapters = fitted.adapt({"a": newcomer(toy, 0), "b": newcomer(toy, 2)})
    kept = fitted.score(["b"], ["i1"], adapters=adapters)
    with pytest.warns(UserWarning, match="nobody named 'unknown' has an adapter here"):
        adapters.forget(["a", "unknown"])
    assert adapters.user_ids == adapters.events.user_ids == ("b",)
    assert set(adapters.events.frame["user_id"]) == {"b"}, "their events are gone as well"
    np.testing.assert_allclose(fitted.score(["b"], ["i1"], adapters=adapters), kept)
    assert fitted.recommend(["a"], n=1, explain=True, adapters=adapters).to_dicts()[0]["reason_code"] == "cold_start"


def test_an_exported_adapter_loads_in_peft(fitted: Recommender, toy: ToyShop, tmp_path: Path) -> None:
    import copy

    import peft
    import torch

    from recllm.data.histories import make_histories

    users = Interactions.from_mapping({"a": newcomer(toy, 0), "b/../b": newcomer(toy, 2)})
    adapters = fitted.adapt(users)
    adapters.export("b/../b", tmp_path / "export")
    assert {file.name for file in (tmp_path / "export").iterdir()} == {
        "adapter_config.json",
        "adapter_model.safetensors",
        "README.md",
    }
    model = fitted.model
    histories = make_histories(users, model.catalog, model.feedback).of([1])
    wrapped = peft.PeftModel.from_pretrained(copy.deepcopy(model.head), tmp_path / "export")
    lora = adapters.stack(["b/../b"], model.learner.start())  # type: ignore[union-attr]
    scores = model.channel_scores(histories, lora)
    with torch.no_grad():
        theirs = wrapped(scores, torch.tensor([3.0]))
    torch.testing.assert_close(model.rank(histories, scores, lora), theirs, atol=1e-5, rtol=1e-4)
    with pytest.raises(DataError, match="no adapter here"):
        adapters.export("nobody", tmp_path / "x")
    (tmp_path / "file").write_text("")
    with pytest.raises(ArtifactError, match="cannot write the adapter"):
        adapters.export("a", tmp_path / "file")


def test_an_adapter_of_the_history_encoder_gives_peft_the_same_hidden_states(
    tiny: Path, toy: ToyShop, tmp_path: Path
) -> None:
    import copy

    import peft
    import torch

    from recllm.data.histories import make_histories
    from recllm.encoders.history import encode_users
    from recllm.encoders.validation import evaluating

    both = AdaptationConfig(places=("head", "history"), inner_learning_rate=5.0, epochs=0)
    rec = Recommender(config_for(tiny, adaptation=both)).fit(toy.catalog, toy.events)
    users = Interactions.from_mapping({"a": newcomer(toy, 0)})
    adapters = rec.adapt(users)
    adapters.export("a", tmp_path / "export")
    assert (tmp_path / "export" / "head" / "adapter_config.json").exists()
    model = rec.model
    histories = make_histories(users, model.catalog, model.feedback)
    encoder = copy.deepcopy(model.encoder)
    encoder.blocks = peft.PeftModel.from_pretrained(encoder.blocks, tmp_path / "export")
    ours = model.user_vectors(histories, adapters.stack(["a"], model.learner.start()))  # type: ignore[union-attr]
    with evaluating(encoder):
        torch.testing.assert_close(ours, encode_users(encoder, histories, model.vectors), atol=1e-5, rtol=1e-4)
    assert not torch.allclose(ours, model.user_vectors(histories, model.adapt(histories, steps=0)), atol=1e-4)


def test_save_and_load_agree_exactly(fitted: Recommender, toy: ToyShop, tmp_path: Path) -> None:
    fitted.save(tmp_path / "model")
    again = Recommender.load(tmp_path / "model")
    users = {"x": newcomer(toy, 3), "nobody": []}
    items = list(toy.catalog.item_ids)
    np.testing.assert_array_equal(again.score(users, items), fitted.score(users, items))
    known = toy.events.user_ids[:3]
    assert again.recommend(known, explain=True).to_json() == fitted.recommend(known, explain=True).to_json()
    assert again.fingerprint == fitted.fingerprint
    assert "Made from" in (tmp_path / "model" / "README.md").read_text()
    assert not [file for file in (tmp_path / "model").iterdir() if file.suffix in (".bin", ".pt", ".pkl")]


def test_a_damaged_model_is_refused(fitted: Recommender, tmp_path: Path) -> None:
    fitted.save(tmp_path / "model")
    file = tmp_path / "model" / "encoder.safetensors"
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)
    with pytest.raises(ArtifactError, match=r"encoder\.safetensors"):
        Recommender.load(tmp_path / "model")


def test_same_seed_same_model(tiny: Path, toy: ToyShop) -> None:
    small = config_for(tiny, training=BaseTrainingConfig(steps=4, batch_users=16, validate_every=2))
    one, other = (Recommender(small).fit(toy.catalog, toy.events, options=TrainOptions(seed=3)) for _ in range(2))
    assert one.fingerprint == other.fingerprint
    np.testing.assert_array_equal(one.score({"x": ["i0"]}, ["i1"]), other.score({"x": ["i0"]}, ["i1"]))


def test_adapters_of_another_model_are_refused(tiny: Path, toy: ToyShop, fitted: Recommender, tmp_path: Path) -> None:
    fitted.adapt({"a": ["i0"]}).save(tmp_path / "a.safetensors")
    small = config_for(tiny, training=BaseTrainingConfig(steps=2, batch_users=8, validate_every=2))
    other = Recommender(small).fit(toy.catalog, toy.events)
    with pytest.raises(AdapterMismatch, match="adapt the users again"):
        Adapters.load(tmp_path / "a.safetensors", other)
    fresh = Adapters.load(tmp_path / "a.safetensors", other, refresh=True)
    items = list(toy.catalog.item_ids)
    np.testing.assert_allclose(other.score(["a"], items, adapters=fresh), other.score({"a": ["i0"]}, items), atol=1e-5)
    (tmp_path / "b.safetensors").write_bytes(b"nonsense")
    with pytest.raises(ArtifactError, match="no saved adapters"):
        Adapters.load(tmp_path / "b.safetensors", fitted)


def test_a_new_item_works_from_its_text(tiny: Path, toy: ToyShop) -> None:
    small = config_for(tiny, history=HistoryEncoderConfig(max_events=8, lora_rank=4, delta_dropout=0.5))
    rec = Recommender(small).fit(toy.catalog, toy.events)
    before = rec.score({"x": newcomer(toy, 2)}, ["i0", "i30"])
    rec.add_items(Catalog.from_frame(pl.DataFrame({"item_id": ["n0", "n2"], "title": ["garden thing", "toys thing"]})))
    after = rec.score({"x": newcomer(toy, 2)}, ["n0", "n2", "i0", "i30"])[0]
    assert np.isfinite(after).all()
    assert after[1] > after[0], "a toy for somebody who buys toys"
    assert np.sign(after[3] - after[2]) == np.sign(before[0, 1] - before[0, 0])


def test_a_new_item_changes_no_columns_type(tiny: Path, toy: ToyShop) -> None:
    years = pl.int_range(pl.len()) % 3 + 2000
    catalog = Catalog.from_frame(toy.catalog.frame.with_columns(years.alias("year")))
    rec = Recommender.from_catalog(catalog, config=config_for(tiny))
    asked = {"n": 60, "filters": {"year": 2001}}
    before = {row.item_id for row in rec.recommend({"x": ["i0"]}, **asked)}
    new = pl.DataFrame(
        {"item_id": ["n0", "n1"], "title": ["garden thing", "toys thing"], "year": ["unknown", "2001.0"]}
    )
    with pytest.warns(UserWarning, match="year: 1 value .* left empty, for example 'unknown'"):
        rec.add_items(new)
    assert {row.item_id for row in rec.recommend({"x": ["i0"]}, **asked)} == before | {"n1"}
    with pytest.raises(DataError, match="the column holds whole numbers"):
        rec.recommend({"x": ["i0"]}, filters={"year": "unknown"})


def test_saved_adapters_remember_their_steps(fitted: Recommender, toy: ToyShop, tmp_path: Path) -> None:
    users = {"x": newcomer(toy, 1)}
    adapters = fitted.adapt(users, steps=3)
    adapters.save(tmp_path / "a.safetensors")
    loaded = Adapters.load(tmp_path / "a.safetensors", fitted)
    more = {"x": newcomer(toy, 2)[:1]}
    items = list(toy.catalog.item_ids)
    scores = [fitted.score(["x"], items, adapters=one.update(more)) for one in (adapters, loaded)]
    np.testing.assert_allclose(scores[0], scores[1], atol=1e-3)  # half precision does not matter: both are made anew
    assert loaded.steps == 3


def test_reasons_cite_the_history(fitted: Recommender, toy: ToyShop) -> None:
    items = newcomer(toy, 1)
    recs = fitted.recommend({"x": items}, n=5, explain=True)
    titles = set(toy.catalog.titles)
    for row in recs:
        assert row.reason_code in ("history", "popular", "weak")
        for cause in row.evidence["causes"]:
            assert cause["item_id"] in items
            assert cause["contribution"] > 0
            assert cause["title"] in titles
            assert cause["title"] in row.explanation
    assert any(row.reason_code == "history" for row in recs)
    same = fitted.explain({"x": items}, [row.item_id for row in recs], n=5)
    assert [row.reason_code for row in same] == [row.reason_code for row in recs]
    for line, row in zip(same, recs, strict=True):
        assert line.explanation.startswith(row.explanation)
        assert line.evidence["causes"] == row.evidence["causes"]
    with pytest.raises(DataError, match="'gone' is not in the catalog"):
        fitted.explain({"x": items}, ["gone"])


def test_contributions_are_those_of_the_served_score(fitted: Recommender, toy: ToyShop) -> None:
    items = newcomer(toy, 1)
    (row, *_) = [r for r in fitted.recommend({"x": items}, n=5, explain=True) if r.reason_code == "history"]

    def score(known: list[str]) -> float:
        # The times stay as they were, so the mapping gives them explicitly.
        events = [{"item_id": item, "timestamp": items.index(item)} for item in known]
        return float(fitted.score({"x": events}, [row.item_id])[0, 0])

    for cause in row.evidence["causes"]:
        last = score(items) - score([item for item in items if item != cause["item_id"]])
        first = score([cause["item_id"]]) - score([])
        assert (last + first) / 2 == pytest.approx(cause["contribution"], abs=1e-4)


def test_without_reshapes_the_list(fitted: Recommender, toy: ToyShop) -> None:
    gardener = newcomer(toy, 0)
    both = gardener + newcomer(toy, 3)
    without = fitted.recommend({"x": both}, n=5, without=gardener)
    found = toy.department[toy.catalog.rows([row.item_id for row in without])]
    assert (found == 3).mean() >= 0.8
    everything = {row.item_id for row in fitted.recommend({"x": both}, n=len(toy.catalog), without=gardener)}
    assert everything == set(toy.catalog.item_ids) - set(both), "what the user has stays excluded, and nothing else"


def test_filters_and_diversity(fitted: Recommender, toy: ToyShop) -> None:
    only = fitted.recommend({"x": ["i0"]}, n=5, filters={"title": ["garden thing number 3", "nothing"]})
    assert [row.item_id for row in only] == ["i3"]
    plain, varied = (fitted.recommend({"x": newcomer(toy, 0)}, n=6, diversity=d) for d in (0.0, 0.9))
    spread = [len(set(toy.department[toy.catalog.rows([row.item_id for row in recs])])) for recs in (plain, varied)]
    assert spread[1] > spread[0]


def test_search_and_similar_items(fitted: Recommender) -> None:
    assert next(iter(fitted.search("garden thing number 5", n=1))).item_id == "i5"
    similar = fitted.similar_items(["i5"], n=3)
    assert "i5" not in {row.item_id for row in similar}
    with pytest.raises(DataError, match="empty"):
        fitted.search("  ")
    with pytest.raises(DataError, match="'gone'"):
        fitted.similar_items(["gone"])


def test_an_item_without_words_is_found_by_no_search(tiny: Path, toy: ToyShop) -> None:
    bare = toy.catalog.frame.head(3).with_columns(
        item_id=pl.Series(["x1", "99", "B00XYZ"]), title=pl.lit(""), text=pl.lit("")
    )
    catalog = Catalog(pl.concat([toy.catalog.frame, bare]), toy.catalog.report)
    assert catalog.in_words.sum() == len(toy.catalog)
    rec = Recommender.from_catalog(catalog, config=config_for(tiny))
    everything = len(catalog)
    for text in ("garden thing", "thing number 7", "x1", "99", "nothing like it"):
        found = {row.item_id for row in rec.search(text, n=everything)}
        assert found == set(toy.catalog.item_ids)
    alone = Recommender.from_catalog(Catalog(bare, toy.catalog.report), config=config_for(tiny))
    assert len(alone.search("x1")) == 3, "where there are no words at all, ids are searched"


@pytest.mark.parametrize("wrong", ["neutral", {"domain": "neutral"}, 3, {}, 0])
def test_a_config_is_a_config(wrong) -> None:
    with pytest.raises(ConfigError, match="config"):
        Recommender(wrong)


def test_update_and_forget(tiny: Path, toy: ToyShop) -> None:
    rec = Recommender(config_for(tiny, adaptation=None)).fit(toy.catalog, toy.events)
    rec.update(Interactions.from_frame(pl.DataFrame({"user_id": ["late"], "item_id": ["i0"], "timestamp": [10**9]})))
    assert next(iter(rec.recommend(["late"], n=1, explain=True))).reason_code != "cold_start"
    rec.forget(["late"])
    assert next(iter(rec.recommend(["late"], n=1, explain=True))).reason_code == "cold_start"
    with pytest.raises(ConfigError, match="no adaptation"):
        rec.adapt(["late"])


def test_a_catalog_without_events(tiny: Path, toy: ToyShop) -> None:
    rec = Recommender.from_catalog(toy.catalog, config=config_for(tiny))
    items = newcomer(toy, 2)
    expected = [row.item_id for row in rec.similar_items(items[:1], n=5)]
    assert [row.item_id for row in rec.recommend({"x": items[:1]}, n=5)] == expected
    assert len(rec.recommend({"x": []}, n=3)) == 3
    with pytest.raises(ArtifactError, match="there is no shop prior 'universal'"):
        Recommender.from_catalog(toy.catalog, adapter="universal")


def test_ratings_are_understood(tiny: Path) -> None:
    shop = toy_shop(users=40)
    rng = np.random.default_rng(0)
    rated = shop.events.frame.with_columns(pl.Series("rating", rng.integers(1, 6, len(shop.events))))
    rec = Recommender(config_for(tiny)).fit(shop.catalog, Interactions.from_frame(rated))
    assert rec.model.feedback.liked_from == 4
    assert "liked" in rec.model.channels.names
    one = {"x": [{"item_id": "i0", "timestamp": 1, "rating": 5}]}
    other = {"x": [{"item_id": "i0", "timestamp": 1, "rating": 1}]}
    assert not np.allclose(rec.score(one, ["i1", "i20"]), rec.score(other, ["i1", "i20"]))


@pytest.mark.parametrize("users", [1, 2, 5])
def test_hardly_any_users(tiny: Path, users: int) -> None:
    shop = toy_shop(users=users)
    rec = Recommender(config_for(tiny)).fit(shop.catalog, shop.events)
    assert len(rec.recommend({"x": ["i0"]}, n=4)) == 4


def test_errors_say_what_to_do(tiny: Path, toy: ToyShop, fitted: Recommender) -> None:
    with pytest.raises(NotFittedError, match="call fit"):
        Recommender().recommend({"x": ["i0"]})
    strangers = Interactions.from_mapping({"x": ["never", "heard"]})
    with pytest.raises(DataError, match="same item ids"):
        Recommender(config_for(tiny)).fit(toy.catalog, strangers)
    with pytest.raises(ConfigError, match="at least 1"):
        fitted.recommend({"x": ["i0"]}, n=0)
    with pytest.raises(ConfigError, match="domain 'shop' is unknown"):
        Recommender(RecommenderConfig(domain="shop"))
    with pytest.raises(DataError, match="users are"):
        fitted.recommend([["i0", "i1"]])


def test_the_half_life_is_chosen_by_validation(tiny: Path) -> None:
    """Half of the log long ago, the other half of late, with other items: what is recent serves newcomers."""
    rows = []
    for user in range(200):
        late = user % 2
        items = np.random.default_rng(user).permutation(20)[:6] + 20 * late
        rows += [(f"u{user}", f"i{item}", 10**6 * late + 100 * user + at) for at, item in enumerate(items.tolist())]
    events = Interactions.from_frame(pl.DataFrame(rows, ["user_id", "item_id", "timestamp"], orient="row"))
    catalog = Catalog.from_frame(pl.DataFrame({"item_id": [f"i{row}" for row in range(40)], "title": "garden thing"}))
    config = config_for(tiny, adaptation=None)
    rec = Recommender(config).fit(catalog, events, options=TrainOptions(seed=0))
    assert rec.report.chosen["half-life"] in config.retrieval.half_lives
    nobody = rec.recommend({"nobody": []}, n=10)
    late_items = {f"i{row}" for row in range(20, 40)}
    assert np.mean([row.item_id in late_items for row in nobody]) >= 0.9

"""A saved recommender: what was fitted is kept, and what was changed since is refused before it is used.

Every damaged folder here is signed again, so that only the checks of the contents stand between it and a crash.
"""

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from safetensors.numpy import load, save

from recllm.adaptation.adapters import Adapters
from recllm.adaptation.meta import AdaptationConfig
from recllm.artifact import rows
from recllm.artifact.manifest import sealed
from recllm.artifact.tables import pack_table, unpack_table
from recllm.data.catalog import Catalog
from recllm.data.interactions import Interactions
from recllm.encoders.config import BaseTrainingConfig
from recllm.errors import ArtifactError, BackboneError
from recllm.model.fit import stages
from recllm.model.storage import _plain, _report
from recllm.options import TrainOptions
from recllm.recommender import Recommender
from recllm.testing import DEPARTMENTS, ToyShop, tiny_backbone
from tests.small import config_for

QUICK = BaseTrainingConfig(steps=4, batch_users=16, validate_every=2)


@pytest.fixture(scope="module")
def model(tiny: Path, toy: ToyShop, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with everything in it that a folder can have, but a text adapter."""
    both = AdaptationConfig(places=("head", "history"), epochs=0, inner_learning_rate=0.5)
    rated = toy.events.frame.with_columns(
        pl.Series("rating", np.arange(len(toy.events)) % 5 + 1, dtype=pl.Float32),
        pl.Series("event", ["view", "buy"] * (len(toy.events) // 2)),
    )
    catalog = Catalog(toy.catalog.frame.with_columns(pl.Series("price", range(48))), toy.catalog.report)
    rec = Recommender(config_for(tiny, training=QUICK, adaptation=both)).fit(catalog, Interactions.from_frame(rated))
    folder = tmp_path_factory.mktemp("saved") / "model"
    rec.save(folder)
    return folder


def sign(folder: Path) -> None:
    body = json.loads((folder / "manifest.json").read_bytes())
    body.pop("checksum")
    for name in body["files"]:
        content = (folder / name).read_bytes()
        body["files"][name] = {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    (folder / "manifest.json").write_bytes(sealed(body))


def put(place: int | tuple[int, ...], value: float) -> Callable[[np.ndarray], np.ndarray]:
    def change(array: np.ndarray) -> np.ndarray:
        array.flat[place if isinstance(place, int) else 0] = value
        return array

    return change


ARRAYS: list[tuple[str, str, Callable[[np.ndarray], np.ndarray | None]]] = [
    ("channels", "cooccurrence.indices", put(5, 48)),
    ("channels", "cooccurrence.indices", put(5, -1)),
    ("channels", "next_liked.indices", put(0, 2**31 - 1)),
    ("channels", "next_liked.indptr", put(3, 10**9)),
    ("channels", "cooccurrence.indptr", lambda array: np.concatenate([array[:5], array[4:5] - 1, array[6:]])),
    ("channels", "cooccurrence.indptr", put(0, 1)),
    ("channels", "cooccurrence.indptr", lambda array: array[:-1]),
    ("channels", "cooccurrence.data", put(3, np.nan)),
    ("channels", "cooccurrence.data", put(3, 3e38)),
    ("channels", "cooccurrence.data", lambda array: array[:-1]),
    ("channels", "liked.decay", put(0, np.nan)),
    ("channels", "popularity", put(0, -2)),
    ("channels", "popularity", put(0, np.inf)),
    ("channels", "popularity", lambda array: array.astype(np.float64)),
    ("channels", "trend.ends", lambda array: array[::-1]),
    ("channels", "trend.ends", put(0, np.nan)),
    ("channels", "trend.ends", lambda array: array[:0]),
    ("channels", "trend.counts", lambda array: array[:-1]),
    ("channels", "trend.total", put(1, -1)),
    ("channels", "trend.half_life", put(0, 0)),
    ("channels", "text_cooccurrence.sources", lambda array: array.T),
    ("channels", "text_cooccurrence.text_to_sources", put(0, np.inf)),
    ("encoder", "readout.weight", put(0, np.nan)),
    ("encoder", "readout.weight", lambda array: array.astype(np.int8)),
    ("encoder", "log_scale", put(0, 80)),
    ("encoder", "start", lambda array: array[:-1]),
    ("encoder", "start", lambda array: None),
    ("encoder", "blocks.embeddings.position_embeddings.weight", lambda array: np.zeros((0, 1 << 40), np.float32)),
    ("items", "delta", lambda array: array[:-1]),
    ("items", "delta", put(0, np.nan)),
    ("items", "warm", lambda array: array.astype(np.uint8)),
    ("items", "project.weight", lambda array: array[:, :-1]),
    ("head", "weights.bias", put(0, np.nan)),
    ("head", "hidden.weight", lambda array: array[:-1]),
    ("head", "output.weight", put(0, 1e30)),
    ("text", "vectors", put(0, np.nan)),
    ("text", "vectors", lambda array: array[:-1]),
    ("text", "matrix", lambda array: array * np.float32(1e20)),
    ("adaptation", "contrast_rows", put(0, 48)),
    ("adaptation", "contrast_rows", put(0, -1)),
    ("adaptation", "contrast_raised", lambda array: array[:-1]),
    ("adaptation", "gate", put(0, np.nan)),
    ("adaptation", "start_matrices.0", lambda array: array.T),
    ("adaptation", "step_sizes.0", lambda array: np.concatenate([array, array])),
    ("trained", "users", lambda array: array[:, :-1]),
]


def damaged(model: Path, place: Path) -> Path:
    shutil.copytree(model, place / "damaged")
    return place / "damaged"


@pytest.mark.parametrize(("group", "name", "change"), ARRAYS, ids=lambda value: value if isinstance(value, str) else "")
def test_an_array_that_is_out_of_order_is_refused(
    model: Path, tmp_path: Path, group: str, name: str, change: Callable[[np.ndarray], np.ndarray | None]
) -> None:
    folder = damaged(model, tmp_path)
    file = folder / f"{group}.safetensors"
    arrays = load(file.read_bytes())
    changed = change(arrays.pop(name).copy())
    more = {} if changed is None else {name: np.asarray(changed, order="C")}
    file.write_bytes(save(arrays | more))
    sign(folder)
    with pytest.raises(ArtifactError, match="does not hold a recommender this version can read"):
        Recommender.load(folder)


def test_an_array_too_many_is_refused(model: Path, tmp_path: Path) -> None:
    for group in ("channels", "encoder", "items", "head", "text", "adaptation"):
        folder = damaged(model, tmp_path)
        file = folder / f"{group}.safetensors"
        file.write_bytes(save(load(file.read_bytes()) | {"more": np.zeros(1, np.float32)}))
        sign(folder)
        with pytest.raises(ArtifactError, match="'more', which does not belong there"):
            Recommender.load(folder)
        shutil.rmtree(folder)


DOCUMENTS: list[tuple[str, tuple[str, ...], Any]] = [
    ("blocks", ("num_hidden_layers",), 10**5),
    ("blocks", ("num_hidden_layers",), 2),
    ("blocks", ("hidden_size",), 10**9),
    ("blocks", ("intermediate_size",), 10**12),
    ("blocks", ("max_position_embeddings",), 10**9),
    ("blocks", ("model_type",), "none such"),
    ("blocks", ("model_type",), "llama"),
    ("blocks", ("dtype",), "float16"),
    ("blocks", ("hidden_act",), 3),
    ("config", ("history", "max_events"), -1),
    ("config", ("history", "delta_bound"), "x"),
    ("config", ("ranking", "hidden"), 10**9),
    ("config", ("adaptation", "lora_rank"), 10**9),
    ("config", ("adaptation", "inner_steps"), 10**9),
    ("config", ("adaptation",), None),
    ("config", ("text",), []),
    ("feedback", ("event_names",), ["a"] * 27),
    ("feedback", ("event_names",), []),
    ("feedback", ("scale",), [5, 1]),
    ("events", ("timed",), "yes"),
    ("report", ("figures",), {"ranking": "good"}),
    ("report", ("more",), {}),
    ("report", ("curves",), {"base": [[1, 2]]}),
    ("run", ("seed",), "0"),
    ("run", ("trained_until",), None),
    ("run", ("fingerprint",), "0" * 64),
    ("run", ("backbone",), 3),
]


@pytest.mark.parametrize(("name", "path", "value"), DOCUMENTS, ids=str)
def test_a_document_that_is_out_of_order_is_refused(
    model: Path, tmp_path: Path, name: str, path: tuple[str, ...], value: Any
) -> None:
    folder = damaged(model, tmp_path)
    document = holder = json.loads((folder / f"{name}.json").read_bytes())
    for part in path[:-1]:
        holder = holder[part]
    holder[path[-1]] = value
    (folder / f"{name}.json").write_text(json.dumps(document))
    sign(folder)
    with pytest.raises(ArtifactError, match="does not hold a recommender this version can read"):
        Recommender.load(folder)


@pytest.mark.parametrize("content", [b"NaN", b'{"seed": 1e999}', b"[" * 100_000, b"", b"\xff", b'{"a": Infinity}'])
def test_what_is_no_json_is_refused(model: Path, tmp_path: Path, content: bytes) -> None:
    folder = damaged(model, tmp_path)
    (folder / "run.json").write_bytes(content)
    sign(folder)
    with pytest.raises(ArtifactError, match="cannot be read although its hashes agree"):
        Recommender.load(folder)


def test_what_says_how_to_run_and_not_what_the_weights_are_has_no_say(model: Path, tmp_path: Path) -> None:
    """Transformers would fetch and run code that some of these name."""
    folder = damaged(model, tmp_path)
    settings = json.loads((folder / "blocks.json").read_bytes())
    settings |= {"_attn_implementation": "somebody/kernel", "attn_implementation": "somebody/kernel"}
    settings |= {"auto_map": {"AutoModel": "code.Model"}, "quantization_config": {"quant_method": "x"}}
    (folder / "blocks.json").write_text(json.dumps(settings))
    sign(folder)
    users = {"x": ["i1"]}
    np.testing.assert_array_equal(
        Recommender.load(folder).score(users, ["i2"]), Recommender.load(model).score(users, ["i2"])
    )


TABLES: list[tuple[str, Callable[[pl.DataFrame], pl.DataFrame]]] = [
    ("events", lambda frame: frame.with_columns(user=frame["user"] + 80)),
    ("events", lambda frame: frame.with_columns(user=-frame["user"])),
    ("events", lambda frame: frame.with_columns(item=pl.lit(48, pl.Int32))),
    ("events", lambda frame: frame.with_columns(pl.lit(None, pl.Int32).alias("item"))),
    ("events", lambda frame: frame.with_columns(pl.lit(float("nan")).alias("timestamp"))),
    ("events", lambda frame: frame.with_columns(pl.lit(-1.0).alias("timestamp"))),
    ("events", lambda frame: frame.with_columns(pl.lit(float("inf"), pl.Float32).alias("rating"))),
    ("events", lambda frame: frame.with_columns(frame["rating"].cast(pl.Float64))),
    ("events", lambda frame: frame.drop("timestamp")),
    ("events", lambda frame: frame.with_columns(pl.lit(0).alias("more"))),
    ("users", lambda frame: frame.head(3)),
    ("users", lambda frame: pl.concat([frame, frame])),
    ("users", lambda frame: frame.rename({"user_id": "id"})),
    ("users", lambda frame: frame.with_row_index("user_id2").select(pl.col("user_id2").alias("user_id"))),
    ("catalog", lambda frame: frame.head(20)),
    ("catalog", lambda frame: frame.with_columns(pl.lit("i0").alias("item_id"))),
    ("catalog", lambda frame: frame.with_columns(pl.lit(None, pl.String).alias("title"))),
    ("catalog", lambda frame: frame.drop("categories")),
    ("catalog", lambda frame: frame.clear()),
]


@pytest.mark.parametrize(("name", "change"), TABLES, ids=lambda value: value if isinstance(value, str) else "")
def test_a_table_that_is_out_of_order_is_refused(
    model: Path, tmp_path: Path, name: str, change: Callable[[pl.DataFrame], pl.DataFrame]
) -> None:
    folder = damaged(model, tmp_path)
    file = folder / f"{name}.arrow"
    file.write_bytes(pack_table(change(unpack_table(file.read_bytes()))))
    sign(folder)
    with pytest.raises(ArtifactError, match="does not hold a recommender this version can read"):
        Recommender.load(folder)


def test_parts_of_two_models_are_no_model(model: Path, tiny: Path, toy: ToyShop, tmp_path: Path) -> None:
    folder = damaged(model, tmp_path)
    arrays = load((folder / "encoder.safetensors").read_bytes())
    (folder / "encoder.safetensors").write_bytes(save({name: array.copy() for name, array in arrays.items()}))
    sign(folder)
    Recommender.load(folder)  # the same weights
    arrays["readout.bias"] = arrays["readout.bias"] + np.float32(0.01)
    (folder / "encoder.safetensors").write_bytes(save(arrays))
    sign(folder)
    with pytest.raises(ArtifactError, match="not those of one model"):
        Recommender.load(folder)


# --- what was fitted is kept -------------------------------------------------------------------------------------


def test_a_loaded_model_is_saved_again_as_it_was(model: Path, tmp_path: Path) -> None:
    Recommender.load(model).save(tmp_path / "again")
    for file in model.iterdir():
        assert file.read_bytes() == (tmp_path / "again" / file.name).read_bytes(), file.name


@pytest.mark.parametrize("events", [[0], [1], [1, 1], [5], [2, 1, 1, 1, 1, 1, 1, 1], [1] * 30])
def test_shops_where_nearly_everybody_bought_once_are_kept(
    tiny: Path, toy: ToyShop, tmp_path: Path, events: list[int]
) -> None:
    """Figures of users held out are NaN where nobody was; that is no reason to lose what was learned."""
    rows = [
        (f"u{user}", f"i{(user + k) % 48}", 10**9 + k) for user, count in enumerate(events) for k in range(count or 1)
    ]
    catalog = toy.catalog if events != [0] else Catalog(toy.catalog.frame.head(1), toy.catalog.report)
    log = Interactions.from_frame(pl.DataFrame(rows, ["user_id", "item_id", "timestamp"], orient="row"))
    rec = Recommender(config_for(tiny, training=QUICK)).fit(catalog, log)
    rec.save(tmp_path / "model")
    again = Recommender.load(tmp_path / "model")
    users = {"x": [catalog.item_ids[-1]], "nobody": []}
    np.testing.assert_array_equal(again.score(users, catalog.item_ids), rec.score(users, catalog.item_ids))
    assert np.isfinite(again.score(users, catalog.item_ids)).all()
    assert json.dumps(_plain(again.report.figures)) == json.dumps(_plain(rec.report.figures))


def test_figures_that_could_not_be_measured_come_back_as_they_were(tiny: Path) -> None:
    from recllm.model.report import FitReport

    report = FitReport(
        counts={"users": 3},
        figures={"base": float("nan"), "ranking": 0.5, "odd": float("inf")},
        curves={"base": [(1, None, float("nan")), (2, 0.5, 0.25)]},
        seconds={"base": 1.0},
        chosen={"λ": np.float64(3), "count": np.int64(2), "other": object},
    )
    loaded = _report(json.loads(json.dumps(_plain(vars(report)), allow_nan=False)))
    assert np.isnan(loaded.figures["base"])
    assert np.isnan(loaded.figures["odd"])
    assert loaded.figures["ranking"] == 0.5
    assert loaded.curves["base"][1] == (2, 0.5, 0.25)
    assert loaded.curves["base"][0][:2] == (1, None)
    assert (loaded.chosen["λ"], loaded.chosen["count"]) == (3, 2)


def test_what_could_not_be_saved_is_refused_before_training(
    tiny: Path, toy: ToyShop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def trained(*_: object) -> None:
        raise AssertionError("training has begun")

    monkeypatch.setattr(stages, "fit_stages", trained)
    big = toy.catalog.frame.with_columns(pl.lit(2**100, pl.Int128).alias("big"))
    with pytest.raises(ArtifactError, match="the catalog could not be saved: column 'big' of type Int128"):
        Recommender(config_for(tiny)).fit(Catalog(big, toy.catalog.report), toy.events)
    (tmp_path / "file").touch()
    options = TrainOptions(checkpoint=tmp_path / "file" / "state")
    with pytest.raises(ArtifactError, match="cannot save to"):
        Recommender(config_for(tiny)).fit(toy.catalog, toy.events, options=options)


# --- the backbone ------------------------------------------------------------------------------------------------


def test_a_backbone_may_move_and_may_not_change(toy: ToyShop, tmp_path: Path) -> None:
    words = ["thing number", *DEPARTMENTS, *map(str, range(60))]
    here = tiny_backbone(tmp_path / "here", words)
    rec = Recommender(config_for(here, training=QUICK)).fit(toy.catalog, toy.events)
    rec.save(tmp_path / "model")
    found = [row.item_id for row in rec.search("garden thing", n=5)]

    moved = tmp_path / "moved"
    here.rename(moved)
    lost = Recommender.load(tmp_path / "model")
    assert len(lost.recommend({"x": ["i0"]}, n=3)) == 3, "nothing but new texts needs it"
    with pytest.raises(BackboneError, match=r"load\(folder, backbone=…\)"):
        lost.search("garden thing")
    told = Recommender.load(tmp_path / "model", backbone=moved)
    assert [row.item_id for row in told.search("garden thing", n=5)] == found
    told.save(tmp_path / "again")
    assert [row.item_id for row in Recommender.load(tmp_path / "again").search("garden thing", n=5)] == found

    tiny_backbone(tmp_path / "other", words, seed=1).rename(here)  # other weights where the first ones were
    other = Recommender.load(tmp_path / "model")
    new = Catalog.from_frame(pl.DataFrame({"item_id": ["new"], "title": ["garden thing"]}))
    for ask in (lambda: other.search("garden thing"), lambda: other.add_items(new)):
        with pytest.raises(BackboneError, match="other weights than the one that this recommender was fitted with"):
            ask()
    assert len(other.recommend({"x": ["i0"]}, n=3)) == 3


# --- adapters ----------------------------------------------------------------------------------------------------


def test_adapters_that_are_out_of_order_are_refused(model: Path, tmp_path: Path) -> None:
    rec, file = Recommender.load(model), tmp_path / "a.safetensors"
    rec.adapt({"a": ["i0", "i1"], "b": ["i2"], "c": []}).save(file)
    content = file.read_bytes()
    header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])["__metadata__"]
    arrays, about = load(content), json.loads(header["about"])
    assert set(Adapters.load(file, rec).user_ids) == {"a", "b", "c"}
    (name, *_) = [name for name in arrays if name.startswith("lora.")]
    users, events = (unpack_table(arrays[table].tobytes()) for table in ("users", "events"))

    def bytes_of(frame: pl.DataFrame) -> np.ndarray:
        return np.frombuffer(pack_table(frame), np.uint8)

    odd: list[tuple[dict[str, np.ndarray], dict[str, Any]]] = [
        ({name: arrays[name][:-1]}, {}),
        ({name: arrays[name].astype(np.float32)}, {}),
        ({name: np.full_like(arrays[name], np.nan)}, {}),
        ({name: np.full_like(arrays[name], np.inf)}, {}),
        ({"lora.more": arrays[name]}, {}),
        ({"users": arrays["users"][:-9]}, {}),
        ({"users": bytes_of(pl.concat([users, users]))}, {}),
        ({"events": bytes_of(events.with_columns(user=events["user"] + 3))}, {}),
        ({"events": bytes_of(events.with_columns(item=events["item"] - 1))}, {}),
        ({"events": bytes_of(events.with_columns(pl.lit(float("nan")).alias("timestamp")))}, {}),
        ({"events": arrays["users"]}, {}),
        ({}, {"base": 3}),
        ({}, {"steps": -1}),
        ({}, {"steps": 10**9}),
        ({}, {"timed": None}),
    ]
    for changed, said in odd:
        file.write_bytes(save(arrays | changed, {**header, "about": json.dumps(about | said)}))
        with pytest.raises(ArtifactError, match="damaged"):
            Adapters.load(file, rec)
    file.write_bytes(save(arrays, {**header, "format": "recllm-adapters-1"}))
    with pytest.raises(ArtifactError, match="another version's format"):
        Adapters.load(file, rec)
    for length in (0, 7, 8, 100, len(content) - 1):
        file.write_bytes(content[:length])
        with pytest.raises(ArtifactError, match="damaged"):
            Adapters.load(file, rec)
    with pytest.raises(ArtifactError, match="damaged"):
        Adapters.load(Path("/dev/zero"), rec)


def test_adapters_of_nobody_are_kept(model: Path, tmp_path: Path) -> None:
    rec = Recommender.load(model)
    adapters = rec.adapt({"a": ["i0"]})
    adapters.forget(["a"])
    adapters.save(tmp_path / "a.safetensors")
    again = Adapters.load(tmp_path / "a.safetensors", rec)
    assert len(again) == 0
    assert len(again.update({"b": ["i1"]})) == 1


def test_large_vectors_of_texts_stay_in_their_file(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rec = Recommender.load(model)
    rec.save(tmp_path / "model")
    monkeypatch.setattr(rows, "HELD", 0)
    again = Recommender.load(tmp_path / "model")
    assert isinstance(again.model.text.parts[0], rows.FilePart)
    assert again.model.digest() == rec.model.digest()
    fresh = [{"item_id": "new", "title": "garden thing"}]
    again.add_items(fresh)
    again.save(tmp_path / "model")
    assert Recommender.load(tmp_path / "model").model.digest() == again.model.digest()

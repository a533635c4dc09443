"""Fine-tuning on catalog text: what it learns, when it is kept, and how it is kept."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import polars as pl
import pytest
from scipy import sparse

import recllm
from recllm.data.feedback import Feedback
from recllm.data.histories import make_histories
from recllm.data.tasks import make_tasks
from recllm.encoders.config import BaseTrainingConfig
from recllm.encoders.finetuning.adapter import TextAdapter
from recllm.encoders.finetuning.config import FinetuneConfig
from recllm.encoders.finetuning.figures import TextFigures, pays_off, restricted
from recllm.encoders.finetuning.pairs import Material, liked_together
from recllm.encoders.finetuning.tuner import TextTuner
from recllm.encoders.text import TextEncoder, TextEncoderConfig
from recllm.errors import AdapterMismatch, ConfigError
from recllm.model.config import RecommenderConfig
from recllm.model.fit.run import FitRun
from recllm.options import TrainOptions
from recllm.prompting.template import load_prompt
from recllm.testing import tiny_backbone

CODES, NOISE = 16, 24
TUNING = FinetuneConfig(
    pairs=4000, epochs=60, batch_pairs=32, learning_rate=1e-2, lora_rank=8, scale=5.0, neighbours=10, titles=0.0
)


def code_world(users: int = 300, items: int = 120, seed: int = 0, random: bool = False) -> Any:
    """A shop whose texts hold one code word among nine that say nothing; people keep to two codes that go together.

    Code 0 goes with 1, 2 with 3, and so on: no text says so, only what people take together.
    """
    rng = np.random.default_rng(seed)
    code = np.arange(items) % CODES
    words = [[f"noise{word}" for word in rng.integers(0, NOISE, 5)] for _ in range(items)]
    titles = [" ".join([*some[:3], f"code{c}", *some[3:]]) for some, c in zip(words, code, strict=True)]
    catalog = recllm.Catalog.from_frame(pl.DataFrame({"item_id": [f"i{i}" for i in range(items)], "title": titles}))
    rows = []
    for user in range(users):
        inside = np.flatnonzero(code // 2 == user % (CODES // 2))
        chosen = rng.permutation(items if random else inside)[:12]
        rows += [(f"u{user}", f"i{item}", 1_600_000_000 + 3600 * t) for t, item in enumerate(chosen.tolist())]
    log = pl.DataFrame(rows, schema=["user_id", "item_id", "timestamp"], orient="row")
    return SimpleNamespace(catalog=catalog, events=recllm.Interactions.from_frame(log), code=code)


@pytest.fixture(scope="module")
def backbone(tmp_path_factory: pytest.TempPathFactory) -> str:
    words = [*(f"code{c}" for c in range(CODES)), *(f"noise{w}" for w in range(NOISE))]
    return str(tiny_backbone(tmp_path_factory.mktemp("codes"), words))


def settings(backbone: str, **changes: Any) -> RecommenderConfig:
    text = TextEncoderConfig(backbone=backbone, max_tokens=16)
    return replace(RecommenderConfig(text=text, finetune="lora", finetuning=TUNING, adaptation=None), **changes)


def tuner_of(world: Any, config: RecommenderConfig, **options: Any) -> TextTuner:
    run = FitRun(config, world.catalog, world.events, TrainOptions(seed=0, device="cpu", **options))
    encoder = TextEncoder(config.text)
    return TextTuner(encoder, world.catalog, run.base, run.validation, config.finetuning, run.options)


@pytest.fixture(scope="module")
def tuned(backbone: str) -> Any:
    world = code_world()
    tuner = tuner_of(world, settings(backbone))
    return SimpleNamespace(world=world, tuner=tuner, result=tuner.run())


def test_held_out_items_move_to_those_they_go_with(tuned: Any) -> None:
    result, code = tuned.result, tuned.world.code
    assert result is not None, tuned.tuner.log.verdict
    assert tuned.tuner.log.verdict.startswith("fine-tuned at ")
    frozen = tuned.tuner.encoder.encode_catalog(tuned.world.catalog)
    rows, held_out = result.rows, result.held_out
    assert held_out.any()

    def share_of_partners(vectors: np.ndarray) -> float:
        """Of the ten nearest items in a pair, those with the other code: a sixteenth by chance."""
        similarity = vectors[held_out] @ vectors[~held_out].T
        nearest = code[rows][~held_out][np.argsort(-similarity, axis=1)[:, :10]]
        return float((nearest == code[rows][held_out][:, None] ^ 1).mean())

    before = share_of_partners(result.whitening(frozen[rows]))
    after = share_of_partners(result.whitening(result.vectors))
    assert before < 0.2
    assert after > 0.3


def test_known_vectors_are_those_of_the_encoder_with_its_adapter(tuned: Any) -> None:
    encoder = TextEncoder(tuned.tuner.encoder.config, tuned.result.adapter)
    vectors = tuned.result.complete(encoder, tuned.world.catalog)
    np.testing.assert_allclose(vectors, encoder.encode_catalog(tuned.world.catalog), atol=1e-5)
    assert not np.allclose(vectors, tuned.tuner.encoder.encode_catalog(tuned.world.catalog), atol=1e-2)


def test_the_adapter_is_part_of_the_key_of_a_vector(tuned: Any) -> None:
    adapter, config = tuned.result.adapter, tuned.tuner.encoder.config
    changed = TextAdapter(adapter.config, {name: array * 2 for name, array in adapter.weights.items()})
    scaled = TextAdapter({**adapter.config, "lora_alpha": 1.0}, adapter.weights)
    keys = {TextEncoder(config, some).identity() for some in (None, adapter, changed, scaled)}
    assert len(keys) == 4


def test_half_an_adapter_moves_weights_half_the_way(tuned: Any) -> None:
    config, adapter = tuned.tuner.encoder.config, tuned.result.adapter
    state = {}
    for name, some in (("whole", adapter), ("half", adapter.scaled(0.5)), ("none", adapter.scaled(0.0))):
        transformer = TextEncoder(config, some).load().transformers_model
        for module in transformer.modules():
            if hasattr(module, "get_delta_weight"):
                state[name] = module.get_delta_weight("default").detach().numpy()
    assert np.abs(state["whole"]).max() > 0
    np.testing.assert_allclose(state["half"], state["whole"] / 2, rtol=1e-5)
    np.testing.assert_array_equal(state["none"], np.zeros_like(state["none"]))


def test_an_adapter_of_another_backbone_is_refused(tuned: Any, tmp_path: Path) -> None:
    other = tiny_backbone(tmp_path, ["code0"], kind="llama")
    with pytest.raises(AdapterMismatch, match="backbone"):
        TextEncoder(TextEncoderConfig(backbone=str(other)), tuned.result.adapter).load()


def test_same_seed_same_adapter(tuned: Any, backbone: str) -> None:
    again = tuner_of(tuned.world, settings(backbone)).run()
    assert again is not None
    assert again.adapter.digest() == tuned.result.adapter.digest()


@pytest.mark.slow
def test_nothing_is_kept_where_events_say_nothing(backbone: str) -> None:
    world = code_world(random=True)
    frozen = recllm.Recommender(settings(backbone, finetune="none", training=short()))
    chosen = recllm.Recommender(settings(backbone, training=short()))
    for rec in (frozen, chosen):
        rec.fit(world.catalog, world.events, options=TrainOptions(device="cpu"))
    assert "kept frozen: text alone on" in chosen.report.stopped["fine-tuning"]
    assert chosen.model.text_adapter is None
    np.testing.assert_array_equal(chosen.model.text, frozen.model.text)
    np.testing.assert_array_equal(
        chosen.score(["u0"], world.catalog.item_ids), frozen.score(["u0"], world.catalog.item_ids)
    )
    with pytest.raises(ConfigError, match="frozen"):
        chosen.export_text_adapter("nowhere")


def test_nothing_is_kept_that_does_not_pay(backbone: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where training has found a better state: the last word is that of the measurement."""
    monkeypatch.setattr("recllm.encoders.finetuning.tuner.pays_off", lambda frozen, tuned: (False, "not for sure"))
    tuner = tuner_of(code_world(), settings(backbone))
    assert tuner.run() is None
    assert max(value for step, _, value in tuner.log.points if step) > tuner.log.points[0][2]
    assert tuner.log.verdict == "kept frozen: not for sure"


def short() -> Any:
    return BaseTrainingConfig(steps=5, validate_every=5)


@pytest.fixture(scope="module")
def fitted(backbone: str) -> Any:
    world = code_world()
    rec = recllm.Recommender(settings(backbone, training=short()))
    return rec.fit(world.catalog, world.events, options=TrainOptions(device="cpu"))


def test_saved_and_loaded_it_reads_new_texts_as_before(fitted: Any, tmp_path: Path) -> None:
    fitted.save(tmp_path / "model")
    assert "fine-tuned at " in (tmp_path / "model" / "README.md").read_text()
    loaded = recllm.Recommender.load(tmp_path / "model")
    assert loaded.fingerprint == fitted.fingerprint
    assert (
        loaded.search("noise1 noise2 noise3 code0 noise4 noise5").to_json()
        == fitted.search("noise1 noise2 noise3 code0 noise4 noise5").to_json()
    )
    # The code that goes with code 0 is found, though no text says so; the frozen encoder does not find it.
    found = [
        int(row.title.split("code")[1].split()[0]) // 2
        for row in loaded.search("noise1 noise2 noise3 code0 noise4 noise5", n=12)
    ]
    assert np.mean(np.array(found) == 0) > 0.6
    fresh = recllm.Catalog.from_frame(pl.DataFrame({"item_id": ["new"], "title": ["noise1 code0 noise2"]}))
    vectors = [rec.add_items(fresh).model.text[-1] for rec in (loaded, recllm.Recommender.load(tmp_path / "model"))]
    np.testing.assert_array_equal(vectors[0], vectors[1])
    expected = TextEncoder(loaded.config.text, fitted.model.text_adapter).encode(["noise1 code0 noise2"])[0]
    assert vectors[0] == pytest.approx(expected, abs=1e-5)


def test_the_exported_adapter_loads_into_plain_sentence_transformers(
    fitted: Any, backbone: str, tmp_path: Path
) -> None:
    from sentence_transformers import SentenceTransformer

    fitted.export_text_adapter(tmp_path / "adapter")
    assert sorted(path.name for path in (tmp_path / "adapter").iterdir()) == [
        "README.md",
        "adapter_config.json",
        "adapter_model.safetensors",
    ]
    model = SentenceTransformer(backbone, device="cpu")
    texts = fitted.catalog.titles
    before = model.encode(texts, normalize_embeddings=True)
    model.load_adapter(str(tmp_path / "adapter"))
    vectors = model.encode(texts, normalize_embeddings=True)
    np.testing.assert_allclose(vectors, fitted.model.text, atol=1e-4)
    assert not np.allclose(before, fitted.model.text, atol=1e-2)


@pytest.mark.parametrize("looks_before", [0, 1])
def test_an_interruption_keeps_the_best_state_so_far(
    looks_before: int, backbone: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from recllm.encoders.finetuning import tuner as module

    tuner = tuner_of(code_world(), settings(backbone))
    offered = []
    offer = module._Looks.offer

    def interrupted(self: Any, vectors: np.ndarray, transformer: Any) -> Any:
        if len(offered) == looks_before:
            raise KeyboardInterrupt
        offered.append(vectors)
        return offer(self, vectors, transformer)

    monkeypatch.setattr(module._Looks, "offer", interrupted)
    result = tuner.run()
    assert tuner.log.stopped == "interrupted; the best state so far is kept"
    if looks_before == 0:
        assert result is None
        assert tuner.log.verdict.startswith("kept frozen")
    else:
        assert result is not None
        encoder = TextEncoder(tuner.encoder.config, result.adapter)
        vectors = encoder.encode_catalog(tuner.catalog)[result.rows]
        np.testing.assert_allclose(result.vectors, vectors, atol=1e-5)


def test_a_budget_cuts_it_and_progress_is_told(backbone: str) -> None:
    said: list[tuple[str, float]] = []

    def progress(stage: str, done: float, total: float, note: str = "") -> None:
        said.append((stage, done / total))

    config = settings(backbone, finetuning=replace(TUNING, pairs=10**7, epochs=10**5))
    tuner = tuner_of(code_world(), config, progress=progress)
    tuner.run(seconds=3.0)
    assert tuner.log.stopped == "the time budget"
    assert tuner.log.seconds < 10
    assert {stage for stage, _ in said} == {"learn the words"}
    shares = [share for _, share in said]
    assert shares == sorted(shares)
    assert shares[-1] == 1.0


@pytest.mark.parametrize("kind", ["bert", "llama"])
def test_last_blocks_do_what_the_whole_encoder_does(kind: Any, tmp_path: Path) -> None:
    from recllm.encoders.finetuning.last_blocks import Activations, LastBlocks

    texts = ["noise1 code0 noise2 noise3", "code1", "noise4 code3"]
    words = [f"code{c}" for c in range(CODES)] + [f"noise{w}" for w in range(NOISE)]
    encoder = TextEncoder(TextEncoderConfig(backbone=str(tiny_backbone(tmp_path, words, kind))))
    model = encoder.load()
    activations = Activations.compute(model, texts, 1)
    np.testing.assert_allclose(activations.vectors, encoder.encode(texts), atol=1e-5)
    assert activations.offsets.tolist() == [0, 4, 5, 7]
    last = LastBlocks(model.transformers_model, activations, texts, 1, most_tokens=4, seed=0).eval()
    features = last(last.preprocess(texts[::-1]))
    for module in list(model)[1:]:
        features = module(features)
    vectors = features["sentence_embedding"].detach().numpy()
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    np.testing.assert_allclose(vectors[::-1], activations.vectors, atol=1e-5)


def test_long_texts_are_sampled_while_training(backbone: str) -> None:
    from recllm.encoders.finetuning.last_blocks import Activations, LastBlocks

    text = " ".join(f"noise{w}" for w in range(12))
    model = TextEncoder(TextEncoderConfig(backbone=backbone)).load()
    activations = Activations.compute(model, [text], 1)
    last = LastBlocks(model.transformers_model, activations, [text], 1, most_tokens=6, seed=0).train()
    draws = [last.preprocess([text])["input_ids"][0].tolist() for _ in range(5)]
    assert all(len(draw) == 6 and draw[0] == 0 and draw[-1] == 11 and draw == sorted(set(draw)) for draw in draws)
    assert len({tuple(draw) for draw in draws}) > 1
    assert last.eval().preprocess([text])["input_ids"].shape == (1, 12)


def test_activations_stay_within_their_bounds(backbone: str) -> None:
    from recllm.encoders.finetuning.last_blocks import CHUNK, Activations

    model = TextEncoder(TextEncoderConfig(backbone=backbone)).load()
    texts = [f"noise{w % NOISE} code{w % CODES}" for w in range(4 * CHUNK)]
    per_chunk = CHUNK * 2 * 32 * 4
    assert len(Activations.compute(model, texts, 1, most_bytes=2.5 * per_chunk)) == 2 * CHUNK
    assert len(Activations.compute(model, texts, 1, seconds=0.0)) == CHUNK


def test_liked_together_is_not_what_is_popular() -> None:
    # Items 0 and 1 are liked by the same three people; everybody likes item 2; item 3 is liked once.
    likes = np.zeros((20, 4), dtype=np.float32)
    likes[:3, :2], likes[:, 2], likes[0, 3] = 1, 1, 1
    pairs = liked_together(sparse.csr_array(likes), neighbours=1)
    assert pairs.tolist() == [[0, 1], [1, 0], [2, 0]]


def test_only_training_users_likes_make_pairs_and_held_out_items_none(backbone: str) -> None:
    world = code_world()
    tuner = tuner_of(world, settings(backbone))
    material = Material.choose(world.catalog, tuner.encoder.prompt, tuner.histories, TUNING, tuner.rng)
    pairs = material.pairs(tuner.histories, TUNING, tuner.rng)
    kept_away = {text for text, held in zip(material.items, material.held_out, strict=True) if held}
    assert kept_away
    assert pairs
    assert not kept_away & {text for pair in pairs for text in pair}
    kind = dict(zip(material.items, world.code[material.rows] // 2, strict=True))
    assert all(kind[first] == kind[second] for first, second in pairs)
    assert not set(tuner.histories.user_ids) & set(tuner.validation.user_ids)


def test_titles_are_paired_with_their_texts_and_a_cut_takes_whole_pairs() -> None:
    world = code_world(items=40)
    frame = world.catalog.frame.with_columns(text=pl.concat_str(pl.lit("about "), pl.col("title")))
    catalog = recllm.Catalog.from_frame(frame.select("item_id", "title", "text"))
    histories = make_histories(world.events, catalog, Feedback(), seed=0)
    config = replace(TUNING, titles=0.01)
    rng = np.random.default_rng(0)
    material = Material.choose(catalog, load_prompt("item.neutral"), histories, config, rng)
    assert material.titles
    assert all(text in material.items and title in text for title, text in material.titles.items())
    assert set(material.titles.items()) <= set(material.pairs(histories, config, rng))
    cut = material.first(len(material.items) + 2)
    assert cut.items == material.items
    assert cut.titles == dict(list(material.titles.items())[:2])
    assert material.first(10).items == material.items[:10]
    assert not material.first(10).titles


def figures(recall: list[float], cold: list[float]) -> TextFigures:
    return TextFigures(np.array(recall), np.array(recall), np.array(cold), np.array(cold))


@pytest.mark.parametrize(
    ("recall", "cold", "pays"),
    [
        ([0.2, 0.3, 0.4, 0.5], [0.2, 0.2, np.nan, 0.2], True),
        ([0.2, 0.3, 0.4, 0.5], [0.1, 0.1, np.nan, 0.0], False),  # new items lose
        ([0.5, 0.3, 0.4, 0.1], [0.3, 0.3, np.nan, 0.3], False),  # too uncertain
        ([0.1, 0.2, 0.3, 0.4], [0.3, 0.3, np.nan, 0.3], False),  # no gain
    ],
)
def test_what_pays(recall: list[float], cold: list[float], pays: bool) -> None:
    frozen = figures([0.1, 0.2, 0.3, 0.4], [0.1, 0.1, np.nan, 0.1])
    assert pays_off(frozen, figures(recall, cold))[0] is pays


def test_recall_where_the_answer_is_known() -> None:
    # Ten kinds of six items at right angles; every user likes all of one kind, the two last of them in the query.
    kinds = np.repeat(np.arange(10), 6)
    ids = [f"i{item}" for item in range(60)]
    catalog = recllm.Catalog.from_frame(pl.DataFrame({"item_id": ids, "title": ids}))
    rows = [(f"u{kind}", f"i{item}", 100 + item) for item, kind in enumerate(kinds.tolist())]
    log = pl.DataFrame(rows, schema=["user_id", "item_id", "timestamp"], orient="row")
    histories = make_histories(recllm.Interactions.from_frame(log), catalog, Feedback(), seed=0)
    tasks = make_tasks(histories)
    vectors = np.eye(10, dtype=np.float32)[kinds]
    held_out = (np.arange(60) % 6 == 5) & (kinds < 3)
    right = TextFigures.measure(vectors, tasks, held_out)
    np.testing.assert_array_equal(right.recall, np.ones(10))
    # One candidate is looked at among the three held out; whoever likes none of them is not asked.
    np.testing.assert_array_equal(right.cold_recall, [1, 1, 1] + [np.nan] * 7)
    np.testing.assert_array_equal(right.cold_ndcg, [1, 1, 1] + [np.nan] * 7)
    query = np.arange(60) % 6 >= 4
    wrong = np.where(query[:, None], -vectors, vectors)
    np.testing.assert_array_equal(TextFigures.measure(wrong, tasks, held_out).recall, np.zeros(10))
    narrow = restricted(tasks, np.flatnonzero(kinds == 4), len(catalog))
    assert narrow.user_ids == ("u4",)
    assert narrow.query.item_rows.tolist() == [4, 5]


PROCESSES = """
import sys
from pathlib import Path

sys.path.insert(0, {here!r})
from test_finetuning import TUNING, code_world, settings, tuner_of

tuner = tuner_of(code_world(), settings({backbone!r}))
result = tuner.run()
assert result is not None, tuner.log.verdict
from accelerate import PartialState

state = PartialState()
assert state.num_processes == 2, state
Path({out!r}, f"{{state.process_index}}.txt").write_text(f"{{result.adapter.digest()}} {{tuner.log.points[-1][2]}}")
"""


@pytest.mark.slow
def test_two_processes_train_one_adapter(backbone: str, tuned: Any, tmp_path: Path) -> None:
    script = tmp_path / "train.py"
    here = str(Path(__file__).parent)
    script.write_text(PROCESSES.format(here=here, backbone=backbone, out=str(tmp_path)), encoding="utf-8")
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2", str(script)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-2000:]
    first, second = ((tmp_path / f"{rank}.txt").read_text().split() for rank in (0, 1))
    assert first == second
    assert first[0] != tuned.result.adapter.digest()
    assert float(first[1]) > tuned.tuner.log.points[0][2] + 0.05

"""Base training learns what it is shown, keeps its best state, and is the same every time."""

from pathlib import Path

import numpy as np
import pytest
import torch

from recllm.data.feedback import Feedback
from recllm.data.histories import Histories, make_histories
from recllm.data.tasks import make_tasks
from recllm.encoders.backbone import resolve_backbone
from recllm.encoders.config import BaseTrainingConfig
from recllm.encoders.history import HistoryEncoder, HistoryEncoderConfig, ItemEncoder
from recllm.encoders.schedule import Average, Schedule
from recllm.encoders.softmax import draw_candidates, softmax_loss
from recllm.encoders.text import TextEncoder, TextEncoderConfig, Whitening
from recllm.encoders.train import BaseTrainer
from recllm.encoders.windows import Predictions
from recllm.errors import ArtifactError, ConfigError
from recllm.options import TrainOptions
from recllm.testing import TINY_WIDTH, ToyShop

CONFIG = BaseTrainingConfig(steps=60, batch_users=32, validate_every=20, learning_rate=5e-3, delta_learning_rate=2e-2)


def trainer(tiny: Path, toy: ToyShop, config: BaseTrainingConfig = CONFIG, blocks: str = "pretrained") -> BaseTrainer:
    feedback = Feedback.infer(toy.events.frame)
    histories = make_histories(toy.events, toy.catalog, feedback)
    text = TextEncoder(TextEncoderConfig(backbone=str(tiny))).encode_catalog(toy.catalog)
    white = torch.from_numpy(Whitening.fit(text, 0.1)(text))
    torch.manual_seed(0)
    settings = HistoryEncoderConfig(max_events=8, blocks=blocks, width=TINY_WIDTH, lora_rank=4)  # type: ignore[arg-type]
    encoder = HistoryEncoder.build(resolve_backbone(str(tiny)), feedback.n_tokens, settings)
    items = ItemEncoder(white, torch.ones(len(toy.catalog), dtype=torch.bool), encoder.width, 1.0)
    train, validate = histories.of(np.arange(0, 60)), histories.of(np.arange(60, 80))
    return BaseTrainer(encoder, items, train, make_tasks(validate), config, TrainOptions(seed=0))


@pytest.mark.parametrize("blocks", ["pretrained", "full", "scratch"])
def test_training_learns_the_departments(tiny: Path, toy: ToyShop, blocks: str) -> None:
    run = trainer(tiny, toy, blocks=blocks)
    before = run.validate()
    log = run.run()
    assert log.best > before + 0.2
    assert log.best == pytest.approx(run.validate(), abs=1e-4), "the best state is the one that was kept"
    assert log.points[-1][1] < log.points[0][1]


def test_merging_the_shared_lora_leaves_a_plain_transformer(tiny: Path, toy: ToyShop) -> None:
    run = trainer(tiny, toy)
    run.run()
    assert type(run.encoder.blocks).__name__ == "BertModel"
    assert not [name for name, _ in run.encoder.named_parameters() if "lora" in name]


def test_same_seed_same_result(tiny: Path, toy: ToyShop) -> None:
    short = BaseTrainingConfig(steps=6, batch_users=16, validate_every=3)
    one, other = trainer(tiny, toy, short), trainer(tiny, toy, short)
    assert one.run().points == other.run().points
    torch.testing.assert_close(one.items.delta, other.items.delta, rtol=0, atol=0)


def test_a_plateau_brings_the_rate_down_and_ends(tiny: Path, toy: ToyShop) -> None:
    config = BaseTrainingConfig(steps=500, batch_users=8, validate_every=1, patience=3)
    run = trainer(tiny, toy, config)
    values = iter([0.1, 0.5, 0.4, 0.4, 0.3, *([0.2] * 10), 0.6, *([0.2] * 100)])
    run.validate = lambda: next(values)  # type: ignore[method-assign]
    log = run.run()
    assert "did not improve for 3 looks" in log.stopped
    assert log.best_step == 16, "the decay may still find a better state"
    assert len(log.points) == 5 + 20


def test_an_average_follows_and_smooths() -> None:
    parameter = torch.nn.Parameter(torch.zeros(2))
    average = Average([parameter])
    for step in range(1, 401):
        with torch.no_grad():
            parameter.copy_(torch.tensor([float(step), 10.0 + (-1) ** step]))
        average.update()
        if step == 1:
            assert average.mean[0].tolist() == parameter.tolist(), "the start is forgotten at once"
    follows, smooths = average.mean[0].tolist()
    assert follows == pytest.approx(400 * 2 / 3, rel=0.01), "weights grow with the step"
    assert smooths == pytest.approx(10, abs=0.02)
    with average.applied():
        assert parameter.tolist() == [follows, smooths]
    assert parameter.tolist() == [400, 11]


def test_a_schedule_warms_up_holds_and_decays() -> None:
    schedule = Schedule(steps=100, seconds=None, warmup=10)
    factors = [schedule.factor(step) for step in range(100)]
    assert factors[0] == pytest.approx(0.1)
    assert factors[20:70] == pytest.approx([1.0] * 50)
    assert factors[85] == pytest.approx(0.5)
    early = Schedule(steps=1000, seconds=None, warmup=10)
    early.decay(100)
    assert early.factor(100) == pytest.approx(1.0)
    assert early.factor(120) == pytest.approx(0.5)
    assert early.progress(140) == 1


def test_a_schedule_is_over_when_its_seconds_are() -> None:
    schedule = Schedule(steps=1000, seconds=100.0, warmup=1)
    assert schedule.progress(1) < 0.1
    schedule.begin -= 85
    assert schedule.progress(1) == pytest.approx(0.85, abs=0.01)
    assert schedule.factor(1) == pytest.approx(0.5, abs=0.02), "the rate is brought down in time"
    schedule.begin -= 15
    assert (schedule.progress(1), schedule.factor(1)) == (1, 0)


def test_the_budget_stops_and_validates(tiny: Path, toy: ToyShop) -> None:
    run = trainer(tiny, toy, BaseTrainingConfig(steps=100_000, validate_every=50_000))
    log = run.run(seconds=0.5)
    assert log.stopped == "the time budget"
    assert log.points, "a budget too short for a look still ends with one"


def test_ctrl_c_keeps_the_best_state(tiny: Path, toy: ToyShop) -> None:
    run = trainer(tiny, toy, BaseTrainingConfig(steps=40, batch_users=16, validate_every=5))
    step, taken = run.step, []

    def interrupted(*arguments: object) -> float:
        taken.append(1)
        if len(taken) == 23:
            raise KeyboardInterrupt
        return step(*arguments)  # type: ignore[arg-type]

    run.step = interrupted  # type: ignore[method-assign]
    log = run.run()
    assert "interrupted" in log.stopped
    assert log.best == pytest.approx(run.validate(), abs=1e-4)


@pytest.mark.parametrize("blocks", ["pretrained", "scratch"])
def test_a_run_that_was_stopped_goes_on_as_if_it_had_not_been(
    tiny: Path, toy: ToyShop, tmp_path: Path, blocks: str
) -> None:
    config = BaseTrainingConfig(steps=30, batch_users=16, validate_every=4, patience=2)
    whole = trainer(tiny, toy, config, blocks)
    log = whole.run()
    for stopped_at in (1, 14, 26):
        folder = tmp_path / f"{blocks} {stopped_at}"
        stopped = trainer(tiny, toy, config, blocks)
        stopped.options = TrainOptions(seed=0, checkpoint=folder)
        step, taken = stopped.step, []

        def interrupted(*arguments: object, step=step, taken=taken, at=stopped_at) -> float:  # type: ignore[no-untyped-def]
            taken.append(1)
            if len(taken) == at:
                raise KeyboardInterrupt
            return step(*arguments)  # type: ignore[no-any-return]

        stopped.step = interrupted  # type: ignore[method-assign]
        assert "interrupted" in stopped.run().stopped
        torch.rand(7)  # what happens in between does not matter
        resumed = trainer(tiny, toy, config, blocks)
        resumed.options = TrainOptions(seed=0, checkpoint=folder)
        again = resumed.run()
        assert (again.points, again.best_step, again.stopped) == (log.points, log.best_step, log.stopped)
        torch.testing.assert_close(resumed.items.delta, whole.items.delta, rtol=0, atol=0)
        torch.testing.assert_close(resumed.encoder.state_dict(), whole.encoder.state_dict(), rtol=0, atol=0)


def test_a_checkpoint_of_another_run_is_refused(tiny: Path, toy: ToyShop, tmp_path: Path) -> None:
    short = BaseTrainingConfig(steps=4, batch_users=16, validate_every=2)
    first = trainer(tiny, toy, short)
    first.options = TrainOptions(seed=0, checkpoint=tmp_path / "state")
    first.run()
    other = trainer(tiny, toy, short)
    other.options = TrainOptions(seed=1, checkpoint=tmp_path / "state")
    with pytest.raises(ArtifactError, match=r"another run.*delete this one"):
        other.run()


def test_a_checkpoint_that_cannot_be_one_is_refused_before_training(tiny: Path, toy: ToyShop, tmp_path: Path) -> None:
    file = tmp_path / "notes.txt"
    file.write_text("mine", encoding="utf-8")
    run = trainer(tiny, toy)
    run.options = TrainOptions(seed=0, checkpoint=file)
    with pytest.raises(ArtifactError, match=r"notes\.txt"):
        run.run()
    assert file.read_text(encoding="utf-8") == "mine"


def test_new_items_are_no_rivals_while_the_base_is_trained(
    tiny: Path, toy: ToyShop, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, drawn = trainer(tiny, toy, BaseTrainingConfig(steps=3, batch_users=8, validate_every=3)), []

    def remembered(*arguments: object) -> torch.Tensor:
        drawn.append(draw_candidates(*arguments))  # type: ignore[arg-type]
        return drawn[-1]

    monkeypatch.setattr("recllm.encoders.train.draw_candidates", remembered)
    warm = torch.arange(len(toy.catalog)) % 5 > 0
    histories = run.sampler.histories
    histories = histories.drop_events(warm.numpy()[histories.item_rows])
    items = ItemEncoder(run.items.text, warm, run.encoder.width, 1.0)
    for size in (6000, 10):
        config = BaseTrainingConfig(steps=3, batch_users=8, validate_every=3, softmax_items=size)
        BaseTrainer(run.encoder, items, histories, run.validation, config, TrainOptions(seed=0)).run()
    assert len(drawn) >= 6
    assert all(warm[candidates].all() for candidates in drawn)


def test_nothing_to_learn_from_is_no_crash(tiny: Path, toy: ToyShop) -> None:
    run = trainer(tiny, toy)
    empty = BaseTrainer(run.encoder, run.items, Histories.empty(3), run.validation, CONFIG, TrainOptions())
    assert "no training user" in empty.run().stopped


def test_the_softmax_estimates_the_full_one() -> None:
    generator = torch.Generator().manual_seed(0)
    items = torch.randn(2000, 4, generator=generator)
    states = torch.randn(50, 4, generator=generator)
    predictions = Predictions(
        torch.arange(50),
        torch.zeros(50, dtype=torch.long),
        torch.arange(50),
        torch.arange(50),
        torch.ones(50),
        np.zeros(50),
    )
    exact = softmax_loss(states, items, predictions, torch.arange(2000), 2000)
    reference = torch.nn.functional.cross_entropy(states @ items.T, torch.arange(50))
    torch.testing.assert_close(exact, reference)
    rng = np.random.default_rng(0)
    drawn = [draw_candidates(np.arange(2000), np.arange(50), 400, rng) for _ in range(30)]
    estimates = [float(softmax_loss(states, items, predictions, candidates, 2000)) for candidates in drawn]
    assert np.mean(estimates) == pytest.approx(float(exact), abs=0.05)


@pytest.mark.parametrize(("text", "seconds"), [("90s", 90), ("10m", 600), ("1.5h", 5400), (" 2 m ", 120)])
def test_budgets(text: str, seconds: float) -> None:
    assert TrainOptions(budget=text).budget_seconds() == seconds


@pytest.mark.parametrize("text", ["", "10", "m", "0s", "-3m", "ten minutes"])
def test_budgets_that_are_no_time(text: str) -> None:
    with pytest.raises(ConfigError, match="is not a time"):
        TrainOptions(budget=text)


def test_a_device_that_is_not_there() -> None:
    with pytest.raises(ConfigError, match="cannot be used here"):
        TrainOptions(device="cuda:7" if not torch.cuda.is_available() else "nonsense").torch_device()

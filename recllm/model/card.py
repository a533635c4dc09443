"""What a saved model says of itself, for people."""

import math

import numpy as np

from recllm.encoders.text import TextEncoder
from recllm.model.config import RecommenderConfig
from recllm.model.freshness import Freshness
from recllm.model.model import Model
from recllm.model.report import FitReport

__all__ = ["adapter_card", "card"]


def card(config: RecommenderConfig, model: Model, report: FitReport, freshness: Freshness | None = None) -> str:
    """What this model is, from what it was made, how good it was on users held out of training, and how fresh it is."""
    counts = "\n".join(f"- {name}: {value:,}" for name, value in report.counts.items())
    figures = "\n".join(f"| {name} | {_figure(value)} |" for name, value in report.figures.items())
    seconds = "\n".join(f"- {name}: {value:.0f} s" for name, value in report.seconds.items())
    notes = "\n".join(f"- {note}" for note in report.notes) or "Nothing out of the ordinary."
    stopped = "\n".join(f"- {name}: {reason}" for name, reason in report.stopped.items())
    fresh = "" if freshness is None else "\n".join(["", "## Freshness", _listed(freshness.at(None)), ""])
    curves = "\n\n".join(_curve(name, points) for name, points in report.curves.items())
    spoken = config.text.prompt if model.prompt is None else model.prompt.reference
    forgotten = "deletes their events and takes them out of these sums to the last bit"
    if config.privacy is not None:
        forgotten = "deletes their events; the sums, over which noise lies, stay until the next fit"
    return f"""# A recllm recommender

Items by text ({"fine-tuned" if model.text_adapter else "frozen"} `{config.text.backbone}`, prompt
`{spoken}`), histories by the first {config.history.depth} block(s) of the same transformer,
{_adaptation(model)}.

Users' adapters are functions of their own events. What is popular, what goes together and what follows what are sums
over users: forgetting one {forgotten}. Transformer, ranking
and adapters' start were shaped by all {report.counts.get("users", 0):,} training users and keep their part until the
next fit.

## Made from
{counts}

## NDCG@10 on users held out of training, mean over 1, 3, 5, 10 and 20 known events
| part | NDCG@10 |
|---|---|
{figures}

{_ranking(model)}{_privacy(config)}## To be known
{notes}
{fresh}
## Time
{seconds}

{stopped}

## Curves
{curves}
"""


BELIEVED_AT = 5
"""Known events, for which the card says how far each channel is believed."""


def _ranking(model: Model) -> str:
    """How far each channel is believed: by shops that look like this one, and by this one."""
    if model.own is None or model.own.start is None:
        return ""
    about = np.array([math.log1p(BELIEVED_AT) / 3, 0.0, 1.0])
    before, after = model.own.start @ about, (model.own.start + model.own.added) @ about
    rows = "\n".join(
        f"| {channel.words} | {start:+.2f} | {end:+.2f} |"
        for channel, start, end in zip(model.channels.fitted, before, after, strict=True)
    )
    return f"""## How it ranks
By {model.own}. The prior's linear weights for somebody with {BELIEVED_AT} known events:

| what is weighed | shops like this one | with the own step |
|---|---|---|
{rows}

"""


def _privacy(config: RecommenderConfig) -> str:
    """What noise covers, and what it does not; nothing where there is none."""
    privacy = config.privacy
    if privacy is None:
        return ""
    noise, bars = privacy.noise, privacy.bars
    return f"""## Privacy
What is counted of people is (ε = {privacy.epsilon:g}, δ = {privacy.delta:g})-differentially private for each
person with all their events, and so is whatever is made of these counts alone: popularity and how it changed, what is
taken and liked together, what follows what, and text vectors where they were fine-tuned. Of each person the newest
{privacy.events} events are counted, under Gaussian noise of standard deviation {noise["taken"]:.0f} (items) and
{noise["pairs.taken"]:.0f} (pairs); of pairs, those below {bars["pairs.taken"]:.0f} are left out.

Not covered: the transformer over histories and the ranking's weights, which were trained on events without noise;
settings, and whether fine-tuning was kept, which users held out have chosen; which items have events at all; how many
users and events there are, and when. This folder also holds hashes of the ids of all training users and, unless it was
fitted with keep_histories=False, their events. Events that come with `update` are remembered and not counted; every
further fit of the same people spends ε again.

"""


def _listed(freshness: Freshness) -> str:
    return "\n".join(f"- {line}" for line in str(freshness).splitlines())


def _adaptation(model: Model) -> str:
    if model.learner is None:
        return "no adaptation"
    if not model.learner.open:
        return "users' adapters not used, since they did not help users held out of training"
    return "users by LoRA adapters of their own"


def adapter_card(config: RecommenderConfig, report: FitReport, encoder: TextEncoder) -> str:
    """What a text adapter is, for the folder it is exported to."""
    backbone = config.text.backbone
    return f"""---
library_name: peft
tags: [sentence-transformers, lora, recommendation]
---
# A text adapter

LoRA on the last {config.finetuning.blocks} block(s) of the sentence encoder `{backbone}`, fine-tuned by recllm on
{report.counts.get("items", 0):,} items and the events of {report.counts.get("base users", 0):,} users: texts of items
that the same people like are near each other.

{report.stopped.get("fine-tuning", "")}

```python
from sentence_transformers import SentenceTransformer

model = SentenceTransformer("{backbone}")  # `minilm` is sentence-transformers/all-MiniLM-L6-v2
model.load_adapter("path/to/this/folder")
model.max_seq_length = {encoder.max_tokens}
```

Items are put into words by the prompt `{encoder.prompt.reference}`. The adapter was trained to be used with
whitening, whose statistics are in the recommender. It comes from {report.counts.get("events", 0):,} events and holds
no user's own data.
The backbone's licence applies.
"""


def _curve(name: str, points: list[tuple[int, float | None, float | None]]) -> str:
    lines = "\n".join(f"| {step} | {_figure(loss)} | {_figure(value)} |" for step, loss, value in points)
    return f"{name}\n\n| step | training loss | validation NDCG@10 |\n|---|---|---|\n{lines}"


def _figure(value: float | None) -> str:
    """Four digits, or a dash where nothing could be measured."""
    return "–" if value is None or not math.isfinite(value) else f"{value:.4f}"

"""The first stage: texts to vectors, by a text encoder that is fine-tuned where that is wanted and pays."""

import warnings
from collections.abc import Callable

from recllm.data.catalog import Catalog
from recllm.encoders.finetuning.pairs import Sums
from recllm.encoders.finetuning.tuner import TextTuner
from recllm.encoders.languages import foreign
from recllm.encoders.senses import Senses
from recllm.encoders.text import TextEncoder, Whitening, describe_items
from recllm.model.fit.comments import read_comments
from recllm.model.fit.run import FitRun, measured
from recllm.model.report import FitReport
from recllm.model.texts import ItemTexts
from recllm.options import TrainOptions

READING_SHARE = 0.5
"""Where texts take more of a budget than this, the report says so: reading them cannot be cut."""


FINETUNE_SHARE = 0.4
"""Part of the time that is left when fine-tuning begins."""


def fit_text(run: FitRun) -> tuple[TextEncoder, ItemTexts]:
    """The text encoder, fine-tuned where that is wanted and pays, and the items' texts as it reads them."""
    encoder = TextEncoder(run.config.text, prompt=run.prompt)
    mind_language(run.report, encoder, run.catalog)
    tuned = None
    if run.config.finetune == "lora":
        settings, options = run.config.finetuning, run.options
        tuner = TextTuner(encoder, run.catalog, run.base, run.validation, settings, options, known_of_people(run))
        tuned = tuner.run(run.share(FINETUNE_SHARE))
        run.report.curves["fine-tuning"] = measured(tuner.log.points)
        run.report.seconds["fine-tuning"] = tuner.log.seconds
        run.report.stopped["fine-tuning"] = tuner.log.verdict
        if tuned is None and run.small:
            run.reserve_nobody()
    begin = run.options.clock()
    device, progress = str(run.device), reading(run.options, run.report, run.left())
    workers = run.options.executor
    progress(0, 1)
    if tuned is None:
        text = encoder.encode_catalog(run.catalog, device=device, progress=progress, workers=workers)
        whitening = Whitening.fit(text[run.warm], run.config.text.shrinkage)
    else:
        encoder, whitening = TextEncoder(run.config.text, tuned.adapter, prompt=run.prompt), tuned.whitening
        text = tuned.complete(encoder, run.catalog, device=device, progress=progress, workers=workers)
    progress(1, 1)
    run.report.seconds["text"] = run.options.clock() - begin
    if run.device.type != "cpu":
        run.report.notes.append(
            f"texts were read and histories learned from on {device}; everything else ran on the CPU."
        )
    written = run.timed("comments", lambda: read_comments(run, encoder))
    senses = Senses.of(run.catalog, run.warm, run.config.text.shrinkage, written)
    read = (encoder.adapter, encoder.backbone.digest(), encoder.prompt)
    return encoder, ItemTexts(text, whitening, *read, senses, senses.white(run.catalog, written))


def known_of_people(run: FitRun) -> Sums | None:
    """What fine-tuning learns from where people's privacy is kept: sums with noise over them, and no events."""
    if run.config.privacy is None:
        return None
    # The sums that are served: learning from others, too, would tell of the same people twice.
    counts = run.everybody
    return Sums(counts.items.taken, counts.items.liked, counts.pairs.liked)


def mind_language(report: FitReport, encoder: TextEncoder, catalog: Catalog) -> None:
    """Warn of a catalog in a language that the backbone does not know."""
    note = foreign(encoder.backbone, describe_items(catalog, encoder.prompt))
    if note is not None:
        report.notes.append(note)
        warnings.warn(note, stacklevel=2)


def reading(options: TrainOptions, report: FitReport, left: float | None) -> Callable[[float, float], None]:
    """Tells how far reading the texts is; from the first ones on, it is known whether that fits into the time left."""
    begin, told = options.clock(), False

    def progress(done: float, total: float) -> None:
        nonlocal told
        seconds, note = (options.clock() - begin) * total / done if done else 0.0, ""
        if total > 1 and left is not None and seconds > READING_SHARE * max(left, 0.0):
            note = f"about {seconds:.0f} s, of {max(left, 0.0):.0f} s that are left of the budget"
            if not told:
                report.notes.append(
                    f"reading {total:,.0f} texts takes {note}, and cannot be cut; the other stages get what remains. "
                    "Vectors are kept, so that the next fit with these texts has all of its budget for learning."
                )
            told = True
        if options.progress is not None:
            options.progress("read the catalog", done, total, note)

    return progress

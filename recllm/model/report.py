"""What fitting saw and measured, for people and for the card."""

from dataclasses import dataclass, field
from typing import Any, final


@final
@dataclass
class FitReport:
    """What fitting saw and measured; part of the card.

    Attributes:
        counts: Users, items and events, and how users were divided.
        figures: Validation NDCG@10 (mean over 1, 3, 5, 10 and 20 events) after each stage.
        curves: Training and validation figures over the steps of each stage.
        seconds: Time of each stage.
        stopped: Why each training stage ended.
        chosen: Settings that were chosen on users held out, and by whom newcomers are served.
        ageing: How lists of counts that stand still fall behind: (weeks, their NDCG@10 on users held out, that of
            renewed counts, tasks).
        notes: What whoever relies on the fit should know: what could not be measured or learned and why, where the
            time went, and figures that a simpler ranking beats.
    """

    counts: dict[str, int] = field(default_factory=dict)
    figures: dict[str, float] = field(default_factory=dict)
    curves: dict[str, list[tuple[int, float | None, float | None]]] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    stopped: dict[str, str] = field(default_factory=dict)
    chosen: dict[str, Any] = field(default_factory=dict)
    ageing: list[tuple[float, float, float, int]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        lines = [", ".join(f"{count:,} {name}" for name, count in self.counts.items()) or "nothing was learned"]
        figures = ", ".join(f"{name} {value:.4f}" for name, value in self.figures.items())
        lines += [f"NDCG@10 on users held out of training: {figures}"] if figures else []
        lines += [f"{stage}: {reason}" for stage, reason in self.stopped.items()]
        lines += [f"{name}: {value}" for name, value in self.chosen.items()]
        if self.seconds:
            lines.append("seconds: " + ", ".join(f"{stage} {seconds:.1f}" for stage, seconds in self.seconds.items()))
        return "\n  ".join(lines + [f"note: {note}" for note in self.notes])

"""What people set about base training; apart from the training itself, which serving does not load."""

from dataclasses import dataclass
from typing import final

from recllm.config import Count, NotNegative, Positive, checked


@final
@dataclass(frozen=True)
@checked
class BaseTrainingConfig:
    """Base training.

    Attributes:
        steps: Gradient steps at most; fewer when validation stops improving.
        epochs: Times at most that a small log is gone through; bounds the steps where there is nobody to validate on.
        batch_users: Windows per step.
        positions: Predictions per window.
        horizon: Targets are the liked events among this many next ones.
        softmax_items: Up to this many items the softmax is exact; above, this many are sampled per step.
        learning_rate: For the LoRA, embeddings and projections.
        delta_learning_rate: For the id-deltas.
        weight_decay: On everything but the deltas, which are bounded.
        validate_every: Steps between looks at the validation users.
        patience: Looks without improvement before the rate is brought down from the best state, and training ends.
    """

    steps: Count = 2000
    epochs: Count = 40
    batch_users: Count = 64
    positions: Count = 12
    horizon: Count = 10
    softmax_items: Count = 6000
    learning_rate: Positive = 1e-3
    delta_learning_rate: Positive = 3e-3
    weight_decay: NotNegative = 0.01
    validate_every: Count = 50
    patience: Count = 4

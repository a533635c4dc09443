"""Makes `adapters/shop-prior` again, bit for bit: cuts shops, trains the prior on them, measures it, writes its card.

    RECLLM_DATA=… scripts/build_adapters [--shops FOLDER] [--out FOLDER]

Only catalogs that may be given away are learned from. The prior is measured on each of them by another one that was
trained without it, and that figure stands in the card.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from subshops import Cut, training_shops

import recllm
from recllm.adaptation.many_shops import TrainingShop, train_prior
from recllm.adaptation.prior import ShopPrior
from recllm.encoders.threads import reproducible
from recllm.ranking.head import RankingConfig, RankingHead
from recllm.ranking.objective import RankingTasks
from recllm.retrieval.channels import CHANNELS

NUMBERS = range(240)
ROOT = Path(__file__).resolve().parent.parent.parent

LICENCES = {
    "uci-online-retail": "CC BY 4.0, Online Retail, D. Chen, UCI Machine Learning Repository, doi 10.24432/C5BW33",
    "xwines-old-world": "CC0 1.0, X-Wines, de Azambuja, Morais, Filipe 2023, doi 10.3390/bdcc7010020",
    "tldr-pages": "CC BY 4.0, the tldr-pages team and contributors",
    "mooccube-2k": "MOOCCube, Yu et al., ACL 2020",
    "stackexchange-beer-coffee": "CC BY-SA, Stack Exchange and its users",
}


def main() -> None:
    """Cut, train, measure, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--shops", type=Path, default=ROOT / ".shops", help="where cut shops are kept")
    parser.add_argument("--out", type=Path, default=ROOT / "adapters" / "shop-prior")
    options = parser.parse_args()
    torch.set_num_threads(1)
    shops = list(training_shops(NUMBERS, recllm.TrainOptions(seed=0), options.shops))
    prior = trained([shop for _, shop in shops])
    prior.save(options.out, card(prior, shops, options.shops))
    print(f"{options.out}: {prior!r}, from {len(shops)} shops")


def trained(shops: Sequence[TrainingShop]) -> ShopPrior:
    """A prior of these shops, always the same."""
    with reproducible():
        return train_prior(shops, tuple(CHANNELS), seed=0)


def without(shops: Sequence[TrainingShop], catalog: str, folder: Path) -> Path:
    """The folder of a prior that has not seen one of the catalogs, kept among those of others."""
    place = folder / "priors" / catalog
    if not place.exists():
        trained([shop for shop in shops if shop.catalog != catalog]).save(place, f"Trained without {catalog}.\n")
    return place


def gain_of(head: RankingHead, tasks: RankingTasks) -> np.ndarray:
    """What each task is answered better by than by a plain sum of the channels, in discounted gain: float64 [tasks]."""
    plain = RankingHead(head.channels, RankingConfig())
    return discounted(head, tasks) - discounted(plain, tasks)


def discounted(head: RankingHead, tasks: RankingTasks) -> np.ndarray:
    """Mean discount of the places of what was liked next, 1 / log₂(1 + place), estimated from the listed items."""
    found = []
    for rows in torch.arange(len(tasks)).split(128):
        part = tasks.of(rows)
        missing = part.scores[:, 0].isnan()
        with torch.no_grad():
            scores = head(part.scores.nan_to_num(0.0), part.known).masked_fill(missing, -torch.inf)
        others = (part.target == 0) & ~missing
        above = ((scores.unsqueeze(1) > scores.unsqueeze(2)) & others.unsqueeze(1)).sum(dim=2)
        place = 1 + above * part.rest.unsqueeze(1)
        found.append((part.target / torch.log2(1 + place)).sum(dim=1))
    return torch.cat(found).double().numpy()


def card(prior: ShopPrior, shops: Sequence[tuple[Cut, TrainingShop]], folder: Path) -> str:
    """What it is, what it was made from and how, what it is worth, and what may be done with it."""
    named = [shop for _, shop in shops]
    rows = []
    for catalog in dict.fromkeys(shop.catalog for shop in named):
        left_out = ShopPrior.load(without(named, catalog, folder))
        each = [shop for shop in named if shop.catalog == catalog]
        gains, plain = [], []
        for shop in each:
            head = left_out.head(shop.statistics, shop.channels, RankingConfig())
            gains.append(gain_of(head, shop.tasks).mean())
            plain.append(discounted(RankingHead(head.channels, RankingConfig()), shop.tasks).mean())
        worth = float(np.mean(gains) / np.mean(plain))
        rows.append(f"| {catalog} | {len(each)} | {worth:+.1%} | {LICENCES[catalog]} |")
    table = "\n".join(rows)
    return f"""# Shop prior

A ranking head for shops that look like yours: how far each channel of recllm is to be believed, given how many users,
items and events there are, and how they are spread. It knows channels, and nobody's items or events. recllm takes it by
default (`RecommenderConfig(prior="shop-prior")`) and adds the shop's own step.

Made by `scripts/build_adapters` from {len(named)} shops that were cut from the catalogs below: 25 to 700 of their users
or 85 % of them, 10 to 100 % of the events, some with a third of the categories or four tenths of the time. Each was
asked by up to {max(len(shop.tasks) for shop in named):,} tasks of users whom its channels had not counted. SHA-256 over
all arrays: `{prior.digest}`.

What it is worth, on each catalog measured by a prior that was trained without it: mean discounted gain against a plain
sum of the channels.

| catalog | shops | gain | licence |
|---|---|---|---|
{table}

Licence: CC BY-SA 4.0, the most demanding of those above.
"""


if __name__ == "__main__":
    main()

"""The table: 100,000 made-up card payments, 15 in a thousand of them fraud, the same on every machine.

Every value comes from one stream of uniform numbers through its quantile function, rounded as a payment system would
store it. The label is drawn with the probability that `risk` gives a payment, so that no model can be perfect: ranking
by that probability itself reaches a ROC AUC of 0.91 on the test split. Four patterns make a payment suspicious: one that
is large for its customer and not made with the card at hand, a new device with a new address, many payments in quick
succession, and wrong PINs before a payment with the card. Hour, merchant, country and the account's age shift the odds;
`refunds` and the payments of the whole day say nothing of their own.
"""

from __future__ import annotations

from functools import cache

import numpy as np

ROWS = 100_000
SEED = 7
SPLITS = {"train": slice(0, 70_000), "calibration": slice(70_000, 80_000), "test": slice(80_000, ROWS)}
FEATURES = {
    "amount": "amount of the payment, euro",
    "typical_amount": "median amount of this customer, euro",
    "hour": "local time, hours from 0 to 24",
    "account_age": "days since the account was opened",
    "minutes_since_last": "minutes since the customer's last payment",
    "payments_hour": "payments of this customer in the last hour",
    "payments_day": "payments of this customer in the last 24 hours",
    "km_from_home": "distance of the merchant from the customer's address, km",
    "km_from_last": "distance from the place of the last payment, km",
    "merchant_risk": "share of disputed payments of the merchant's group, scaled to 0 to 1",
    "card_present": "1 when the card was at hand, 0 when only its number was",
    "abroad": "1 when the merchant is in another country",
    "new_device": "1 when the device was never seen before; never with the card at hand",
    "wrong_pins": "wrong PINs in the last 24 hours; never without the card at hand",
    "new_address": "1 when the goods go to an address never used before; never with the card at hand",
    "refunds": "refunds of this customer in the last month",
}


@cache
def payments() -> tuple[np.ndarray, np.ndarray]:
    """Inputs float32 [100000, 16] in the order of FEATURES, and labels int64 [100000], 1 for fraud."""
    stream = np.random.Generator(np.random.PCG64(SEED))

    def uniform() -> np.ndarray:
        return stream.random(ROWS)

    def exponential(mean: float, digits: int = 0) -> np.ndarray:
        return np.round(-mean * np.log1p(-uniform()), digits)

    def normal() -> np.ndarray:
        return np.sqrt(-2 * np.log1p(-uniform())) * np.cos(2 * np.pi * uniform())

    present = (uniform() < 0.62).astype(float)
    columns = {
        "amount": np.round(np.exp(3.2 + 1.1 * normal()), 2),
        "typical_amount": np.round(np.exp(3.2 + 0.5 * normal()), 2),
        "hour": np.floor((14 + 4.5 * normal()) % 24 * 100) / 100,
        "account_age": exponential(900),
        "minutes_since_last": exponential(600, 1),
        "payments_hour": np.floor(exponential(0.6, 6)),
    }
    columns["payments_day"] = columns["payments_hour"] + np.floor(exponential(2.5, 6))
    columns["km_from_home"] = np.round(np.exp(1.5 + 1.4 * normal()), 1)
    columns["km_from_last"] = np.round(columns["km_from_home"] * uniform() ** 2, 1)
    columns["merchant_risk"] = np.round(uniform() ** 2.5, 3)
    columns["card_present"] = present
    columns["abroad"] = (uniform() < 0.06).astype(float)
    columns["new_device"] = (uniform() < 0.08) * (1 - present)
    columns["wrong_pins"] = np.floor(exponential(0.25, 6)) * present
    columns["new_address"] = (uniform() < 0.12) * (1 - present)
    columns["refunds"] = np.floor(exponential(0.4, 6))
    labels = (uniform() < risk(columns)).astype(np.int64)
    return np.stack([columns[name] for name in FEATURES], axis=1).astype(np.float32), labels


def risk(columns: dict[str, np.ndarray]) -> np.ndarray:
    """Probability of fraud [N] of payments given as columns."""
    c = columns
    present = c["card_present"]
    odds = (
        -6.1
        + 1.6 * np.clip(np.log(c["amount"] / c["typical_amount"]), -1, 3) * (1 - present)
        + 2.0 * c["new_device"] + 0.9 * c["new_address"] + 3.2 * c["new_device"] * c["new_address"]
        + 1.3 * c["payments_hour"] * (c["minutes_since_last"] < 20)
        + 2.0 * ((c["amount"] < 3) & (c["payments_hour"] >= 2) & (present == 0))
        + 1.6 * c["wrong_pins"] * present
        + 1.5 * (c["hour"] < 5) + 3.2 * c["merchant_risk"] ** 2 + 1.6 * c["abroad"]
        + 0.8 * ((c["km_from_last"] > 60) & (c["minutes_since_last"] < 60))
        - 0.3 * np.minimum(c["account_age"] / 365, 3)
    )  # fmt: skip
    return 1 / (1 + np.exp(-odds))


def split(name: str) -> tuple[np.ndarray, np.ndarray]:
    """Inputs [N, 16] and labels [N] of a split; KeyError for a name that is none."""
    inputs, labels = payments()
    return inputs[SPLITS[name]], labels[SPLITS[name]]


def roc_auc(scores: np.ndarray, labels: np.ndarray) -> float:
    """Chance that a fraud scores above an honest payment, ties half; nan when the labels [N] are all the same."""
    _, place, counts = np.unique(scores, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(counts) - (counts - 1) / 2)[place]
    frauds = labels == 1
    pairs = frauds.sum() * (~frauds).sum()
    if not pairs:
        return float("nan")
    return float((ranks[frauds].sum() - frauds.sum() * (frauds.sum() + 1) / 2) / pairs)

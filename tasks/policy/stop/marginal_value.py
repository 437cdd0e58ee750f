"""Marginal value: what the next round will gain against what it will cost."""

from tasks.config_policy import MarginalValueRule
from tasks.policy import curve, next_round
from tasks.policy.decision import Verdict
from tasks.policy.query_size import choice as query_size
from tasks.policy.situation import Situation

#: Of the interval of the gain that is told; the expected gain decides.
_CONFIDENCE = 0.9


def verdict(situation: Situation, settings: MarginalValueRule) -> Verdict:
    """Holds once the fitted curve's expected gain, in percentage points times their value, is below the round's price.

    A point of R² is a hundredth.

    Where nobody knows how long compute takes, the price is that of the labels alone.

    Source: the first lever of Alectio's article on the costs of active learning (2022), with a fitted curve for the
    gain.
    """
    points, currency, unit = situation.curve, situation.config.prices.currency, situation.headline.points
    if short := curve.missing(points):
        return Verdict(False, curve.too_short(points), {"rounds_missing": short})
    size, now = query_size.choose(situation).value, situation.attempt[-1].labels
    points_gained = [100 * gain for gain in situation.fitted.gain(now, now + size, _CONFIDENCE)]
    value = points_gained[0] * settings.value_per_point
    price = next_round.price(situation, size)
    money = next_round.labels_price(situation, size) if price is None else price.money
    reason = (
        f"{size} more labels are expected to gain {points_gained[0]:.3f} {unit} ({points_gained[1]:.3f} to "
        f"{points_gained[2]:.3f}), worth {value:.4g} {currency}, for {money:.4g} {currency}"
    )
    if price is None:
        reason += " of labels alone: how long compute takes is not known; set rates"
    numbers = {
        "query_size": size,
        "points": round(points_gained[0], 6),
        "points_interval": [round(end, 6) for end in points_gained[1:]],
        "value": round(value, 6),
        "price": round(money, 6),
        "compute_priced": price is not None,
    }
    return Verdict(value < money, reason, numbers)

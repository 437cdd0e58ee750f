"""So many rounds at least."""

from tasks.config_policy import RoundsRule
from tasks.policy.decision import Verdict
from tasks.policy.situation import Situation
from tasks.policy.words import rounds


def verdict(situation: Situation, settings: RoundsRule) -> Verdict:
    """Holds once the present attempt has ``at_least`` trained rounds."""
    done, wanted = len(situation.attempt), settings.at_least
    reason = f"{rounds(done)} of at least {wanted}"
    return Verdict(done >= wanted, reason, {"rounds": done, "wanted": wanted})

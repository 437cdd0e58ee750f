"""So many rounds at least."""

from tasks.config_policy import RoundsRule
from tasks.policy.decision import Verdict
from tasks.policy.situation import Situation


def verdict(situation: Situation, settings: RoundsRule) -> Verdict:
    """Holds once the present attempt has ``at_least`` trained rounds."""
    done, wanted = len(situation.attempt), settings.at_least
    return Verdict(done >= wanted, f"{done} of {wanted} rounds", {"rounds": done, "wanted": wanted})

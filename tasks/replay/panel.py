"""The policies that a recorded loop is replayed with, and what each of them needs to know."""

from collections.abc import Sequence
from dataclasses import replace

from tasks.config import Config
from tasks.config_policy import (
    METRICS,
    LearningCurveRule,
    MarginalValueRule,
    OverallUncertaintyRule,
    PlateauRule,
    StablePredictionsRule,
    StopConfig,
)
from tasks.replay.recording import Recording

#: The rules that need no setting of the user's, by themselves.
_DEFAULTS = {
    "plateau": StopConfig(plateau=PlateauRule()),
    "stable_predictions": StopConfig(stable_predictions=StablePredictionsRule()),
    "overall_uncertainty": StopConfig(overall_uncertainty=OverallUncertaintyRule()),
    "learning_curve": StopConfig(learning_curve=LearningCurveRule()),
}
#: What the record has to hold for a rule.
_NEEDS = {"stable_predictions": "kappa", "overall_uncertainty": "uncertainty"}
#: What a budget bounds besides labels, which every record holds.
_BOUNDS = ("money", "device_hours", "wall_hours")
_PAIRS = ("compared", "gained", "lost")
#: Measured against the round before, so never in the first one of an attempt.
_SUCCESSIVE = ("kappa", *_PAIRS)
#: Marks a rule whose value of a percentage point was taken from the record that it is judged by.
HINDSIGHT = " (value in hindsight)"


def panel(
    configured: StopConfig, preset: StopConfig | None, value_per_point: float | None, hindsight: bool = False
) -> dict[str, StopConfig]:
    """Every rule by itself with its default settings, what is configured, and the rule of the preset.

    ``hindsight`` says that nobody but the record itself tells what a percentage point is worth.
    """
    alone = dict(_DEFAULTS)
    if value_per_point is not None:
        rule = MarginalValueRule(value_per_point=value_per_point)
        alone["marginal_value" + HINDSIGHT * hindsight] = StopConfig(marginal_value=rule)
    if configured.target is not None:
        alone["target"] = StopConfig(target=configured.target)
    if configured.names():
        alone["configured"] = configured
    if preset is not None and preset.names():
        alone["preset"] = preset
    return alone


def value_of(stop: StopConfig) -> float | None:
    """What a rule of the policy, or of its groups, takes a percentage point to be worth."""
    groups = [group for group in (stop.any, stop.all) if group is not None]
    if stop.marginal_value is not None:
        return stop.marginal_value.value_per_point
    return next((value for group in groups if (value := value_of(group)) is not None), None)


def missing(stop: StopConfig, recording: Recording) -> str:
    """Why a policy cannot be replayed on a recording that is prepared, or nothing."""
    names = stop.names()
    needed = [_NEEDS[name] for name in sorted(names & _NEEDS.keys())]
    lacking = [name for name in needed if not _tells(recording, name)]
    if "plateau" in names and not _tells_gains(recording):
        lacking.append("compared")
    lacking += [name for name in _bounded(stop) if name not in recording.known]
    if lacking:
        return f"cannot be replayed: no {' and no '.join(dict.fromkeys(lacking))} in the curve"
    if "marginal_value" in names and not recording.has_prices:
        return "cannot be replayed: no prices; name a configuration that has them with --conf"
    return ""


def _tells_gains(recording: Recording) -> bool:
    """Whether it is known how sure a gain of the metric is."""
    if recording.config.policy.on_held_out and recording.held_out > 0:
        return True
    if recording.headline.share:
        return _tells(recording, "compared")
    return any(outcome.validation_items for outcome in recording.history)


def _tells(recording: Recording, name: str) -> bool:
    """Whether something that policies go by was measured, or there was no round yet in which it could have been."""
    attempts = [outcome.attempt for outcome in recording.history]
    return name in recording.known or (name in _SUCCESSIVE and len(set(attempts)) == len(attempts))


def _bounded(stop: StopConfig) -> list[str]:
    """What the budget rules of the policy, and of its groups, bound."""
    own = [name for name in _BOUNDS if stop.budget is not None and getattr(stop.budget, name) is not None]
    return own + [name for group in (stop.any, stop.all) if group is not None for name in _bounded(group)]


def prepared(recording: Recording, configured: Config) -> Recording:
    """The recording with the metric and the query sizes that are tried, and notes on what that means."""
    tried, recorded = configured.policy, recording.config.policy
    held_out, validated = reversed(METRICS[recording.config.task])
    metric = validated if not tried.on_held_out and "validation_accuracy" in recording.known else held_out
    if metric != recorded.metric:
        recording = _without_pairs(recording)
    changed = {"metric": metric, "schedule": tried.schedule, "geometric": tried.geometric}
    policy = recorded.model_copy(update=changed)
    made = replace(recording, config=recording.config.model_copy(update={"policy": policy}))
    if metric == held_out:
        why = f"policy.metric={held_out}" if tried.on_held_out else f"no validation {held_out} in the curve"
        made = made.noted(
            f"{why}: the held-out set decides here, and also says what was lost, which flatters the rules"
        )
    if recording.rates is None:
        made = made.noted("no rates: to marginal_value and budget the next round costs its labels alone")
    return made


def _without_pairs(recording: Recording) -> Recording:
    """Without how many items became right and wrong: those of another metric."""
    nothing = dict.fromkeys(_PAIRS)
    outcomes = [replace(one, measured=replace(one.measured, **nothing)) for one in recording.history]
    return replace(recording, history=tuple(outcomes), known=recording.known - set(_PAIRS))


def all_notes(recordings: Sequence[Recording]) -> list[str]:
    """The notes of all recordings, each once."""
    return list(dict.fromkeys(note for recording in recordings for note in recording.notes))

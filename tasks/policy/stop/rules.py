"""The rules of policy.stop, asked one by one and put together by any and all."""

from collections.abc import Iterator
from dataclasses import asdict

from tasks import registry
from tasks.config_policy import StopConfig
from tasks.policy.decision import Decision, Verdict
from tasks.policy.situation import Situation
from tasks.policy.stop import bounds


def decide(situation: Situation) -> Decision:
    """Stop at an end of the loop or where policy.stop holds; else go on. Every rule's verdict is among the numbers."""
    verdicts = dict(_verdicts(situation, situation.config.policy.stop))
    rules = {name: asdict(verdict) for name, verdict in verdicts.items()}
    said = {"rules": rules} if rules else {}
    last, rounds = situation.history[-1], len(situation.attempt)
    if (end := bounds.reached(situation)) is not None:
        return Decision(end.action, end.policy, end.reason, {**end.numbers, **said})
    numbers = {"rounds": rounds, "labels": last.labels, "unlabeled": situation.unlabeled, **said}
    if deciding := _holding(situation.config.policy.stop, verdicts):
        reason = "; ".join(f"{name}: {verdicts[name].reason}" for name in deciding)
        return Decision("stop", " and ".join(deciding), reason, numbers)
    return Decision("continue", "rounds", f"round {rounds} of {situation.config.loop.rounds}", numbers)


def _verdicts(situation: Situation, group: StopConfig, prefix: str = "") -> Iterator[tuple[str, Verdict]]:
    """Each rule's verdict, by its dotted path below policy.stop."""
    for name, settings in group.rules().items():
        rule = registry.resolve(registry.STOP_RULES, name)
        yield f"{prefix}{name}", rule(situation, settings)
    for name in ("any", "all"):
        inner = getattr(group, name)
        if inner is not None:
            yield from _verdicts(situation, inner, f"{prefix}{name}.")


def _holding(group: StopConfig, verdicts: dict[str, Verdict], every: bool = False, prefix: str = "") -> list[str]:
    """The rules by which a group holds, none if it does not."""
    parts = [[f"{prefix}{name}"] if verdicts[f"{prefix}{name}"].holds else [] for name in group.rules()]
    if group.any is not None:
        parts.append(_holding(group.any, verdicts, prefix=f"{prefix}any."))
    if group.all is not None:
        parts.append(_holding(group.all, verdicts, every=True, prefix=f"{prefix}all."))
    if every:
        return [name for part in parts for name in part] if all(parts) else []
    return next((part for part in parts if part), [])

"""Whether the model that a proxy selects for is trained on a round's labels."""

from collections.abc import Iterator, Sequence

from tasks.config_train import ProxyTargetConfig
from tasks.policy.decision import Action, Choice


def due(settings: ProxyTargetConfig, labels: Sequence[int], action: Action) -> Choice:
    """True or false, after the last of an attempt's trained rounds, and why.

    Args:
        labels: at the end of each round of the attempt so far, ascending; at least one.
        action: what was decided of the loop.
    """
    if action == "restart":
        return Choice(False, "the attempt is given up")
    reasons = list(_reasons(settings, labels, action))
    return Choice(bool(reasons), "; ".join(reasons) or _next(settings, labels))


def _reasons(settings: ProxyTargetConfig, labels: Sequence[int], action: Action) -> Iterator[str]:
    now, before = labels[-1], labels[-2] if len(labels) > 1 else 0
    if action == "stop" and settings.end:
        yield "proxy.target.end: the loop has ended"
    if settings.every is not None and len(labels) % settings.every == 0:
        yield f"proxy.target.every: round {len(labels)} of the attempt, and {settings.every} is its step"
    for budget in sorted(set(settings.at)):
        if before < budget <= now:
            yield f"proxy.target.at: {budget} labels are bought"


def _next(settings: ProxyTargetConfig, labels: Sequence[int]) -> str:
    """For what the target waits, in words."""
    waits = ["the loop's end"] if settings.end else []
    if settings.every is not None:
        waits.append(f"round {(len(labels) // settings.every + 1) * settings.every} of the attempt")
    waits += [f"{budget} labels" for budget in sorted(set(settings.at)) if budget > labels[-1]]
    return f"proxy.target: not before {' or '.join(waits)}" if waits else "proxy.target: not any more"

"""The two moments at which policies speak: before a round (plan.json) and after its training (decision.json)."""

from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from tasks import files, outside, registry
from tasks.config import Config
from tasks.cost import calibration, forecast
from tasks.datasets.store import load_task
from tasks.history import history
from tasks.policy import false_start, measure, next_round, target
from tasks.policy.decision import Choice
from tasks.policy.query_size import choice as query_size
from tasks.policy.retrain import choice as retrain
from tasks.policy.scope import adaptive
from tasks.policy.situation import Situation
from tasks.policy.stop import rules
from tasks.rounds import Workspace, load_config


def plan(workspace: Workspace, round_: int) -> None:
    """Write this round's decisions, each with its reason."""
    situation = _situation(workspace, workspace.previous_dir(round_))
    config = situation.config
    cached = files.count_rows(workspace.previous_dir(round_) / "scores.parquet")
    choices = {
        "attempt": _attempt(situation),
        "query_size": query_size.choose(situation),
        "strategy": _strategy(situation),
        "proxy": _proxy(config),
        "infer_scope": _adapted(workspace, round_, situation, _scope(config, cached)),
        "infer_passes": _passes(config, cached),
        "infer_features": _features(config),
        "retrain": _from_weights(workspace, situation, retrain.choose(situation)),
        "stop_set": _stop_set(situation),
        "watch": false_start.watches(situation),
        "seed": Choice(config.seed, "seed; every draw is made from it and the round's number"),
    }
    if used := outside.digests(workspace.root, situation.config.select):
        choices["outside"] = Choice(used, "what these files hold; SELECT refuses others")
    # The plan comes last: it is what opens the round.
    files.write_json(workspace.round_dir(round_) / "forecast.json", _forecast(round_, situation, choices))
    plan = {"round": round_, **{name: _plain(choice) for name, choice in choices.items()}}
    files.write_json(workspace.round_dir(round_) / "plan.json", plan)


def decide(workspace: Workspace, round_: int) -> None:
    """Write whether another round follows, by which policy, and why, and what was measured to say so.

    Where a proxy selects: also whether the model that it selects for is trained on the labels so far.
    """
    situation = _situation(workspace, workspace.round_dir(round_))
    measured = measure.compare(workspace, round_, situation.config)
    situation = replace(situation, history=[*situation.history[:-1], replace(situation.history[-1], measured=measured)])
    made = false_start.decide(situation) or rules.decide(situation)
    if situation.rates is not None and situation.config.policy.needs_rates():
        # Another machine has other ones, so whoever wants to make the decision again needs to know them.
        made = replace(made, numbers={**made.numbers, "rates": asdict(situation.rates)})
    decision = {"round": round_, **asdict(made), "measured": asdict(measured)}
    if situation.config.proxy is not None:
        labels = [outcome.labels for outcome in situation.attempt]
        decision["target"] = _plain(target.due(situation.config.proxy.target, labels, made.action))
    files.write_json(workspace.round_dir(round_) / "decision.json", decision)


def _situation(workspace: Workspace, folder: Path) -> Situation:
    """Between two rounds; ``folder`` holds the pools as they are now."""
    config, pool = load_config(workspace), files.count_rows(workspace.pool / "start" / "unlabeled.parquet")
    return Situation(
        history=history(workspace),
        config=config,
        pool=pool,
        unlabeled=files.count_rows(folder / "unlabeled.parquet"),
        held_out=files.count_rows(workspace.pool / "test.parquet"),
        rates=calibration.load(workspace, config, pool),
        classes=load_task(workspace).outputs,
    )


def _forecast(round_: int, situation: Situation, choices: Mapping[str, Choice]) -> dict[str, Any]:
    """What the round is going to use, and cost where it is known how long a unit takes."""
    query = int(choices["query_size"].value)
    work = forecast.work(
        situation.config,
        before=situation.attempt[-1].labels if situation.attempt else 0,
        query_size=query,
        pool=situation.pool,
        held_out=situation.held_out,
        retrain=choices["retrain"].value,
        scope=choices["infer_scope"].value,
        scored=not next_round.is_last(situation, query),
        stop_set=choices["stop_set"].value,
        target=_is_target_due(situation, query),
    )
    if any(outcome.restarted for outcome in situation.history):
        why = (*work.why, "policy.false_start: what was bought before the loop began anew is free, so at most")
        work = replace(work, exact=False, why=why)
    if _may_end_with_target(situation, query, bool(choices["watch"].value)):
        why = (*work.why, "proxy.target.end: a policy may end the loop here, so with its target and without INFER")
        work = replace(work, exact=False, why=why)
    rates = situation.rates
    price = None if rates is None else forecast.price(work, situation.config, rates, situation.label_seconds)
    return {
        "round": round_,
        **asdict(work),
        "rates": None if rates is None else asdict(rates),
        "price": None if price is None else asdict(price),
    }


def _is_target_due(situation: Situation, query_size: int) -> bool:
    """Whether the coming round trains a target, as far as that can be known before it."""
    proxy, labels = situation.config.proxy, [outcome.labels for outcome in situation.attempt]
    if proxy is None:
        return False
    then = [*labels, (labels[-1] if labels else 0) + query_size]
    return bool(
        target.due(proxy.target, then, "stop" if next_round.is_last(situation, query_size) else "continue").value
    )


def _may_end_with_target(situation: Situation, query_size: int, watched: bool) -> bool:
    """Whether a rule that speaks after the training may ask for a target that nobody can forecast."""
    config = situation.config
    ruled = watched or bool(config.policy.stop.names())
    ends = config.proxy is not None and config.proxy.target.end
    return ends and ruled and not next_round.is_last(situation, query_size)


def _plain(choice: Choice) -> dict[str, Any]:
    """As plan.json has it: numbers only where there are some."""
    return {name: value for name, value in asdict(choice).items() if name != "numbers" or value}


def _attempt(situation: Situation) -> Choice:
    if not situation.history:
        return Choice(0, "the loop begins")
    last = situation.history[-1]
    if last.restarted:
        return Choice(last.attempt + 1, f"the loop begins anew after round {last.round:03d}")
    return Choice(last.attempt, "the attempt goes on")


def _strategy(situation: Situation) -> Choice:
    config = situation.config
    if situation.attempt:
        return Choice(config.select.strategy, "select.strategy")
    name = config.select.initial
    caution = "; it reads the true classes of the whole pool: simulation only" if name == "class_balanced" else ""
    return Choice(name, f"select.initial{caution}")


def _from_weights(workspace: Workspace, situation: Situation, choice: Choice) -> Choice:
    """The choice of how to train, with the weights to go on from, if any."""
    if choice.value == "scratch":
        return choice
    last = situation.attempt[-1].round
    digest = files.read_object(workspace.round_dir(last) / "model.json", "digest")["digest"]
    return replace(choice, value={**choice.value, "from_round": last, "digest": digest})


def _stop_set(situation: Situation) -> Choice:
    policy = situation.config.policy
    if not policy.needs_stop_set():
        return Choice(0, "no policy goes by it")
    return Choice(min(policy.stop_set, situation.pool), "policy.stop_set")


def _scope(config: Config, cached: int) -> Choice:
    scope = forecast.configured_scope(config, first=not cached)
    if scope == "none":
        return Choice(scope, f"select.strategy = {config.select.strategy} needs no scores")
    if config.infer.scope == ("full",):
        return Choice(scope, "the whole unlabelled pool is scored")
    if scope == "full":
        return Choice(scope, "no value is cached yet, so the first pass is a full one (CEAL, Appendix 2)")
    return Choice(scope, "infer.scope")


def _adapted(workspace: Workspace, round_: int, situation: Situation, choice: Choice) -> Choice:
    """The choice of what to score, with as many candidates as policy.scope wants."""
    if situation.config.policy.scope == "fixed" or not isinstance(choice.value, list):
        return choice
    return adaptive.choose(workspace, round_, situation, choice.value)


def _features(config: Config) -> Choice:
    strategy = config.select.strategy
    if strategy in registry.FEATURE_STRATEGIES:
        return Choice(True, f"select.strategy = {strategy} goes by the items' features")
    return Choice(False, f"select.strategy = {strategy} needs no features")


def _proxy(config: Config) -> Choice:
    if config.proxy is None:
        return Choice(None, "the model that is trained also selects")
    train = config.proxy.train
    return Choice({"model": train.model, "epochs": train.epochs}, f"proxy: selects for {config.train.model}")


def _passes(config: Config, cached: int) -> Choice:
    infer = config.infer
    if infer.first_passes is not None and not cached:
        return Choice(infer.first_passes, "infer.first_passes, as no value is cached yet")
    return Choice(infer.passes, "infer.passes")

"""The two moments at which policies speak: before a round (plan.json) and after its training (decision.json)."""

from dataclasses import asdict
from typing import Any

from tasks import files, registry
from tasks.config import Config, InferConfig
from tasks.history import history
from tasks.policy import query_size, stopping
from tasks.policy.decision import Choice
from tasks.rounds import Workspace, load_config


def plan(workspace: Workspace, round_: int) -> None:
    """Write this round's decisions, each with its reason."""
    config = load_config(workspace)
    unlabeled = files.count_rows(workspace.previous_dir(round_) / "unlabeled.parquet")
    cached = files.count_rows(workspace.previous_dir(round_) / "scores.parquet")
    choices = {
        "query_size": query_size.fixed(history(workspace), config.loop, unlabeled),
        "strategy": _strategy(config, round_),
        "proxy": Choice(None, "the model that is trained also selects"),
        "infer_scope": _scope(config, cached),
        "infer_passes": _passes(config, cached),
        "retrain": Choice("scratch", "weights are drawn anew each round"),
        "seed": Choice(config.seed, "seed"),
    }
    plan = {"round": round_, **{name: asdict(choice) for name, choice in choices.items()}}
    files.write_json(workspace.round_dir(round_) / "plan.json", plan)


def decide(workspace: Workspace, round_: int) -> None:
    """Write whether another round follows, by which policy, and why."""
    unlabeled = files.count_rows(workspace.round_dir(round_) / "unlabeled.parquet")
    made = stopping.decide(history(workspace), load_config(workspace).loop, unlabeled)
    files.write_json(workspace.round_dir(round_) / "decision.json", {"round": round_, **asdict(made)})


def _strategy(config: Config, round_: int) -> Choice:
    if round_:
        return Choice(config.select.strategy, "select.strategy")
    name = config.select.initial
    caution = "; it reads the true classes of the whole pool: simulation only" if name == "class_balanced" else ""
    return Choice(name, f"select.initial{caution}")


def _scope(config: Config, cached: int) -> Choice:
    infer = config.infer
    if config.select.strategy in registry.BLIND:
        return Choice("none", f"select.strategy = {config.select.strategy} needs no scores")
    if infer.scope == ("full",):
        return Choice("full", "the whole unlabelled pool is scored")
    if not cached:
        return Choice("full", "no value is cached yet, so the first pass is a full one (CEAL, Appendix 2)")
    return Choice([{"name": name, **_settings(infer, name)} for name in infer.scope], "infer.scope")


def _passes(config: Config, cached: int) -> Choice:
    infer = config.infer
    if infer.first_passes is not None and not cached:
        return Choice(infer.first_passes, "infer.first_passes, as no value is cached yet")
    return Choice(infer.passes, "infer.passes")


def _settings(infer: InferConfig, name: str) -> dict[str, Any]:
    block = getattr(infer, name, None)
    return block.model_dump(mode="json") if block is not None else {}

"""The two moments at which policies speak: before a round (plan.json) and after its training (decision.json)."""

from dataclasses import asdict

from tasks import files
from tasks.config import Config
from tasks.history import history
from tasks.policy import query_size, stopping
from tasks.policy.decision import Choice
from tasks.rounds import Workspace, load_config


def plan(workspace: Workspace, round_: int) -> None:
    """Write this round's decisions, each with its reason."""
    config = load_config(workspace)
    unlabeled = files.count_rows(workspace.previous_dir(round_) / "unlabeled.parquet")
    choices = {
        "query_size": query_size.fixed(history(workspace), config.loop, unlabeled),
        "strategy": _strategy(config, round_),
        "proxy": Choice(None, "the model that is trained also selects"),
        "infer_scope": _scope(config),
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


def _scope(config: Config) -> Choice:
    if config.select.strategy == "random":
        return Choice("none", "select.strategy = random needs no scores")
    return Choice("full", "the whole unlabelled pool is scored")

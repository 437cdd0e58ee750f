"""TRAIN: a model from all labels bought so far, and how good it is on the held-out set."""

from typing import Any

from tasks import files
from tasks.cost.ledger import Usage
from tasks.datasets.store import load_task
from tasks.errors import Diverged
from tasks.models import device as devices
from tasks.models import encoded
from tasks.rounds import Workspace, load_config
from tasks.seeds import torch_seed
from tasks.train import round as rounds
from tasks.train import start as starts
from tasks.train.members import Ensemble
from tasks.train.repeats import Repeated, repeat
from tasks.train.sets import Sets
from tasks.train.trainings import Trainings


def run(workspace: Workspace, round_: int, usage: Usage) -> None:
    """Write model.safetensors, model.json, history.json, predictions.parquet and metrics.json of a round.

    The model is the proxy, if there is one. Trains train.members models, train.repeats times, from where the plan's
    `retrain` says. The metrics are the repeats' means, as ``Repeated.metrics`` says; weights, history and predictions
    are those of the repeat that is kept.

    Where the plan's `watch` is set, a training that diverges is the round's last: its model is the one that the
    training began with, and measured as such.

    Counts, over all members and repeats, training records times epochs, and as forward passes these, those of the
    validation, and of every look at a set of items.

    Raises:
        ConfigError: the model does not take the items, the device is not there, or the plan asks for an unknown mode
            or goes on from the weights of another model.
        DataError: a file is missing or damaged, or a label is not one of the classes.
        Diverged: training did, and is not watched.
    """
    folder, config = workspace.round_dir(round_), load_config(workspace)
    plan, learner = files.read_object(folder / "plan.json", "retrain"), rounds.selecting(config)
    shape = encoded.load(workspace, "pool", learner.settings).shape
    fresh = learner.fresh(shape, load_task(workspace))
    start = starts.read(workspace, round_, learner.settings.members, fresh)
    trainings, sets = rounds.prepare(workspace, round_, learner, start, _value(plan, "stop_set", 0), usage)
    diverged = False
    with (
        devices.timed(trainings.view.device, usage.device_s),
        devices.reproducible(trainings.view.device, torch_seed(config.seed, round_, learner.stage)),
        learner.advised(),
    ):
        try:
            repeated = repeat(learner.settings.repeats, trainings.ensemble, sets.measure)
            seen = sets.predict(repeated)
        except Diverged as fault:
            if not _value(plan, "watch", False):
                raise
            diverged = True
            repeated = _as_it_began(trainings, sets, fault)
            seen = sets.predict(repeated)

    rounds.write(folder, workspace, round_, learner, repeated, seen)
    metrics = rounds.measured(round_, trainings, sets, repeated, seen, diverged)
    files.write_json(folder / "metrics.json", metrics)


def _value(plan: dict[str, Any], name: str, default: Any) -> Any:
    """A decision of the plan; a former release's has not all of them."""
    return plan[name]["value"] if name in plan else default


def _as_it_began(trainings: Trainings, sets: Sets, fault: Diverged) -> Repeated:
    ensemble = Ensemble(trainings.beginning(), fault.histories)
    measures, scores = sets.measure(ensemble)
    return Repeated(ensemble, 0, scores, (measures,), (float("inf"),))

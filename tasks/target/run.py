"""TARGET: the model that a proxy selects for, from all labels bought so far, and how far the two agree."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from torch import nn

from tasks import files
from tasks.config import Config
from tasks.config_train import TrainConfig
from tasks.cost import agreement as possible
from tasks.cost.ledger import Usage
from tasks.datasets.store import load_items
from tasks.errors import ConfigError
from tasks.infer.scoring import score_items
from tasks.models import device as devices
from tasks.models import encoded, stored
from tasks.models.view import View
from tasks.order import random_keys, smallest
from tasks.rounds import Workspace, load_config
from tasks.seeds import seed_sequence, torch_seed
from tasks.target.agreement import Scores, agreement, share_taken
from tasks.train import round as rounds
from tasks.train.repeats import repeat
from tasks.train.start import Start
from tasks.train.trainings import Trainings


@dataclass(frozen=True)
class _Sample:
    """Unlabelled items that both models score."""

    #: Positions in the pool, in the order of the ids.
    rows: npt.NDArray[np.int64]
    #: How many of them a model would take.
    top: int


def run(workspace: Workspace, round_: int, usage: Usage) -> None:
    """Write target/model.safetensors, model.json, history.json, predictions.parquet and metrics.json of a round.

    `train` is trained as TRAIN trains the proxy, but always from scratch, and from seeds of its own. The metrics hold
    besides how far proxy and target agree on what to label next: on proxy.agreement unlabelled items, the same in every
    round as long as they have no label; and, with proxy.ceiling, how far the target agrees with another one that was
    trained from other seeds.

    Counts as TRAIN does, and as forward passes also those of the items that the models score to be compared.

    Raises:
        ConfigError: there is no proxy, the model does not take the items, or the device is not there.
        DataError: a file is missing or damaged, or a label is not one of the classes.
        Diverged: training did.
    """
    folder, config = workspace.round_dir(round_), load_config(workspace)
    if config.proxy is None:
        raise ConfigError("stage target: the loop has no proxy, so the model of TRAIN is the one that it is for")
    learner = rounds.Learner(config.train, None, "target")
    trainings, sets = rounds.prepare(workspace, round_, learner, Start(), 0, usage)
    sample = _sample(workspace, round_, config, config.proxy.agreement)
    with (
        devices.timed(trainings.view.device, usage.device_s),
        devices.reproducible(trainings.view.device, torch_seed(config.seed, round_, learner.stage)),
        learner.advised(),
    ):
        repeated = repeat(config.train.repeats, trainings.ensemble, sets.measure)
        seen = sets.predict(repeated)
        metrics = rounds.measured(round_, trainings, sets, repeated, seen)
        compared = _compared(workspace, round_, config, trainings, repeated.ensemble.models, sample, usage)

    rounds.write(folder / "target", workspace, round_, learner, repeated, seen)
    files.write_json(folder / "target" / "metrics.json", metrics | {"agreement": compared})


def _sample(workspace: Workspace, round_: int, config: Config, size: int) -> _Sample:
    folder, pool = workspace.round_dir(round_), load_items(workspace, "pool")
    unlabeled = files.read_table(folder / "unlabeled.parquet", ["id"])["id"].combine_chunks()
    ids = unlabeled.take(smallest(random_keys(unlabeled, seed_sequence(config.seed, 0, "target")), size))
    answered = np.asarray(files.read_table(folder / "labeled.parquet", ["round"])["round"])
    bought = int(np.count_nonzero(answered == round_))
    # In the order of their ids: an item's dropout masks must not depend on how the rows of a file are ordered.
    return _Sample(pool.rows(ids.sort()), share_taken(len(ids), bought, len(unlabeled)))


def _compared(
    workspace: Workspace,
    round_: int,
    config: Config,
    trainings: Trainings,
    models: Sequence[nn.Module],
    sample: _Sample,
    usage: Usage,
) -> dict[str, Any]:
    """What metrics.json says of the agreement; null, and why, where there is nothing to compare."""
    told = {"items": len(sample.rows), "top": sample.top, "acquisition": config.infer.acquisition}
    reason = possible.obstacle(config) if len(sample.rows) else "there are no items to compare the models on"
    if reason is not None:
        return told | {"spearman": None, "pearson": None, "overlap": None, "reason": reason, "ceiling": None}

    def scores(models: Sequence[nn.Module], learnt: TrainConfig, view: View, passes: int) -> Scores:
        infer, items = config.infer, encoded.load(workspace, "pool", learnt).items.array
        usage.forward_passes += len(sample.rows) * len(models) * passes
        return score_items(models, view, items, sample.rows, infer.acquisition, infer.batch_size, passes).score

    proxies, view, _ = stored.read(workspace.round_dir(round_), trainings.view.device)
    by_proxy = scores(proxies, config.selecting, view, config.infer.passes)
    by_target = scores(models, config.train, trainings.view, possible.passes(config))
    ceiling = None
    if config.proxy is not None and config.proxy.ceiling:
        # The seeds that come after those of the repeats.
        other = trainings.ensemble(config.train.repeats).models
        by_other = scores(other, config.train, trainings.view, possible.passes(config))
        ceiling = asdict(agreement(by_other, by_target, sample.top))
    found = agreement(by_proxy, by_target, sample.top)
    if not (np.isfinite(by_proxy).all() and np.isfinite(by_target).all()):
        reason = "the scores are not finite"
    elif sample.top == len(sample.rows):
        reason = "as large a share as the round bought is all items compared, so there is no overlap to tell"
    return told | asdict(found) | {"reason": reason, "ceiling": ceiling}

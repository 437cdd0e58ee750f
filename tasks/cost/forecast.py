"""What a round will use and cost, before it is begun: the units of cost.json, and their price."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tasks import registry
from tasks.config import Config
from tasks.config_policy import settings_of
from tasks.config_train import TrainConfig
from tasks.cost import agreement
from tasks.cost import scored as counting
from tasks.cost.bill import Bill
from tasks.cost.rates import Rates

#: Of a round that is followed by another one; in a loop's last round there is no INFER.
_STAGES = 4
#: Items on which INFER finds the centres of its clusters (tasks/infer/clustering.py).
CLUSTERED = 20_000


@dataclass(frozen=True)
class Work:
    """What a round uses, in units that depend on no machine; the fields are those of its ledger."""

    labels: int
    #: Over all members and repeats.
    record_epochs: int
    #: Of TRAIN: those of the training itself, of its validation and of its evaluation.
    train_passes: int
    items_scored: int
    infer_passes: int
    #: Whether the round will use just that; else it is a guess, or an upper bound, as ``why`` says.
    exact: bool
    why: tuple[str, ...] = ()
    #: Stages that are run.
    stages: int = _STAGES
    #: How many of them are TARGET, and what that uses: record-epochs, and passes as its ledger counts them.
    targets: int = 0
    target_record_epochs: int = 0
    target_passes: int = 0
    #: Of these passes, those of the proxy, with which the target is compared.
    proxy_passes: int = 0

    def __add__(self, other: "Work") -> "Work":
        """All of both; each reason once."""
        why = tuple(dict.fromkeys([*self.why, *other.why]))
        return Work(
            labels=self.labels + other.labels,
            record_epochs=self.record_epochs + other.record_epochs,
            train_passes=self.train_passes + other.train_passes,
            items_scored=self.items_scored + other.items_scored,
            infer_passes=self.infer_passes + other.infer_passes,
            exact=not why,
            why=why,
            stages=self.stages + other.stages,
            targets=self.targets + other.targets,
            target_record_epochs=self.target_record_epochs + other.target_record_epochs,
            target_passes=self.target_passes + other.target_passes,
            proxy_passes=self.proxy_passes + other.proxy_passes,
        )


@dataclass(frozen=True)
class Price:
    """What a round costs, in the currency of the prices, and takes, in hours."""

    labels: float
    compute: float
    #: Of the machine while it reads and writes.
    overhead: float
    #: Of all three.
    money: float
    device_hours: float
    #: Of the stages, one after the other.
    wall_hours: float


@dataclass(frozen=True)
class Training:
    """What TRAIN uses."""

    record_epochs: int
    passes: int
    why: tuple[str, ...] = ()


@dataclass(frozen=True)
class Scoring:
    """What INFER uses."""

    items: int
    passes: int
    why: tuple[str, ...] = ()


def work(
    config: Config,
    *,
    before: int,
    query_size: int,
    pool: int,
    held_out: int,
    retrain: str | Mapping[str, Any] = "scratch",
    scope: str | Sequence[Mapping[str, Any]] | None = None,
    scored: bool = True,
    stop_set: int = 0,
    target: bool = False,
) -> Work:
    """Count beforehand what cost.json will say of a round.

    Args:
        before: items with a label before the round, in the same attempt; 0 makes it an attempt's first round.
        query_size: labels that are bought.
        pool: items of the pool, labelled or not.
        held_out: items on which every model is evaluated.
        retrain: how the model is trained: a mode, with the settings of policy.<mode>, or the value of a plan.
        scope: what INFER scores: the value of a plan; None: as configured, and all in an attempt's first round.
        scored: whether INFER follows, which it does not in a loop's last round.
        stop_set: items whose predictions tell how stable the model is; 0 for none.
        target: whether the target of the proxy is trained on the labels of the round.
    """
    trained = training(config, before, query_size, held_out, retrain, stop_set)
    labeled = before + query_size
    after = scoring(config, pool - labeled, not before, scope, labeled) if scored else Scoring(0, 0)
    why = _people(config) + trained.why + after.why
    used = Work(
        labels=query_size,
        record_epochs=trained.record_epochs,
        train_passes=trained.passes,
        items_scored=after.items,
        infer_passes=after.passes,
        exact=not why,
        why=why,
        stages=_STAGES if scored else _STAGES - 1,
    )
    return used + targeted(config, labeled, pool - labeled, held_out) if target else used


def targeted(config: Config, labeled: int, unlabeled: int, held_out: int) -> Work:
    """What TARGET uses on so many ``labeled`` items; the loop has a proxy.

    The items on which target and proxy are compared are scored by both, and by a second target for the ceiling.
    """
    assert config.proxy is not None
    train = config.train
    held = _held_back(labeled, train.validation)
    each, trainings = (labeled - held) * train.epochs, train.members * train.repeats
    looked_at = held * train.epochs * trainings + held_out * trainings + held * train.members
    compared = min(config.proxy.agreement, unlabeled) if agreement.obstacle(config) is None else 0
    by_proxy = compared * config.selecting.members * config.infer.passes
    by_target = compared * train.members * agreement.passes(config)
    if config.proxy.ceiling and compared:
        trainings += train.members
        looked_at += held * train.epochs * train.members
        by_target *= 2
    records = each * trainings
    why = _why("train", train, held)
    passes = records + looked_at + by_proxy + by_target
    return Work(0, 0, 0, 0, 0, not why, why, 1, 1, records, passes, by_proxy)


def training(
    config: Config,
    before: int,
    query_size: int,
    held_out: int,
    retrain: str | Mapping[str, Any] = "scratch",
    stop_set: int = 0,
) -> Training:
    """What TRAIN uses; arguments as in ``work``.

    Which items are held back for validation is told by their ids, so beforehand their number is an expectation; with
    train.patience the number of epochs is an upper bound.
    """
    settings = _retrained(config, retrain)
    epochs = config.selecting.epochs if settings.get("epochs") is None else int(settings["epochs"])
    members, trainings = config.selecting.members, config.selecting.members * config.selecting.repeats
    held = _held_back(before + query_size, config.selecting.validation)
    used = before + query_size - held
    if settings["mode"] == "resume":
        old = before - _held_back(before, config.selecting.validation)
        # As tasks/train/replay.py has it: older items fill up an epoch that would be too small.
        fewest, new = 2 if config.selecting.model in registry.NORMALISED else 1, used - old
        used = new + min(max(round(settings["replay"] * old), fewest - new), old)
    records = used * epochs * trainings
    passes = records + held * epochs * trainings + held_out * trainings + (stop_set + held) * members
    return Training(records, passes, _why(config.block, config.selecting, held))


def _why(block: str, settings: TrainConfig, held: int) -> tuple[str, ...]:
    """What of a training is not known beforehand, of whose labels ``held`` are likely to be held back."""
    why = []
    if held:
        why.append(f"{block}.validation: how many labels are held back is an expectation")
    if settings.patience is not None:
        why.append(f"{block}.patience: training may end earlier, so at most")
    return tuple(why)


def scoring(
    config: Config,
    unlabeled: int,
    first: bool,
    scope: str | Sequence[Mapping[str, Any]] | None = None,
    labeled: int = 0,
) -> Scoring:
    """What INFER uses on ``unlabeled`` items; ``first``: no value is cached yet, so all of them are scored.

    The features of ``labeled`` items are taken too where the strategy goes by features.
    """
    infer = config.infer
    if scope is None:
        scope = configured_scope(config, first)
    if scope == "none" or not unlabeled:
        return Scoring(0, 0)
    items = counting.under([{"name": "full"}] if isinstance(scope, str) else scope, unlabeled)
    passes = infer.first_passes if first and infer.first_passes is not None else infer.passes
    # The clusters are found once, by the first model of an ensemble.
    clustered = items.expected + min(CLUSTERED, items.expected) if first and "clusters" in infer.scope else 0
    each = config.selecting.members * passes
    featured = 0
    if config.select.strategy in registry.FEATURE_STRATEGIES:
        # Those of the unlabelled items come from the one pass that scores them, or from one more.
        featured = labeled + (items.expected if each > 1 else 0)
    why = (items.why,) if items.why else ()
    return Scoring(items.expected, items.expected * each + clustered + featured, why)


def price(work: Work, config: Config, rates: Rates, seconds: float | None = None) -> Price:
    """What ``work`` costs at the configured prices, if its units take as long as ``rates`` say.

    Args:
        seconds: that a label takes its annotator; None: what is known of it beforehand.
    """
    prices = config.prices
    device_hours = device_seconds(work, rates) / 3600
    stage_hours = work.stages * rates.stage / 3600
    labels = labels_price(work.labels, config, seconds)
    compute = device_hours * prices.device_hour.get(rates.device, 0.0)
    overhead = stage_hours * prices.device_hour.get("cpu", 0.0)
    return Price(labels, compute, overhead, labels + compute + overhead, device_hours, device_hours + stage_hours)


def bill(work: Work, config: Config, rates: Rates) -> Bill:
    """The same money, by what it is for."""
    prices = config.prices
    stage = rates.stage / 3600 * prices.device_hour.get("cpu", 0.0)
    second = prices.device_hour.get(rates.device, 0.0) / 3600
    return Bill(
        labels=labels_price(work.labels, config),
        training=(_training_seconds(work, rates) + _target_seconds(work, rates)) * second + stage * (1 + work.targets),
        inference=work.infer_passes * rates.forward_pass * second
        + (stage if work.stages - work.targets == _STAGES else 0.0),
        selection=stage,
        overhead=stage,
    )


def labels_price(labels: int, config: Config, seconds: float | None = None) -> float:
    """Of labels that are bought in one round: each one's price and its annotator's time, and the fee of the batch.

    ``seconds`` as in ``price``: what is known beforehand are the oracle's, and nothing of people.
    """
    known = config.label.known_seconds if seconds is None else seconds
    return config.prices.of_labels(labels, known, config.answers_per_label)


def _people(config: Config) -> tuple[str, ...]:
    """What only the people who label will tell."""
    if not config.label.by_people:
        return ()
    skipped = "label.labeler: people may skip items, so at most"
    timed = "label.labeler: how long people take, at prices.annotator_second, is not known beforehand"
    return (skipped, timed) if config.prices.annotator_second else (skipped,)


def device_seconds(work: Work, rates: Rates) -> float:
    """Of TRAIN, TARGET and INFER. A record-epoch holds its own forward pass, so only the other passes are added."""
    return _training_seconds(work, rates) + _target_seconds(work, rates) + work.infer_passes * rates.forward_pass


def _training_seconds(work: Work, rates: Rates) -> float:
    evaluated = work.train_passes - work.record_epochs
    each = rates.forward_pass if rates.evaluation is None else rates.evaluation
    return work.record_epochs * rates.record_epoch + evaluated * each


def _target_seconds(work: Work, rates: Rates) -> float:
    epoch = rates.record_epoch if rates.target_record_epoch is None else rates.target_record_epoch
    each = rates.forward_pass if rates.target_forward_pass is None else rates.target_forward_pass
    own = work.target_passes - work.target_record_epochs - work.proxy_passes
    return work.target_record_epochs * epoch + own * each + work.proxy_passes * rates.forward_pass


def _retrained(config: Config, retrain: str | Mapping[str, Any]) -> Mapping[str, Any]:
    return {"mode": retrain, **settings_of(config.policy, retrain)} if isinstance(retrain, str) else retrain


def _held_back(labelled: int, share: float) -> int:
    """Each side gets at least one of two items or more, and a single item is trained on."""
    if not share or labelled < 2:
        return 0
    return min(max(round(share * labelled), 1), labelled - 1)


def configured_scope(config: Config, first: bool) -> str | list[dict[str, Any]]:
    """What INFER scores, as a plan has it; ``first`` as in ``scoring``."""
    if config.select.strategy in registry.BLIND:
        return "none"
    # A subset needs no values to be drawn.
    scopes = [name for name in config.infer.scope if name == "subset" or not first]
    if not scopes or config.infer.scope == ("full",):
        return "full"
    return [{"name": name, **_block(config, name)} for name in scopes]


def _block(config: Config, name: str) -> dict[str, Any]:
    block = getattr(config.infer, name, None)
    return block.model_dump(mode="json") if block is not None else {}

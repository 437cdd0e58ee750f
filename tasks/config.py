"""The configuration of a loop: plain YAML, validated into frozen models."""

import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BeforeValidator, Field, ValidationError, model_validator

from tasks import registry
from tasks.config_base import LONGEST, Count, Model, Numbers, Part, Positive, Price, Ratio, Share, one_of
from tasks.config_faults import describe
from tasks.config_policy import METRICS, PolicyConfig, RatesConfig, of_numbers
from tasks.config_train import ProxyConfig, TrainConfig, filled_in
from tasks.errors import ConfigError

#: The probability from which on it is refused that a model has been trained on an item of a later validation.
LEAK = 1e-6


class DatasetConfig(Model):
    """Which pool, and where it lies."""

    name: Annotated[str, one_of(registry.DATASETS)] = "digits"
    #: Folder of the data; else $FRUGAL_DATA, else the workspace's data/raw (downloaded where there is a network).
    root: str | None = None
    #: Pool and held-out set of `folder` (sub-folders) and `manifest` (CSV or Parquet files), inside root.
    pool: str = "train"
    test: str = "test"
    #: Class names in order; needed where the pool has no labels and the held-out set does not show them all.
    classes: Annotated[tuple[str, ...], Field(strict=False)] | None = None
    #: Side in pixels to which images of varying size are brought (short side scaled, centre cropped).
    image_size: Annotated[int, Field(ge=1, le=4096)] = 64
    #: Colour channels to which image files are brought: 1 or 3.
    channels: Literal[1, 3] = 3
    #: Column of a table that holds the labels.
    label: Annotated[str, Field(min_length=1)] = "label"
    #: Columns of `texts` that make up an item, joined by a blank in this order.
    text: Annotated[tuple[str, ...], Field(strict=False, min_length=1)] = ("text",)
    #: Columns of `table` that the model sees; null: all but id and label.
    features: Annotated[tuple[str, ...], Field(strict=False, min_length=1)] | None = None
    #: Names of the columns of CSV files that have no line with them; null: the first line names them.
    header: Annotated[tuple[str, ...], Field(strict=False, min_length=1)] | None = None
    #: Least and greatest label of a regression; null: any finite number.
    bounds: Annotated[tuple[float, float], Field(strict=False)] | None = None
    #: Keep this many items of the pool: those whose ids have the smallest SHA-256, in the pool's order.
    limit: Count | None = None


class LoopConfig(Model):
    """How many rounds, and how many labels each."""

    rounds: Count = 5
    initial: Count = 50
    query_size: Count = 50
    #: Stop once this many labels are bought.
    max_labels: Count | None = None


class SelectConfig(Model):
    """Which items next."""

    #: class_balanced reads the true classes of the whole pool: for simulation only.
    initial: Annotated[str, one_of(registry.INITIAL_POOLS)] = "random"
    strategy: Annotated[str, one_of(registry.ALL_STRATEGIES)] = "top_k"
    #: Rounds since an item's value was computed beyond which it only fills up what fresher ones leave; null: no bound.
    max_age: Annotated[int, Field(ge=0)] | None = 0
    #: Coldness of power, softmax and softrank: 0 would be random, infinity top-k.
    beta: Positive = 1.0
    #: Parquet file of `id` and `features` from elsewhere, by which typiclust and max_herding go; null: by the pixels.
    features: str | None = None
    #: As many tasks again, as a share of those that people get, are items whose label is known: they tell how often
    #: annotators err.
    checks: Share = 0.0
    #: Folder of a loop, or a table of ids in the order in which they were selected, whose selection `recorded` repeats.
    recorded: str | None = None

    @model_validator(mode="after")
    def _recording_is_named(self) -> "SelectConfig":
        repeats = [self.initial == "recorded", self.strategy == "recorded"]
        if any(repeats) and not all(repeats):
            raise ValueError("initial and strategy repeat one selection; set both to recorded, or neither")
        if all(repeats) != (self.recorded is not None):
            raise ValueError(
                "recorded names a selection, and initial=recorded with strategy=recorded repeat it; set all three"
            )
        if self.features is not None and self.initial not in registry.COLD_STARTS:
            raise ValueError(f"features are for initial={' and '.join(sorted(registry.COLD_STARTS))}; leave them out")
        return self


class LabelStudioConfig(Model):
    """Where people label in Label Studio."""

    #: Its address, unless the environment variable LABEL_STUDIO_URL names another.
    url: Annotated[str, Field(pattern=r"^https?://([^/\s?#@:\[\]]+|\[[0-9A-Fa-f:.]+\])(:\d{1,5})?(/[^\s?#]*)?$")] = (
        "http://127.0.0.1:8080"
    )


class LabelConfig(Model):
    """Who labels."""

    labeler: Annotated[str, one_of(registry.LABELERS)] = "oracle"
    #: Seconds that one label takes the oracle; recorded, not waited for.
    seconds: Price = 0.0
    #: Share of the oracle's labels that are wrong, spread evenly over the other classes.
    noise: Share = 0.0
    #: Instead of noise: row i holds the probabilities of each answer for true class i; every row sums to 1.
    confusion: Annotated[tuple[Numbers, ...], Field(strict=False)] | None = None
    #: People, of whom each item needs so many answers.
    annotators: Annotated[int, Field(ge=1, le=100)] = 1
    #: How several answers become one label: most of them, of numbers the median; the earliest; or none unless at least
    #: the share ``agreement`` of them are the same.
    rule: Literal["majority", "first", "agreement"] = "majority"
    agreement: Ratio = 1.0
    #: Share of the tasks that have to be labelled or skipped before the round closes; the rest goes back to the pool.
    quorum: Ratio = 1.0
    #: Hours after the opening of a round at which it closes with what is there.
    deadline: Annotated[float, Field(gt=0, le=LONGEST)] | None = None
    label_studio: LabelStudioConfig = LabelStudioConfig()

    @property
    def by_people(self) -> bool:
        """Whether people answer, who have to be waited for."""
        return self.labeler in registry.PEOPLE

    @property
    def known_seconds(self) -> float:
        """What is known beforehand of the seconds that a label takes: 0 of people, who are not simulated."""
        return 0.0 if self.by_people else self.seconds

    @model_validator(mode="after")
    def _one_noise(self) -> "LabelConfig":
        if self.confusion is not None and self.noise:
            raise ValueError("noise and confusion exclude each other; keep one")
        for row, probabilities in enumerate(self.confusion or ()):
            if min(probabilities) < 0 or abs(sum(probabilities) - 1) > 1e-6:
                raise ValueError(f"confusion row {row} must hold probabilities that sum to 1")
        return self

    @model_validator(mode="after")
    def _only_people(self) -> "LabelConfig":
        usual = LabelConfig.model_construct()
        for key in ("annotators", "rule", "agreement", "quorum", "deadline"):
            if not self.by_people and getattr(self, key) != getattr(usual, key):
                raise ValueError(f"{key} is for people who answer; the {self.labeler} gives one answer to each task")
        if self.agreement != 1.0 and self.rule != "agreement":
            raise ValueError("agreement belongs to the rule `agreement`; set rule to it")
        return self


class CandidatesConfig(Model):
    """Candidates drawn by their cached values: weights exp(value^power / temperature)."""

    #: How many, or which share of the unlabelled items; one of the two.
    size: Count | None = None
    ratio: Ratio | None = None
    #: On the rank scale roughly the share of the pool, from its top, among which most candidates are drawn, if they
    #: are fewer than that; if they are more, hardly anything of that share is missed.
    temperature: Positive = 0.01
    power: Positive = 1.0
    #: What is done to the values first: ranks in (0, 1), standard scores, or nothing.
    scale: Literal["rank", "standard", "raw"] = "rank"
    #: Share of the candidates that is drawn uniformly instead.
    explore: Part = 0.1
    #: Added to a value, on its scale, for each round since it was computed; below 0 old values count for less.
    stale_bonus: Annotated[float, Field(ge=-1e6, le=1e6)] = 0.0


class SubsetConfig(Model):
    """Items drawn uniformly, anew in each round, whatever is known of them."""

    #: How many, or which share of the unlabelled items; one of the two.
    size: Count | None = None
    ratio: Ratio | None = None


class TopConfig(Model):
    """The highest cached values, and some others."""

    size: Count | None = None
    ratio: Ratio | None = None
    explore: Part = 0.1


class EveryConfig(Model):
    """Each item in one round of several, another part of the pool each round."""

    rounds: Annotated[int, Field(ge=2, le=10**6)] = 2


class ClustersConfig(Model):
    """A share of each cluster of the features that the first scoring model had."""

    #: No more than a tenth of the 20,000 items on which the centres are found.
    count: Annotated[int, Field(ge=2, le=2000)] = 100
    ratio: Ratio = 0.1
    #: Share of these that are the nearest to the centre; the others are drawn at random.
    nearest: Part = 0.5


class PruneConfig(Model):
    """Items with exceptionally low values are left alone for a while."""

    #: Share of the items, from the lowest value on.
    share: Annotated[float, Field(gt=0, lt=1)] = 0.2
    #: Only items scored at least this often.
    times: Count = 2
    #: So many rounds are left out after their last scoring; null: all.
    rounds: Count | None = 3


class InferConfig(Model):
    """How the pool is scored."""

    acquisition: Annotated[str, one_of(registry.ALL_ACQUISITIONS)] = "entropy"
    #: Forward passes per item with dropout left on; 1 is one pass without.
    passes: Annotated[int, Field(ge=1, le=10**5)] = 1
    #: Instead of passes in the first, full pass of a loop whose later ones are not full: it orders the whole pool for
    #: all later candidates, but chooses one batch only, that of round 001.
    first_passes: Annotated[int, Field(ge=1, le=10**5)] | None = None
    batch_size: Count = 512
    #: Which items are scored; each scope narrows what the one before leaves. The first pass is full, but for subset.
    scope: Annotated[tuple[Annotated[str, one_of(registry.SCOPES)], ...], Field(strict=False, min_length=1)] = ("full",)
    subset: SubsetConfig = SubsetConfig()
    candidates: CandidatesConfig = CandidatesConfig()
    top: TopConfig = TopConfig()
    every: EveryConfig = EveryConfig()
    clusters: ClustersConfig = ClustersConfig()
    prune: PruneConfig = PruneConfig()

    @model_validator(mode="after")
    def _scopes_have_a_size(self) -> "InferConfig":
        if len(set(self.scope)) < len(self.scope):
            raise ValueError("scope names the same scope twice")
        if self.first_passes is not None and self.scope == ("full",):
            raise ValueError(
                "first_passes is for loops whose later passes are not full; set infer.scope, or leave it out"
            )
        for name, settings in (("subset", self.subset), ("candidates", self.candidates), ("top", self.top)):
            if name in self.scope and (settings.size is None) == (settings.ratio is None):
                raise ValueError(f"scope {name} needs one of {name}.size and {name}.ratio")
        return self


def scope_settings(source: str, scope: Any) -> dict[str, Any]:
    """A scope of a plan, its name and settings, once they have proved to be such as a configuration may have.

    Raises:
        ConfigError: the scope is unknown, or a setting is missing, unknown or impossible; ``source`` is named.
    """
    if not isinstance(scope, dict) or scope.get("name") not in registry.SCOPES:
        raise ConfigError(f"{source}: unknown scope in infer_scope: {scope!r}; known: {', '.join(registry.SCOPES)}")
    name = scope["name"]
    settings = {key: value for key, value in scope.items() if key != "name"}
    values: dict[str, Any] = {"scope": [name]} | ({name: settings} if name in InferConfig.model_fields else {})
    try:
        block = getattr(InferConfig.model_validate(values), name, None)
    except ValidationError as error:
        faults = "; ".join(describe(fault, InferConfig) for fault in error.errors())
        raise ConfigError(f"{source}: infer_scope: {faults}") from None
    if block is None and settings:
        raise ConfigError(f"{source}: infer_scope: {name} takes no settings")
    return {"name": name} | (block.model_dump(mode="json") if block is not None else {})


def _off(value: Any) -> Any:
    """YAML takes a bare off for the truth value."""
    return "off" if value is False else value


class RecordConfig(Model):
    """Where finished rounds are recorded besides their files."""

    git: Annotated[Literal["commit", "off"], BeforeValidator(_off)] = "commit"
    dvc: bool = True
    #: Whether each finished round's files go to DVC's default remote.
    push: bool = False
    mlflow: bool = True

    @model_validator(mode="after")
    def _something_to_push(self) -> "RecordConfig":
        if self.push and not self.dvc:
            raise ValueError("push sends what DVC keeps; set record.dvc=true, or leave it out")
        return self


class PricesConfig(Model):
    """What things cost, in one currency; an amount may name it, such as `0.05 USD`."""

    currency: str = Field(min_length=1)
    label: Price
    #: Per second that an annotator took, besides.
    annotator_second: Price = 0.0
    #: Per round in which labels are bought, besides.
    batch_fee: Price = 0.0
    #: Per hour of one device, by kind: cpu (the whole machine), cuda (one GPU).
    device_hour: dict[Literal["cpu", "cuda"], Price]

    def of_labels(self, labels: int, seconds: float, answers: float = 1.0) -> float:
        """Of labels that are bought in one round by so many answers each, which take an annotator so many seconds."""
        each = answers * (self.label + seconds * self.annotator_second)
        return math.fsum([labels * each, self.batch_fee]) if labels else 0.0

    @model_validator(mode="before")
    @classmethod
    def _in_one_currency(cls, values: Any) -> Any:
        if not isinstance(values, dict) or not isinstance(values.get("currency"), str):
            return values
        return {
            name: value if name == "currency" else _amounts(name, value, values["currency"])
            for name, value in values.items()
        }


_AMOUNT = re.compile(r"\s*(-?[\d.]+(?:e[+-]?\d+)?)\s*", re.I)
#: No currency begins like a number that goes on.
_IN_CURRENCY = re.compile(_AMOUNT.pattern + r"([^\d\s.,+-]\S*)\s*", re.I)


def _amounts(key: str, value: Any, currency: str) -> Any:
    """``value`` with every `0.05 USD` in it as a number, once it has proved to be in ``currency``."""
    if isinstance(value, dict):
        return {name: _amounts(f"{key}.{name}", amount, currency) for name, amount in value.items()}
    if not isinstance(value, str):
        return value
    if _AMOUNT.fullmatch(value):
        amount = value.strip()
        raise ValueError(
            f"{key} is the text {value!r}, where a number is wanted; write {amount} without quotes, or with its "
            f"currency: {amount} {currency}"
        )
    if (found := _IN_CURRENCY.fullmatch(value)) is None or found[1].count(".") > 1:
        raise ValueError(
            f"{key} is {value!r}; an amount is a number, such as 0.05, or a number and its currency: 0.05 {currency}"
        )
    if found[2] != currency:
        raise ValueError(f"{key} is in {found[2]}, and currency is {currency}; give every price in one currency")
    return float(found[1])


def _stop_amounts(key: str, stop: dict[str, Any], currency: str) -> dict[str, Any]:
    """The values of policy.stop, or of a group in it, with `5 USD` as a number in the rules that go by money."""
    found = dict(stop)
    for rule, name in (("budget", "money"), ("marginal_value", "value_per_point")):
        settings = stop.get(rule)
        if isinstance(settings, dict) and name in settings:
            amount = _amounts(f"{key}.{rule}.{name}", settings[name], currency)
            found[rule] = {**settings, name: amount}
    groups = {name: stop[name] for name in ("any", "all") if isinstance(stop.get(name), dict)}
    return found | {name: _stop_amounts(f"{key}.{name}", group, currency) for name, group in groups.items()}


class Config(Model):
    """One experiment."""

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$")
    seed: Annotated[int, Field(ge=0, lt=2**63)] = 0
    device: Literal["auto", "cpu", "cuda"] = "auto"
    #: What a label is: one class of several, or a number.
    task: Literal["classification", "regression"] = "classification"
    dataset: DatasetConfig = DatasetConfig()
    loop: LoopConfig = LoopConfig()
    select: SelectConfig = SelectConfig()
    label: LabelConfig = LabelConfig()
    #: The model that the loop is for.
    train: TrainConfig = TrainConfig()
    #: null: the model that the loop is for selects itself.
    proxy: ProxyConfig | None = None
    infer: InferConfig = InferConfig()
    policy: PolicyConfig = PolicyConfig()
    record: RecordConfig = RecordConfig()
    prices: PricesConfig
    #: null: measured where a policy or `frugal plan` needs them.
    rates: RatesConfig | None = None

    @model_validator(mode="before")
    @classmethod
    def _policies_in_the_currency_of_the_prices(cls, values: Any) -> Any:
        match values:
            case {"prices": {"currency": str(currency)}, "policy": {"stop": dict(stop)}}:
                policy = {**values["policy"], "stop": _stop_amounts("policy.stop", stop, currency)}
                return {**values, "policy": policy}
        return values

    @model_validator(mode="before")
    @classmethod
    def _policies_in_terms_of_the_task(cls, values: Any) -> Any:
        match values:
            case {"task": "regression", "policy": dict(policy)}:
                return {**values, "policy": of_numbers(policy)}
            case {"task": "regression", **others} if "policy" not in others:
                return {**values, "policy": of_numbers({})}
        return values

    @property
    def selecting(self) -> TrainConfig:
        """How the model learns that is trained in every round and scores the pool: the proxy, if there is one."""
        return self.train if self.proxy is None else self.proxy.train

    @property
    def block(self) -> str:
        """The dotted path of ``selecting``."""
        return "train" if self.proxy is None else "proxy.train"

    @model_validator(mode="before")
    @classmethod
    def _numbers_are_scored_by_their_spread(cls, values: Any) -> Any:
        match values:
            case {"task": "regression", **others}:
                infer = others.get("infer", {})
                return {**values, "infer": {"acquisition": "total_std", **infer} if isinstance(infer, dict) else infer}
        return values

    @model_validator(mode="after")
    def _task_is_possible(self) -> "Config":
        known = registry.ACQUISITIONS_OF[self.task]
        if self.infer.acquisition not in known:
            raise ValueError(
                f"infer.acquisition: {self.infer.acquisition} is not for task={self.task}; choose one of "
                f"{', '.join(known)}"
            )
        if fault := _wrong_for_task(self):
            raise ValueError(fault)
        return self

    @model_validator(mode="before")
    @classmethod
    def _proxy_is_like_the_target_but_for_what_it_sets(cls, values: Any) -> Any:
        match values:
            case {"proxy": dict(proxy), **others}:
                own = others.get("train", {})
                train = TrainConfig().model_dump(mode="json") | own if isinstance(own, dict) else own
                return {**values, "proxy": filled_in(train, proxy)}
        return values

    @model_validator(mode="after")
    def _rates_know_the_target(self) -> "Config":
        rates = self.rates
        if rates is None:
            return self
        known = [rates.target_record_epoch is not None, rates.target_forward_pass is not None]
        if self.proxy is not None and not all(known):
            raise ValueError(
                "rates: record_epoch and forward_pass are the proxy's; set target_record_epoch and target_forward_pass "
                "as well, or leave rates out to have them measured"
            )
        if self.proxy is None and any(known):
            raise ValueError("rates: there is no proxy, so there is no other target; leave rates.target_… out")
        return self

    @model_validator(mode="after")
    def _enough_predictions(self) -> "Config":
        name, first = self.infer.acquisition, self.infer.first_passes
        fewest = self.infer.passes if first is None else min(self.infer.passes, first)
        if name in registry.COMPARING and fewest * self.selecting.members < 2:
            raise ValueError(
                f"infer.acquisition: {name} compares several predictions of an item; set infer.passes (dropout left "
                f"on; and infer.first_passes) or {self.block}.members (an ensemble) to 2 or more"
            )
        if name in registry.MODEL_ACQUISITIONS and max(self.infer.passes, first or 1, self.selecting.members) > 1:
            raise ValueError(
                f"infer.acquisition: {name} looks into one model in one pass; set infer.passes=1 and "
                f"{self.block}.members=1, and leave infer.first_passes out"
            )
        if name in registry.LOSS_PREDICTING and self.selecting.loss_prediction is None:
            raise ValueError(
                f"infer.acquisition: {name} needs a model that learnt to predict its loss; set "
                f"{self.block}.loss_prediction={{}}"
            )
        return self

    @model_validator(mode="after")
    def _policies_are_of_the_task(self) -> "Config":
        policy, names = self.policy, METRICS[self.task]
        if policy.metric not in names:
            raise ValueError(
                f"policy.metric: {policy.metric} is not measured where task={self.task}; set policy.metric={names[0]}, "
                f"or {names[1]} to give the held-out set a say"
            )
        if self.task == "regression" and (keys := policy.needs_classes()):
            mend = "set policy.retrain to another mode" if keys[0] == "policy.retrain" else "leave it out"
            raise ValueError(f"{keys[0]}: goes by predicted classes, and a regression has none; {mend}")
        return self

    @model_validator(mode="after")
    def _policies_agree(self) -> "Config":
        policy = self.policy
        keys = policy.needs_metric()
        if keys and not policy.on_held_out and not self.selecting.validation:
            raise ValueError(
                f"{keys[0]}: goes by the validation {policy.held_out_metric}, and nothing is held back for it; set "
                f"{self.block}.validation to a share of the labels, or policy.metric={policy.held_out_metric} to give "
                "the held-out set a say"
            )
        if policy.retrain != "scratch" and self.selecting.repeats > 1:
            raise ValueError(
                f"policy.retrain: {policy.retrain} goes on from one model, and {self.block}.repeats trains several; "
                f"set policy.retrain=scratch or {self.block}.repeats=1"
            )
        if policy.false_start is not None and self.select.recorded is not None:
            raise ValueError(
                "policy.false_start: a loop that begins anew needs another initial pool, and select.recorded repeats "
                "the same one; leave one of them out"
            )
        # How large a schedule's first round is depends on the pool (tasks/check.py).
        if policy.query_size != "schedule" and (short := short_budget(self, self.loop.initial, "loop.initial")):
            raise ValueError(short)
        if policy.scope == "adaptive" and self.select.strategy in registry.BLIND:
            raise ValueError(
                f"policy.scope: adaptive changes what is scored, and select.strategy={self.select.strategy} reads no "
                "scores; set policy.scope=fixed, or another strategy"
            )
        if policy.scope == "adaptive" and "candidates" not in self.infer.scope:
            raise ValueError("policy.scope: adaptive changes infer.candidates; put candidates into infer.scope")
        return self

    @property
    def answers_per_label(self) -> float:
        """How many answers are paid for one label, with those that check annotators; a disputed item takes more."""
        return self.label.annotators * (1.0 + self.select.checks)

    @model_validator(mode="after")
    def _checks_are_of_people(self) -> "Config":
        if self.select.checks and not self.label.by_people:
            raise ValueError("select.checks: measures people, and label.labeler=oracle knows the labels; leave it out")
        return self

    @model_validator(mode="after")
    def _stop_rules_can_hold(self) -> "Config":
        policy, rounds, aim = self.policy, self.loop.rounds, self.policy.cost_optimal.target
        for key, value, needed in policy.stop.never(rounds):
            raise ValueError(
                f"policy.stop.{key}: {value} takes {needed} rounds, and loop.rounds = {rounds} ends the loop before; "
                "lower it, raise loop.rounds, or leave the rule out"
            )
        if policy.query_size == "cost_optimal" and aim is not None:
            for target in policy.stop.targets():
                if target != aim:
                    raise ValueError(
                        f"policy.cost_optimal.target: {aim:g} is not the {target:g} of "
                        f"policy.stop.target.{policy.held_out_metric}, at which the loop stops; set both to the same "
                        "value"
                    )
        return self

    @model_validator(mode="after")
    def _validation_is_never_trained_on(self) -> "Config":
        # How large a schedule's first round is depends on the pool (tasks/check.py).
        known = self.policy.query_size != "schedule"
        if known and (leak := leaking_validation(self, self.loop.initial, "loop.initial")):
            raise ValueError(leak)
        return self

    @model_validator(mode="after")
    def _policies_have_something_to_go_by(self) -> "Config":
        policy, infer = self.policy, self.infer
        if policy.scope == "adaptive" and (infer.scope[-1] != "candidates" or not infer.candidates.explore):
            raise ValueError(
                "policy.scope: adaptive measures on uniformly drawn candidates what the others miss; put candidates "
                "last in infer.scope, and set infer.candidates.explore above 0"
            )
        unbound = self.loop.max_labels is None and not policy.stop.budgets()
        if policy.query_size == "cost_optimal" and policy.cost_optimal.target is None and unbound:
            raise ValueError(
                "policy.query_size: cost_optimal needs an aim; set policy.cost_optimal.target, or bound the loop by "
                "policy.stop.budget or loop.max_labels"
            )
        return self


def _wrong_for_task(config: Config) -> str | None:
    """What is asked for that labels of this task type do not have, or None."""
    if config.task == "classification":
        return None if config.dataset.bounds is None else "dataset.bounds: classes have none; leave it out"
    found = {
        "select.initial": config.select.initial in registry.BY_CLASSES,
        "select.strategy": config.select.strategy in registry.BY_CLASSES,
        "label.noise": config.label.noise,
        "label.confusion": config.label.confusion is not None,
        "dataset.classes": config.dataset.classes is not None,
    }
    for block, train in (("train", config.train), (config.block, config.selecting)):
        found |= {f"{block}.label_smoothing": train.label_smoothing}
        found |= {f"{block}.loss_prediction": train.loss_prediction is not None}
    if config.label.rule == "agreement":
        return (
            "label.rule: agreement asks for equal answers, and with task=regression they are numbers; choose majority, "
            "which takes their median, or first"
        )
    if config.select.strategy == "softmax":
        return (
            "select.strategy: softmax weighs values in their own unit, which with task=regression is the label's; "
            "choose power or softrank"
        )
    if "candidates" in config.infer.scope and config.infer.candidates.scale == "raw":
        return (
            "infer.candidates.scale: raw weighs values in their own unit, which with task=regression is the label's; "
            "choose rank or standard"
        )
    key = next((key for key, wrong in found.items() if wrong), None)
    return None if key is None else f"{key}: is for classes, and with task=regression labels are numbers; leave it out"


def short_budget(config: Config, first: int, key: str) -> str | None:
    """Why policy.stop.budget does not pay for the ``first`` labels that ``key`` asks for, or None if it does.

    How long people will take for them nobody knows, so that is left out.
    """
    stop, prices = config.policy.stop, config.prices
    labels, money = stop.bound("labels"), stop.bound("money")
    if labels is not None and labels < first:
        return (
            f"policy.stop.budget.labels: {labels:g} is less than the initial pool ({key}: {first}); raise it, or "
            f"lower {key}"
        )
    price = prices.of_labels(first, config.label.known_seconds, config.answers_per_label)
    if money is not None and money < price:
        return (
            f"policy.stop.budget.money: {money:g} {prices.currency} is less than the labels of the initial pool cost "
            f"({first} labels: {price:g} {prices.currency}); raise it, or lower {key}"
        )
    return None


def leaking_validation(config: Config, first: int, key: str) -> str | None:
    """Why a model may go on from one that was trained on items now held back, or None if that is out of the question.

    If all of the ``first`` labels that ``key`` asks for fell on the side of validation, one of them would be trained on
    all the same (``held_back`` in tasks/train/examples.py), and be held back again as soon as there are others.
    """
    share, mode = config.selecting.validation, config.policy.retrain
    if mode == "scratch" or not share or (chance := share**first) <= LEAK:
        return None
    needed = math.ceil(math.log(LEAK) / math.log(share))
    return (
        f"{config.block}.validation: {share:g} of the first {first} labels may be all of them (probability "
        f"{chance:.1g}), and policy.retrain={mode} would go on from a model that was trained on an item later held "
        f"back; begin with {needed} labels or more ({key}), lower {config.block}.validation, or set "
        "policy.retrain=scratch"
    )


#: Characters of an override that a message repeats.
_LONGEST = 80


def load(path: Path, overrides: tuple[str, ...] = (), prices: Path | None = None) -> Config:
    """Read an experiment's YAML, the prices beside it or in ``prices``, and ``key=value`` overrides by dotted path.

    Raises:
        ConfigError: a file is missing or not YAML; a key is unknown, of the wrong type or impossible.
    """
    prices = prices or path.parent / "prices.yaml"
    layers = [{"prices": _mapping(prices)}] if prices.exists() else []
    return _merged([*layers, _mapping(path)], overrides, str(path))


def override(base: Config, overrides: tuple[str, ...], source: str) -> Config:
    """``base`` with ``key=value`` overrides; ``source`` names its origin in messages.

    Raises:
        ConfigError: a key is unknown, of the wrong type or impossible.
    """
    return _merged([dump(base)], overrides, source)


def _merged(layers: list[Any], overrides: tuple[str, ...], source: str) -> Config:
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    try:
        merged = OmegaConf.merge(*layers)
        for item in overrides:
            _override(merged, item)
        values = OmegaConf.to_container(merged)
    except (OmegaConfBaseException, yaml.YAMLError, ValueError, RecursionError) as error:
        raise ConfigError(f"{source}: {str(error).splitlines()[0]}") from None
    if (dotted := _interpolated(values)) is not None:
        origin = _overriding(dotted, overrides) or source
        raise ConfigError(f"{origin}: {dotted}: ${{…}} is not filled in; write the value itself")
    return parse(values, source, overrides)


def _override(merged: Any, item: str) -> None:
    """Put one override into ``merged``."""
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    if "=" not in item or item.startswith("="):
        raise ConfigError(f"{item!r}: an override is written key=value, such as loop.rounds=5")
    try:
        # In place: a copy of everything takes some milliseconds for each override.
        merged.merge_with(OmegaConf.from_dotlist([item]))
    # A list where a block stands is a TypeError to OmegaConf.
    except (OmegaConfBaseException, yaml.YAMLError, ValueError, TypeError, RecursionError) as error:
        problem = getattr(error, "problem", None) or str(error).splitlines()[0]
        raise ConfigError(f"override {_cut(item)}: its value cannot be read ({problem})") from None


def _overriding(dotted: str, overrides: tuple[str, ...]) -> str | None:
    """The override that the value of a key comes from, in words; None where it comes from a file."""
    for item in reversed(overrides):
        key = item.partition("=")[0]
        if dotted == key or dotted.startswith(f"{key}."):
            return f"override {_cut(item)}"
    return None


def _cut(item: str) -> str:
    return item if len(item) <= _LONGEST else f"{item[: _LONGEST - 1]}…"


def parse(values: Any, source: str, overrides: tuple[str, ...] = ()) -> Config:
    """Validate plain values into a Config; ``source`` names their origin in messages, ``overrides`` what changed them.

    Raises:
        ConfigError: a key is unknown, of the wrong type or impossible; all of them are named.
    """
    try:
        return Config.model_validate(values)
    except ValidationError as error:
        faults: dict[str, list[str]] = {}
        for fault in error.errors():
            dotted = ".".join(str(part) for part in fault["loc"])
            faults.setdefault(_overriding(dotted, overrides) or source, []).append(describe(fault, Config))
        raise ConfigError("; ".join(f"{origin}: {'; '.join(told)}" for origin, told in faults.items())) from None


def dump(config: Config) -> dict[str, Any]:
    """The resolved configuration as plain JSON values, defaults included."""
    return config.model_dump(mode="json")


def differences(before: Config, after: Config) -> list[str]:
    """The dotted keys whose values differ, with both values."""
    flat_before, flat_after = flatten(dump(before)), flatten(dump(after))
    keys = sorted(flat_before.keys() | flat_after.keys())
    return [
        f"{key}: {flat_before.get(key)!r} → {flat_after.get(key)!r}"
        for key in keys
        if flat_before.get(key) != flat_after.get(key)
    ]


def flatten(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested mappings as one, by dotted keys; an empty one has none."""
    flat: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, dict):
            flat |= flatten(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value
    return flat


def _mapping(path: Path) -> Any:
    from omegaconf import DictConfig, OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    try:
        # Its YAML takes 1e-3 for a number, dates for text, and a key that stands twice for a fault.
        loaded = OmegaConf.load(path)
    except FileNotFoundError:
        raise ConfigError(f"{path}: no such configuration file") from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f", line {mark.line + 1}" if mark else ""
        problem = getattr(error, "problem", None) or "unreadable"
        raise ConfigError(f"{path}{where}: not valid YAML ({problem})") from None
    except (OSError, ValueError, RecursionError, OmegaConfBaseException) as error:
        raise ConfigError(f"{path}: cannot be read ({str(error).splitlines()[0]})") from None
    if not isinstance(loaded, DictConfig):
        raise ConfigError(f"{path}: must hold a mapping of keys to values")
    return loaded


def _interpolated(values: Any, key: str = "") -> str | None:
    """The dotted key of the first text that asks for something to be filled in: it might be a secret."""
    if isinstance(values, str):
        return key if "${" in values else None
    inner = values.items() if isinstance(values, dict) else enumerate(values) if isinstance(values, list) else ()
    found = (_interpolated(value, f"{key}.{name}".lstrip(".")) for name, value in inner)
    return next((dotted for dotted in found if dotted is not None), None)

"""The policies' block of the configuration: when to stop, what to buy, how to train again, what to score."""

from collections.abc import Iterator, Mapping
from itertools import pairwise
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from tasks import registry
from tasks.config_base import Amount, Count, Model, Part, Price, Ratio, Share, one_of

#: Of the metrics that are taken on labels held back from training.
_VALIDATION = "validation_"
#: What policies may go by, by the task.
METRICS = {"classification": ("validation_accuracy", "accuracy"), "regression": ("validation_r2", "r2")}
#: How sure a policy has to be before it acts.
Confidence = Annotated[float, Field(ge=0.5, lt=1)]
#: Rules that wait for rounds: by which setting, and for how many more than that, as a gain takes a round before it.
_WAITS = {
    "rounds": ("at_least", 0),
    "target": ("patience", 0),
    "plateau": ("patience", 1),
    "stable_predictions": ("patience", 1),
    "overall_uncertainty": ("patience", 0),
}


class RoundsRule(Model):
    """Holds once so many rounds are trained; for use inside `all`, where loop.rounds would be too much."""

    at_least: Count


class BudgetRule(Model):
    """Holds once the next round would exceed one of the amounts; what false starts used counts."""

    labels: Count | None = None
    #: In the currency of the prices.
    money: Amount | None = None
    #: Of all kinds of devices.
    device_hours: Amount | None = None
    #: Of the stages, one after the other; nobody's waiting for labels is among them.
    wall_hours: Amount | None = None

    @model_validator(mode="after")
    def _bounds_something(self) -> "BudgetRule":
        if self.labels is self.money is self.device_hours is self.wall_hours is None:
            raise ValueError("set at least one of labels, money, device_hours and wall_hours")
        return self

    def bounds_more_than_labels(self) -> bool:
        """Whether it takes a forecast of compute to ask it."""
        return not (self.money is self.device_hours is self.wall_hours is None)


class TargetRule(Model):
    """Holds once policy.metric has reached a value, in so many rounds one after the other."""

    #: A regression's configuration may call it r2.
    accuracy: Ratio
    patience: Count = 1


class PlateauRule(Model):
    """Holds once the gain over the last rounds is, with so much confidence, less than worth it."""

    #: Rounds over which the gain is taken.
    patience: Count = 3
    #: Of policy.metric, over all these rounds together.
    min_gain: Share = 0.005
    confidence: Confidence = 0.9


class MarginalValueRule(Model):
    """Holds once the next round's expected gain is worth less than the round's forecast price."""

    #: What one percentage point of accuracy, or a hundredth of R², is worth, in the currency of the prices.
    value_per_point: Amount


class StablePredictionsRule(Model):
    """Holds once successive models agree on the stop set; needs no labels."""

    #: Mean agreement beyond chance (Cohen's kappa) over the last `patience` pairs of models.
    kappa: Annotated[float, Field(gt=0, lt=1)] = 0.99
    patience: Count = 3


class OverallUncertaintyRule(Model):
    """Holds once the model is sure of the stop set; needs no labels."""

    #: Mean entropy of the predictions, as a share of the highest possible.
    below: Annotated[float, Field(gt=0, lt=1)] = 0.02
    patience: Count = 1


class LearningCurveRule(Model):
    """Holds once the fitted learning curve promises, at its most hopeful, too little."""

    #: Of policy.metric, from here to the horizon.
    min_gain: Share = 0.005
    #: Labels from here on; null: to the end of the loop.
    horizon: Count | None = None
    confidence: Confidence = 0.9


class StopConfig(Model):
    """Rules of which, at the top and in `any`, one is enough; in `all` every one has to hold."""

    rounds: RoundsRule | None = None
    budget: BudgetRule | None = None
    target: TargetRule | None = None
    plateau: PlateauRule | None = None
    marginal_value: MarginalValueRule | None = None
    stable_predictions: StablePredictionsRule | None = None
    overall_uncertainty: OverallUncertaintyRule | None = None
    learning_curve: LearningCurveRule | None = None
    all: "StopConfig | None" = None
    any: "StopConfig | None" = None

    @model_validator(mode="after")
    def _groups_hold_something(self) -> "StopConfig":
        for name in ("all", "any"):
            group = getattr(self, name)
            if group is not None and not group.rules() and group.all is None and group.any is None:
                raise ValueError(f"{name} holds no rule; name one, or leave it out")
        return self

    def rules(self) -> dict[str, Model]:
        """The rules of this group by name, without those of the groups inside."""
        return {name: getattr(self, name) for name in registry.STOP_RULES if getattr(self, name) is not None}

    def groups(self) -> "Iterator[StopConfig]":
        """This group and all inside."""
        yield self
        for group in (self.all, self.any):
            if group is not None:
                yield from group.groups()

    def names(self) -> set[str]:
        """The rules of this group and of the groups inside."""
        return {name for group in self.groups() for name in group.rules()}

    def never(self, rounds: int, prefix: str = "") -> "Iterator[tuple[str, int, int]]":
        """Rules that cannot hold in so many rounds: key, its value, and the rounds needed.

        Those in `all` are left out: there it is a way to have a rule measured that never ends the loop.
        """
        for name, rule in self.rules().items():
            if name in _WAITS:
                key, more = _WAITS[name]
                if (value := getattr(rule, key)) + more > rounds:
                    yield f"{prefix}{name}.{key}", value, value + more
        if self.any is not None:
            yield from self.any.never(rounds, f"{prefix}any.")

    def targets(self) -> list[float]:
        """The accuracies of which each is enough to stop: at the top, and in `any` inside of it."""
        own = [] if self.target is None else [self.target.accuracy]
        return own + ([] if self.any is None else self.any.targets())

    def budgets(self) -> list[BudgetRule]:
        """Those of which each is enough to stop: at the top, and in `any` inside of it."""
        own = [] if self.budget is None else [self.budget]
        return own + ([] if self.any is None else self.any.budgets())

    def bound(self, amount: str) -> float | None:
        """The least that ``budgets`` allow of labels, money, device_hours or wall_hours; None where none bounds it."""
        amounts = [getattr(budget, amount) for budget in self.budgets()]
        return min((most for most in amounts if most is not None), default=None)


class ScheduleConfig(Model):
    """Query sizes as shares of the whole pool, round 000 included; the last one is repeated."""

    shares: Annotated[tuple[Ratio, ...], Field(strict=False, min_length=1)] = (0.02, 0.08, 0.1)


class GeometricConfig(Model):
    """Each round multiplies the labels."""

    factor: Annotated[float, Field(gt=1, le=1000)] = 2.0
    #: No round asks for more.
    largest: Count | None = None


def _check_bounds(smallest: int | None, largest: int | None) -> None:
    if smallest is not None and largest is not None and smallest > largest:
        raise ValueError(f"smallest ({smallest}) is above largest ({largest}), which leaves no size; exchange them")


class CostOptimalConfig(Model):
    """The query size that makes the rest of the loop cheapest, or best within the budget."""

    #: Of policy.metric; null: no target, so the best value within policy.stop.budget or loop.max_labels is sought.
    target: Ratio | None = None
    #: Bounds of a round; smallest is also what is asked for while the curve is too short to fit (null:
    #: loop.query_size); largest, if null, is the labels so far.
    smallest: Count | None = None
    largest: Count | None = None

    @model_validator(mode="after")
    def _bounds_leave_a_size(self) -> "CostOptimalConfig":
        _check_bounds(self.smallest, self.largest)
        return self


class WarmConfig(Model):
    """All labels, from the last round's weights."""

    #: Instead of train.epochs.
    epochs: Count | None = None


class ResumeConfig(Model):
    """The round's new labels and a share of the older ones, from the last round's weights."""

    #: Of the older labels, drawn anew in each epoch.
    replay: Part = 0.25
    epochs: Count | None = None


class ShrinkPerturbConfig(Model):
    """All labels, from the last round's weights, shrunk and mixed with newly drawn ones."""

    shrink: Annotated[float, Field(gt=0, le=1)] = 0.4
    perturb: Annotated[float, Field(ge=0, le=1)] = 0.1
    epochs: Count | None = None


class AutoRetrainConfig(Model):
    """From scratch until the model is stable, then by another mode, and back when it is not."""

    then: Literal["warm", "resume", "shrink_perturb"] = "resume"
    #: The model is stable at this agreement (Cohen's kappa on the stop set) with the one before …
    kappa: Annotated[float, Field(gt=0, lt=1)] = 0.95
    #: … and no longer so below this one.
    back: Annotated[float, Field(gt=0, lt=1)] = 0.9

    @model_validator(mode="after")
    def _back_is_below(self) -> "AutoRetrainConfig":
        if self.back > self.kappa:
            raise ValueError(f"back ({self.back}) is above kappa ({self.kappa}), so every round would change the mode")
        return self


class AdaptiveScopeConfig(Model):
    """Candidates as many as are needed to find the highest values of the pool."""

    #: Share of the highest values that is to be among the candidates, as the explored ones tell.
    recall: Annotated[float, Field(gt=0, lt=1)] = 0.5
    #: Bounds on the number of candidates; null: the query size, and the whole pool.
    smallest: Count | None = None
    largest: Count | None = None

    @model_validator(mode="after")
    def _bounds_leave_a_size(self) -> "AdaptiveScopeConfig":
        _check_bounds(self.smallest, self.largest)
        return self


class FalseStartConfig(Model):
    """What makes the first rounds a false start, after which the loop begins anew."""

    #: Rounds of an attempt that are watched.
    rounds: Count = 2
    #: New attempts at most; after the last one the loop stops.
    restarts: Count = 2
    #: The training loss has to end by this share below that of a model which knows nothing: ln(classes), or what the
    #: labels' mean and variance come to.
    loss_falls: Annotated[float, Field(gt=0, lt=1)] = 0.1
    #: policy.metric, where it is measured, has to have come this share of the way from chance (1 / classes, or an R² of
    #: 0) to 1.
    above_chance: Share = 0.02
    #: Least value of policy.metric by number of labels; between two of them it is interpolated.
    expected: dict[Annotated[int, Field(strict=False, ge=1)], Part] = Field(default_factory=dict)

    @field_validator("expected", mode="before")
    @classmethod
    def _has_pairs(cls, values: Any) -> Any:
        # Without a blank YAML reads one word there, or a number to the base of 60, and no accuracy.
        if isinstance(values, dict) and None in values.values():
            raise ValueError("an accuracy is missing; write {labels: accuracy}, a blank after the colon: {100: 0.9}")
        return values

    @model_validator(mode="after")
    def _expected_rises(self) -> "FalseStartConfig":
        for fewer, more in pairwise(sorted(self.expected)):
            if self.expected[more] < self.expected[fewer]:
                raise ValueError(
                    f"expected falls from {self.expected[fewer]:g} at {fewer} labels to {self.expected[more]:g} at "
                    f"{more}; more labels have to be expected to give as much or more"
                )
        return self


class PolicyConfig(Model):
    """When to stop, how many labels a round, how to train again, what to score."""

    #: What accuracy, or R², the policies go by: that of train.validation, or that of the held-out set, which then has a
    #: say. What is not set is that of train.validation.
    metric: Literal["validation_accuracy", "accuracy", "validation_r2", "r2"] = "validation_accuracy"
    #: Pool items, the same in every round, whose predictions tell how stable and how sure the models are.
    stop_set: Count = 2000
    stop: StopConfig = StopConfig()
    query_size: Annotated[str, one_of(registry.QUERY_SIZES)] = "fixed"
    schedule: ScheduleConfig = ScheduleConfig()
    geometric: GeometricConfig = GeometricConfig()
    cost_optimal: CostOptimalConfig = CostOptimalConfig()
    retrain: Annotated[str, one_of(registry.RETRAINS)] = "scratch"
    warm: WarmConfig = WarmConfig()
    resume: ResumeConfig = ResumeConfig()
    shrink_perturb: ShrinkPerturbConfig = ShrinkPerturbConfig()
    auto: AutoRetrainConfig = AutoRetrainConfig()
    #: fixed: infer.scope as it stands; adaptive: its candidates become more or fewer.
    scope: Literal["fixed", "adaptive"] = "fixed"
    adaptive: AdaptiveScopeConfig = AdaptiveScopeConfig()
    #: null: nothing is watched, and a training that diverges is an error.
    false_start: FalseStartConfig | None = None

    @property
    def on_held_out(self) -> bool:
        """Whether policy.metric is that of the held-out set."""
        return not self.metric.startswith(_VALIDATION)

    @property
    def held_out_metric(self) -> str:
        """What policy.metric is called on the held-out set."""
        return self.metric.removeprefix(_VALIDATION)

    def needs_classes(self) -> list[str]:
        """The keys of the policies in use that go by predicted classes."""
        rules = {"stable_predictions", "overall_uncertainty"} & self.stop.names()
        return [f"policy.stop.{name}" for name in sorted(rules)] + ["policy.retrain"] * (self.retrain == "auto")

    def needs_metric(self) -> list[str]:
        """The keys of the policies in use that go by policy.metric."""
        rules = {"target", "plateau", "marginal_value", "learning_curve"} & self.stop.names()
        keys = [f"policy.stop.{name}" for name in sorted(rules)]
        if self.query_size == "cost_optimal":
            keys.append("policy.query_size")
        if self.false_start is not None and self.false_start.expected:
            keys.append("policy.false_start.expected")
        return keys

    def needs_stop_set(self) -> bool:
        """Whether a policy in use goes by the predictions on the stop set."""
        return bool(self.needs_classes())

    def needs_rates(self) -> bool:
        """Whether a policy in use has to know beforehand what a round will cost besides labels."""
        budgets = [group.budget for group in self.stop.groups() if group.budget is not None]
        bounded = any(budget.bounds_more_than_labels() for budget in budgets)
        return bounded or "marginal_value" in self.stop.names() or self.query_size == "cost_optimal"


class RatesConfig(Model):
    """How long this machine takes; what `frugal plan` would otherwise measure."""

    #: Device-seconds of one training item in one epoch.
    record_epoch: Amount
    #: Device-seconds of one forward pass of one item.
    forward_pass: Amount
    #: Seconds of a stage besides.
    stage: Price = 0.0
    #: The same of the target, where a proxy selects: the ones above are then the proxy's.
    target_record_epoch: Amount | None = None
    target_forward_pass: Amount | None = None


def of_numbers(policy: Mapping[str, Any]) -> dict[str, Any]:
    """A regression's block before it is validated: its own metric where none is set, and every target by its field."""
    return {"metric": "validation_r2", **policy, "stop": _targets_by_field(policy.get("stop", {}))}


def _targets_by_field(stop: Any) -> Any:
    if not isinstance(stop, dict):
        return stop
    found = {name: _targets_by_field(rule) if name in ("any", "all") else rule for name, rule in stop.items()}
    if isinstance(target := found.get("target"), dict) and "accuracy" not in target:
        found["target"] = {"accuracy" if name == "r2" else name: value for name, value in target.items()}
    return found


def settings_of(policy: PolicyConfig, mode: str) -> dict[str, Any]:
    """The settings of a retrain mode, none for scratch."""
    block = getattr(policy, mode, None)
    return block.model_dump(mode="json") if isinstance(block, Model) else {}

"""How a model learns: the target's training, and that of a proxy that selects for it."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from tasks import registry
from tasks.config_base import Count, Model, Part, Positive, Share, one_of


class AugmentConfig(Model):
    """Random changes of training images, drawn anew in each epoch."""

    flip: bool = False
    #: Pixels of reflected padding from which a crop of the original size is taken.
    crop: Annotated[int, Field(ge=0)] = 0
    #: Half-widths of the ranges of the additive brightness and the multiplicative contrast changes.
    brightness: Share = 0.0
    contrast: Share = 0.0


class LossPredictionConfig(Model):
    """A second head that learns to predict each item's loss, trained jointly with the model."""

    #: Of its loss in the sum.
    weight: Positive = 1.0
    #: By how much the predictions of a pair of items have to differ.
    margin: Positive = 1.0
    #: Share of the epochs after which the head learns from the features, and no longer shapes them.
    detach_at: Part = 0.6


class FastTextConfig(Model):
    """fastText's classifier; a change of any but dim hashes the pool anew."""

    #: Of the embedding of each word and each word n-gram.
    dim: Annotated[int, Field(ge=1, le=4096)] = 10
    #: Words that occur less often in the pool are not looked at alone.
    min_count: Count = 1
    #: Longest run of words that counts as one feature.
    ngrams: Annotated[int, Field(ge=1, le=5)] = 2
    #: Places for the n-grams, which share them by their hashes.
    buckets: Annotated[int, Field(ge=1, le=10**8)] = 2_000_000


class VdcnnConfig(Model):
    """The very deep character-level networks."""

    #: Characters of each text that are looked at.
    length: Annotated[int, Field(ge=57, le=10**5)] = 1014


class MlpConfig(Model):
    """The multi-layer perceptron."""

    #: Units of each hidden layer.
    hidden: Annotated[tuple[Annotated[int, Field(ge=1, le=10**5)], ...], Field(strict=False, min_length=1)] = (128, 128)
    #: Probability with which a hidden unit is dropped.
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.1


class TrainConfig(Model):
    """The model and how it learns."""

    model: Annotated[str, one_of(registry.MODELS)] = "ceal_cnn"
    epochs: Count = 20
    batch_size: Count = 64
    optimizer: Literal["sgd", "adam", "adamw"] = "adam"
    lr: Positive = 1e-3
    momentum: Share = 0.9
    weight_decay: Annotated[float, Field(ge=0)] = 0.0
    schedule: Literal["constant", "linear", "step", "cosine", "one_cycle"] = "constant"
    #: For `step`: the learning rate is multiplied by step_factor at each of these shares of the epochs.
    step_at: Annotated[tuple[Share, ...], Field(strict=False)] = (0.8,)
    step_factor: Annotated[float, Field(gt=0, le=1)] = 0.1
    label_smoothing: Share = 0.0
    augment: AugmentConfig = AugmentConfig()
    #: Share of the labelled (and paid) items held back to stop early; 0 trains on all of them.
    validation: Share = 0.0
    #: Epochs without a better validation loss before training stops; needs validation > 0.
    patience: Count | None = None
    #: Models of a deep ensemble, each from its own random weights; together they are the round's model.
    members: Annotated[int, Field(ge=1, le=100)] = 1
    #: Trainings from other seeds; the metrics are their means, and only the first, or the best validated, scores.
    repeats: Annotated[int, Field(ge=1, le=100)] = 1
    precision: Literal["fp32", "bf16", "fp16"] = "fp32"
    channels_last: bool = True
    compile: bool = False
    fasttext: FastTextConfig = FastTextConfig()
    vdcnn: VdcnnConfig = VdcnnConfig()
    mlp: MlpConfig = MlpConfig()
    #: null: none.
    loss_prediction: LossPredictionConfig | None = None

    @property
    def drops(self) -> bool:
        """Whether the model has dropout, so that its passes differ if it is left on."""
        return self.model in registry.WITH_DROPOUT and (self.model != "mlp" or self.mlp.dropout > 0)

    @model_validator(mode="after")
    def _patience_has_validation(self) -> "TrainConfig":
        if self.patience is not None and not self.validation:
            raise ValueError("patience needs a validation share above 0")
        return self

    @model_validator(mode="after")
    def _loss_prediction_is_not_compiled(self) -> "TrainConfig":
        if self.compile and self.loss_prediction is not None:
            raise ValueError("compile does not reach the stages that loss_prediction reads; keep one of them")
        return self


class ProxyDataConfig(Model):
    """What the proxy sees of the items."""

    #: Side in pixels to which square images are averaged down; null: as they are.
    image_size: Count | None = None


class ProxyTargetConfig(Model):
    """When the target is trained, besides the rounds in which it selects: never."""

    #: On all labels, when the loop has ended.
    end: bool = True
    #: In each r-th round.
    every: Count | None = None
    #: Once so many labels are bought; each has to be the sum at the end of a round.
    at: Annotated[tuple[Count, ...], Field(strict=False)] = ()


class ProxyConfig(Model):
    """A cheap model that is trained in every round and selects for the target, which is `train`."""

    #: What is not set here is as in `train`.
    train: TrainConfig
    data: ProxyDataConfig = ProxyDataConfig()
    target: ProxyTargetConfig = ProxyTargetConfig()
    #: Unlabelled items that both models score whenever the target is trained, to see how well they agree; 0: none.
    agreement: Annotated[int, Field(ge=0, le=10**9)] = 2000
    #: Whether a second target, from another seed, tells how well the target agrees with itself.
    ceiling: bool = False

    @property
    def side(self) -> int | None:
        """To which square items are averaged down before the proxy sees them; None: as they are."""
        return self.data.image_size

    @model_validator(mode="after")
    def _target_is_trained(self) -> "ProxyConfig":
        if not (self.target.end or self.target.every or self.target.at):
            raise ValueError("the target would never be trained; set proxy.target.end, every or at")
        if self.ceiling and not self.agreement:
            raise ValueError("proxy.ceiling compares two targets on proxy.agreement items; set it above 0")
        return self


def filled_in(train: Any, proxy: Any) -> Any:
    """A `proxy` block whose `train` has all keys of the target's that it does not set itself."""
    if not isinstance(proxy, Mapping) or not isinstance(train, Mapping):
        return proxy
    own = proxy.get("train", {})
    return {**proxy, "train": _over(train, own) if isinstance(own, Mapping) else own}


def _over(base: Mapping[str, Any], top: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for key, value in top.items():
        below = merged.get(key)
        merged[key] = _over(below, value) if isinstance(below, Mapping) and isinstance(value, Mapping) else value
    return merged

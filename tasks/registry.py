"""Every name that a configuration may use, and where its code lives; imported only when asked for.

A new data set, model, strategy, acquisition function, initial pool, labeler or policy is one new file and one line
here; a policy's settings are one class in tasks/config_policy.py.
"""

from collections.abc import Mapping
from importlib import import_module
from typing import Any

DATASETS = {
    "digits": "tasks.datasets.digits:load",
    "mnist": "tasks.datasets.mnist:load",
    "fashion_mnist": "tasks.datasets.fashion_mnist:load",
    "cifar10": "tasks.datasets.cifar10:load",
    "cifar100": "tasks.datasets.cifar100:load",
    "svhn": "tasks.datasets.svhn:load",
    "caltech101": "tasks.datasets.caltech101:load",
    "folder": "tasks.datasets.folder:load",
    "manifest": "tasks.datasets.manifest:load",
    "texts": "tasks.datasets.text_files:load",
    "imdb": "tasks.datasets.imdb:load",
    "sst2": "tasks.datasets.sst2:load",
    "amazon_polarity": "tasks.datasets.amazon:polarity",
    "amazon_full": "tasks.datasets.amazon:full",
    "table": "tasks.datasets.table:load",
    "california_housing": "tasks.datasets.california_housing:load",
}

#: Data sets whose labels are what `task` says: (config, places, task) → source.
OF_EITHER_TASK = frozenset({"table"})

MODELS = {
    "linear": "tasks.models.linear:build",
    "ceal_cnn": "tasks.models.ceal_cnn:build",
    "resnet18": "tasks.models.resnet18:build",
    "resnet18_224": "tasks.models.imagenet:resnet18",
    "resnet50_224": "tasks.models.imagenet:resnet50",
    "preact_resnet8": "tasks.models.preact_resnet:resnet8",
    "preact_resnet14": "tasks.models.preact_resnet:resnet14",
    "preact_resnet20": "tasks.models.preact_resnet:resnet20",
    "preact_resnet56": "tasks.models.preact_resnet:resnet56",
    "preact_resnet110": "tasks.models.preact_resnet:resnet110",
    "preact_resnet164": "tasks.models.preact_resnet:resnet164",
    "vgg11_bn": "tasks.models.vgg11_bn:build",
    "mlp": "tasks.models.mlp:build",
    "fasttext": "tasks.models.fasttext:build",
    "vdcnn9": "tasks.models.vdcnn:vdcnn9",
    "vdcnn29": "tasks.models.vdcnn:vdcnn29",
    "vdcnn29_conv": "tasks.models.vdcnn:vdcnn29_conv",
}

#: What the items of these models are; those of all others are images.
KINDS: Mapping[str, tuple[str, ...]] = {
    "linear": ("images", "numbers"),
    "mlp": ("images", "numbers"),
    "fasttext": ("texts",),
    "vdcnn9": ("texts",),
    "vdcnn29": ("texts",),
    "vdcnn29_conv": ("texts",),
}

#: The block of `train` in which a model has settings of its own.
SETTINGS = {"mlp": "mlp", "fasttext": "fasttext", "vdcnn9": "vdcnn", "vdcnn29": "vdcnn", "vdcnn29_conv": "vdcnn"}

#: Models whose build takes that block: (shape, outputs, settings) → model.
SETTLED = frozenset({"mlp", "fasttext"})

#: How items become what a model takes, where that is not as they are kept; made from the model's own block.
ENCODINGS = {
    "fasttext": "tasks.models.bags:BagEncoding",
    "vdcnn9": "tasks.models.characters:CharacterEncoding",
    "vdcnn29": "tasks.models.characters:CharacterEncoding",
    "vdcnn29_conv": "tasks.models.characters:CharacterEncoding",
}

#: Models with batch normalisation, of which a batch has to hold two items.
NORMALISED = frozenset(name for name in MODELS if "resnet" in name or name.endswith("_bn") or "vdcnn" in name)

#: Models with dropout, whose passes differ if it is left on.
WITH_DROPOUT = frozenset({"ceal_cnn", "vgg11_bn", "mlp"})

INITIAL_POOLS = {
    "random": "tasks.select.initial:uniform",
    "class_balanced": "tasks.select.initial:class_balanced",
    "typiclust": "tasks.select.cold_start:typiclust",
    "max_herding": "tasks.select.cold_start:max_herding",
    "recorded": "tasks.select.recorded:initial",
}

#: Those that go by features of the pool before there is a model.
COLD_STARTS = frozenset({"typiclust", "max_herding"})

STRATEGIES = {
    "random": "tasks.select.uniform:select",
    "top_k": "tasks.select.top_k:select",
    "power": "tasks.select.stochastic:power",
    "softmax": "tasks.select.stochastic:softmax",
    "softrank": "tasks.select.stochastic:softrank",
    "recorded": "tasks.select.recorded:select",
}

#: (candidates, what the last model made of them and of the labelled items, size) → chosen.
FEATURE_STRATEGIES = {
    "k_centers": "tasks.select.k_centers:select",
    "badge": "tasks.select.badge:select",
}

#: Everything that select.strategy may be.
ALL_STRATEGIES = {**STRATEGIES, **FEATURE_STRATEGIES}

#: Of one predictive distribution: one pass, or the mean of several.
ACQUISITIONS = {
    "least_confidence": "tasks.infer.uncertainty:least_confidence",
    "margin": "tasks.infer.uncertainty:margin",
    "entropy": "tasks.infer.uncertainty:entropy",
}

#: Of several predictions of the same item.
SAMPLED_ACQUISITIONS = {
    "predictive_entropy": "tasks.infer.disagreement:predictive_entropy",
    "variation_ratios": "tasks.infer.disagreement:variation_ratios",
    "bald": "tasks.infer.disagreement:bald",
    "mean_std": "tasks.infer.disagreement:mean_std",
}

#: Of the model itself, which has to be one, in one pass: (model, batch) → scores and logits.
MODEL_ACQUISITIONS = {
    "learning_loss": "tasks.infer.predicted_loss:learning_loss",
    "entropy_gradnorm": "tasks.infer.gradnorm:global_norm",
    "entropy_gradnorm_sum": "tasks.infer.gradnorm:sum_of_norms",
    "entropy_gradnorm_last": "tasks.infer.gradnorm:last_layer_norm",
    "entropy_gradnorm_last_sum": "tasks.infer.gradnorm:last_layer_sum_of_norms",
    "lplgrad": "tasks.infer.gradnorm:global_norm",
}

#: Those of them that go through every layer with parameters.
GRADIENTS = frozenset({"entropy_gradnorm", "entropy_gradnorm_sum", "lplgrad"})

#: Of one predictive distribution of a number.
NUMBER_ACQUISITIONS = {"total_std": "tasks.infer.spread:total_std"}

#: Of several predictions of the same number.
SAMPLED_NUMBER_ACQUISITIONS = {"predictive_std": "tasks.infer.spread:predictive_std"}

#: By what a label is.
ACQUISITIONS_OF: Mapping[str, Mapping[str, str]] = {
    "classification": {**ACQUISITIONS, **SAMPLED_ACQUISITIONS, **MODEL_ACQUISITIONS},
    "regression": {**NUMBER_ACQUISITIONS, **SAMPLED_NUMBER_ACQUISITIONS},
}

ALL_ACQUISITIONS = {name: place for table in ACQUISITIONS_OF.values() for name, place in table.items()}

#: Those that compare several predictions of an item.
COMPARING = frozenset({*SAMPLED_ACQUISITIONS, *SAMPLED_NUMBER_ACQUISITIONS})

#: Strategies and initial pools that go by classes.
BY_CLASSES = frozenset({"badge", "class_balanced"})

#: Acquisition functions that only a model trained with train.loss_prediction has.
LOSS_PREDICTING = frozenset({"learning_loss", "lplgrad"})

SCOPES = {
    "subset": "tasks.infer.scopes.subset:narrow",
    "full": "tasks.infer.scopes.full:narrow",
    "candidates": "tasks.infer.scopes.candidates:narrow",
    "top": "tasks.infer.scopes.top:narrow",
    "every": "tasks.infer.scopes.every:narrow",
    "clusters": "tasks.infer.scopes.clusters:narrow",
    "prune": "tasks.infer.scopes.prune:narrow",
}

#: Strategies that read no scores, so that nothing is scored for them.
BLIND = frozenset({"random", "recorded"})

#: Of these, those that are told by a file of the workspace's: (workspace, candidates, size) → chosen.
REPEATING = frozenset({"recorded"})

#: (situation, the rule's settings) → verdict; in the order in which they are asked.
STOP_RULES = {
    "rounds": "tasks.policy.stop.rounds:verdict",
    "budget": "tasks.policy.stop.budget:verdict",
    "target": "tasks.policy.stop.target:verdict",
    "plateau": "tasks.policy.stop.plateau:verdict",
    "marginal_value": "tasks.policy.stop.marginal_value:verdict",
    "stable_predictions": "tasks.policy.stop.stable_predictions:verdict",
    "overall_uncertainty": "tasks.policy.stop.overall_uncertainty:verdict",
    "learning_curve": "tasks.policy.stop.learning_curve:verdict",
}

#: situation → choice of a query size.
QUERY_SIZES = {
    "fixed": "tasks.policy.query_size.fixed:choose",
    "schedule": "tasks.policy.query_size.schedule:choose",
    "geometric": "tasks.policy.query_size.geometric:choose",
    "cost_optimal": "tasks.policy.query_size.cost_optimal:choose",
}

#: situation → choice of how the next model is trained.
RETRAINS = {
    "scratch": "tasks.policy.retrain.scratch:choose",
    "warm": "tasks.policy.retrain.warm:choose",
    "resume": "tasks.policy.retrain.resume:choose",
    "shrink_perturb": "tasks.policy.retrain.shrink_perturb:choose",
    "auto": "tasks.policy.retrain.auto:choose",
}

LABELERS = {
    "oracle": "tasks.label.oracle:answer",
    "files": "tasks.label.people:answer",
    "label_studio": "tasks.label.people:answer",
}
#: Labelers that are people, for whom a round is left open.
PEOPLE = ("files", "label_studio")
#: Of these, whose tasks and answers go by a server.
HUBS = {"label_studio": "tasks.label.label_studio.sync:sync"}
#: Those that can tell of answers: (workspace, address, secret) → whether they do from now on.
TELLING = {"label_studio": "tasks.label.label_studio.webhook:register"}


def resolve(table: Mapping[str, str], name: str) -> Any:
    """Import and return what ``name`` stands for in ``table``; ``name`` has been validated by the configuration."""
    module, _, attribute = table[name].partition(":")
    return getattr(import_module(module), attribute)

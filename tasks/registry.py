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
}

MODELS = {
    "linear": "tasks.models.linear:build",
    "ceal_cnn": "tasks.models.ceal_cnn:build",
    "resnet18": "tasks.models.resnet18:build",
    "vgg11_bn": "tasks.models.vgg11_bn:build",
}

#: Models with batch normalisation, of which a batch has to hold two items.
NORMALISED = frozenset({"resnet18", "vgg11_bn"})

INITIAL_POOLS = {
    "random": "tasks.select.initial:uniform",
    "class_balanced": "tasks.select.initial:class_balanced",
}

STRATEGIES = {
    "random": "tasks.select.uniform:select",
    "top_k": "tasks.select.top_k:select",
    "power": "tasks.select.stochastic:power",
    "softmax": "tasks.select.stochastic:softmax",
    "softrank": "tasks.select.stochastic:softrank",
}

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

SCOPES = {
    "full": "tasks.infer.scopes.full:narrow",
    "candidates": "tasks.infer.scopes.candidates:narrow",
    "top": "tasks.infer.scopes.top:narrow",
    "every": "tasks.infer.scopes.every:narrow",
    "clusters": "tasks.infer.scopes.clusters:narrow",
    "prune": "tasks.infer.scopes.prune:narrow",
}

#: Strategies that read no scores, so that nothing is scored for them.
BLIND = frozenset({"random"})

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
    "files": "tasks.label.answers:answer",
}


def resolve(table: Mapping[str, str], name: str) -> Any:
    """Import and return what ``name`` stands for in ``table``; ``name`` has been validated by the configuration."""
    module, _, attribute = table[name].partition(":")
    return getattr(import_module(module), attribute)

"""Every name that a configuration may use, and where its code lives; imported only when asked for.

A new data set, model, strategy, acquisition function, initial pool or labeler is one new file and one line here;
a stopping policy is one in POLICIES of tasks/policy/stopping.py.
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
}

INITIAL_POOLS = {
    "random": "tasks.select.initial:uniform",
    "class_balanced": "tasks.select.initial:class_balanced",
}

STRATEGIES = {
    "random": "tasks.select.uniform:select",
    "top_k": "tasks.select.top_k:select",
}

ACQUISITIONS = {
    "least_confidence": "tasks.infer.uncertainty:least_confidence",
    "margin": "tasks.infer.uncertainty:margin",
    "entropy": "tasks.infer.uncertainty:entropy",
}

LABELERS = {
    "oracle": "tasks.label.oracle:answer",
    "files": "tasks.label.answers:answer",
}


def resolve(table: Mapping[str, str], name: str) -> Any:
    """Import and return what ``name`` stands for in ``table``; ``name`` has been validated by the configuration."""
    module, _, attribute = table[name].partition(":")
    return getattr(import_module(module), attribute)

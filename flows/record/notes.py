"""What MLflow's pages say of a loop, a round and a model in words: names, and descriptions in Markdown."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from flows.record import Summary
from tasks import registry
from tasks.config import Config
from tasks.report.words import number
from tasks.task_type import headline

_BILL = "bill/"
#: Of an experiment, which has many loops.
EXPERIMENT = (
    "Each loop is a run, its rounds are the runs below it. The charts draw the loops over their step, the number of "
    "labels bought: first the learning curve, device-hours and money."
)
#: Of a cell of a table, or a reason: they are one line each.
_LINE_BREAKS = str.maketrans({"\n": " ", "|": "\\|"})


@dataclass(frozen=True)
class Origin:
    """Where a round is found again."""

    round: int
    #: The commit that holds it, if git keeps the record.
    commit: str | None
    #: MD5 digests by path, if DVC keeps the record.
    md5s: Mapping[str, str]


def loop_name(settings: Config) -> str:
    """What tells a loop from others in one experiment; never changes, since loops are asked for by it."""
    return f"{_how(settings)} · {_how_many(settings)} · seed {settings.seed}"


def round_name(round_: int, summary: Summary) -> str:
    """A finished round in a list of many."""
    return f"round {round_:03d} · {summary.labels} labels · {_reached(summary)}"


def of_loop(settings: Config, folder: str, round_: int, summary: Summary, origin: Origin) -> str:
    """A loop as its last recorded round has left it."""
    about = f"Data set {settings.dataset.name}, model {settings.train.model}; workspace `{folder}`."
    commands = ["frugal status", "frugal report", *_checkout(origin)]
    first = f"After round {round_:03d}: {summary.labels} labels, {_reached(summary)}. {_decided(summary)}"
    return "\n\n".join([first, about, _table(summary), _code(commands)])


def of_champion(name: str, round_: int, version: str) -> str:
    """What a loop's description says once its last model is registered."""
    return f"Champion: version {version} of the model `{name}`, `models:/{name}@champion`, from round {round_:03d}."


def of_round(summary: Summary, origin: Origin) -> str:
    """A round: what was decided, what it had come to, and how it is brought back."""
    repeat = [f"dvc repro -f -s --no-run-cache train@{origin.round:03d}"] if origin.md5s else []
    digests = "\n".join(f"- `{path}` MD5 `{md5}`" for path, md5 in sorted(origin.md5s.items()) if _is_told(path))
    parts = [_decided(summary), _table(summary), _code([*_checkout(origin), *repeat]), digests]
    return "\n\n".join(part for part in parts if part)


def of_model(name: str, round_: int, tags: Mapping[str, str]) -> str:
    """A version of a registered model."""
    rows = "\n".join(f"| {key} | {value} |" for key, value in tags.items())
    load = f'model = mlflow.pyfunc.load_model("models:/{name}@champion")\nmodel.predict(items)'
    return (
        f"The model of round {round_:03d}, what it was trained on and what it cost.\n\n| | |\n| --- | --- |\n{rows}\n\n"
        f"Where `frugal-loop` is installed:\n\n```python\n{load}\n```"
    )


def amount(money: float, currency: str) -> str:
    """Money of one line of a bill, which may be a fraction of a cent."""
    return f"{number(money)} {currency}"


def _how(settings: Config) -> str:
    select = settings.select
    if select.strategy in ("random", "recorded") or select.strategy in registry.FEATURE_STRATEGIES:
        return select.strategy
    by = "" if select.strategy == "top_k" else f" by {select.strategy}"
    return f"{settings.infer.acquisition}{by}"


def _how_many(settings: Config) -> str:
    rule = settings.policy.query_size
    return f"{settings.loop.query_size} a round" if rule == "fixed" else f"{rule} rounds"


def _reached(summary: Summary) -> str:
    metric = headline.among(summary.metrics)
    value = summary.metrics[metric.name]
    return f"{value:.1%}".replace("%", " %") if metric.share else f"{metric.title} {value:.3f}"


def _decided(summary: Summary) -> str:
    tags = summary.tags
    if "frugal.decision" not in tags:
        return ""
    reason = tags["frugal.reason"].translate(_LINE_BREAKS)
    return f"**{tags['frugal.decision']}**: {reason} (policy `{tags['frugal.policy']}`)."


def _table(summary: Summary) -> str:
    """The sums so far, and the bill by its lines."""
    lines = [(key.removeprefix(_BILL), value) for key, value in summary.metrics.items() if key.startswith(_BILL)]
    rows = [
        ("labels", f"{summary.labels}"),
        (headline.among(summary.metrics).title, _reached(summary).removeprefix("R² ")),
        ("device-hours", f"{summary.device_hours:.4f}"),
        *((f"money for {name}", amount(value, summary.currency)) for name, value in lines),
        ("**money**", f"**{summary.money:.2f} {summary.currency}**"),
    ]
    return "\n".join(["| so far | |", "| --- | ---: |", *(f"| {name} | {value} |" for name, value in rows)])


def _checkout(origin: Origin) -> list[str]:
    if origin.commit is None:
        return []
    return [f"git checkout {origin.commit[:12]}" + (" && dvc checkout" if origin.md5s else "")]


def _is_told(path: str) -> bool:
    return path.endswith(("/labeled.parquet", "/model.safetensors"))


def _code(commands: Iterable[str]) -> str:
    lines = "\n".join(commands)
    return f"```\n{lines}\n```" if lines else ""

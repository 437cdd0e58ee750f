"""The list of stages, shared by the flows, `frugal stage` and dvc.yaml, and the one way to run a stage."""

from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

from tasks import files
from tasks.cost import ledger
from tasks.errors import WorkspaceError
from tasks.rounds import Workspace, features_file, goes_on, load_config, start_weights, trains_target


@dataclass(frozen=True)
class Stage:
    """One stage of a round: its files and the keys of the configuration that it reads.

    Paths are relative to the workspace; {round} is the round's folder, {prev} the one before it, or data/pool/start;
    {start} are the weights that the round's training goes on from, and nothing if it begins from scratch; {features}
    are those that its selection goes by, and nothing if it goes by scores.
    """

    name: str
    deps: tuple[str, ...]
    outs: tuple[str, ...]
    params: tuple[str, ...]
    #: Outputs that git keeps instead of DVC's cache.
    metrics: tuple[str, ...] = ()
    #: DVC never runs it again by itself.
    frozen: bool = False

    def paths(self, workspace: Workspace, round_: int, templates: tuple[str, ...]) -> dict[str, Path]:
        """The files that ``templates`` stand for in a round, keyed by their path inside the workspace."""
        start = start_weights(workspace, round_) if "{start}" in templates else None
        features = features_file(workspace, round_) if "{features}" in templates else None
        places = {
            "round": workspace.relative(workspace.round_dir(round_)),
            "prev": workspace.relative(workspace.previous_dir(round_)),
            "start": workspace.relative(start) if start else "",
            "features": workspace.relative(features) if features else "",
        }
        names = [template.format(**places) for template in templates]
        return {name: workspace.root / name for name in names if name}


POOL = Stage(
    name="pool",
    deps=(),
    outs=(
        "data/pool/pool.json",
        "data/pool/manifest.parquet",
        "data/pool/test.parquet",
        "data/pool/oracle.parquet",
        "data/pool/start/labeled.parquet",
        "data/pool/start/unlabeled.parquet",
        "data/pool/start/scores.parquet",
    ),
    params=("dataset", "task"),
)

SELECT = Stage(
    name="select",
    deps=(
        "{round}/plan.json",
        "{prev}/labeled.parquet",
        "{prev}/unlabeled.parquet",
        "{prev}/scores.parquet",
        "{features}",
        "data/pool/pool.json",
        "data/pool/manifest.parquet",
        "data/pool/oracle.parquet",
    ),
    outs=("{round}/selected.parquet", "{round}/tasks.jsonl"),
    params=("seed", "select"),
)

LABEL = Stage(
    name="label",
    deps=(
        "{round}/selected.parquet",
        "{prev}/labeled.parquet",
        "{prev}/unlabeled.parquet",
        "data/pool/pool.json",
        "data/pool/oracle.parquet",
    ),
    outs=(
        "{round}/labels.parquet",
        "{round}/answers.parquet",
        "{round}/labeled.parquet",
        "{round}/unlabeled.parquet",
    ),
    params=("seed", "label", "prices"),
    frozen=True,
)

TRAIN = Stage(
    name="train",
    deps=(
        "{round}/plan.json",
        "{round}/labeled.parquet",
        "{start}",
        "data/pool/pool.json",
        "data/pool/manifest.parquet",
        "data/pool/test.parquet",
    ),
    outs=(
        "{round}/model.safetensors",
        "{round}/model.json",
        "{round}/history.json",
        "{round}/predictions.parquet",
    ),
    params=("seed", "device", "dataset", "train", "proxy"),
    metrics=("{round}/metrics.json",),
)

TARGET = Stage(
    name="target",
    deps=(
        "{round}/labeled.parquet",
        "{round}/unlabeled.parquet",
        "{round}/model.safetensors",
        "{round}/model.json",
        "data/pool/pool.json",
        "data/pool/manifest.parquet",
        "data/pool/test.parquet",
    ),
    outs=(
        "{round}/target/model.safetensors",
        "{round}/target/model.json",
        "{round}/target/history.json",
        "{round}/target/predictions.parquet",
    ),
    params=("seed", "device", "dataset", "train", "proxy", "infer"),
    metrics=("{round}/target/metrics.json",),
)

INFER = Stage(
    name="infer",
    deps=(
        "{round}/plan.json",
        "{round}/model.safetensors",
        "{round}/model.json",
        "{round}/unlabeled.parquet",
        "{prev}/scores.parquet",
        "data/pool/pool.json",
        "data/pool/manifest.parquet",
    ),
    outs=("{round}/scores.parquet", "{round}/features.parquet"),
    params=("seed", "device", "dataset", "infer"),
)

#: In the order in which a round runs them; the decision stands between TRAIN and TARGET, and says which follow.
ROUND_STAGES = (SELECT, LABEL, TRAIN, TARGET, INFER)
BY_NAME = {stage.name: stage for stage in (POOL, *ROUND_STAGES)}


def input_digests(workspace: Workspace, stage: Stage, round_: int) -> dict[str, str]:
    """SHA-256 of each input file, and of the configuration that the stage reads, keyed by path and by `config`.

    Raises:
        WorkspaceError: an input is missing.
    """
    digests = {}
    for name, path in stage.paths(workspace, round_, stage.deps).items():
        if not path.exists():
            raise WorkspaceError(
                f"{path}: missing, and {stage.name} of round {round_:03d} needs it; try `dvc checkout`"
            )
        digests[name] = files.digest(path)
    # As stored, not as parsed: a key that a later release adds, with its default, changes nothing for a loop that runs.
    settings = files.read_object(workspace.loop_file, "config")["config"]
    return digests | {"config": files.digest_value({key: settings[key] for key in stage.params if key in settings})}


def wanted(workspace: Workspace, round_: int) -> tuple[Stage, ...]:
    """The stages of a round that has been decided on, in their order."""
    left_out = {TARGET: not trains_target(workspace, round_), INFER: not goes_on(workspace, round_)}
    return tuple(stage for stage in ROUND_STAGES if not left_out.get(stage))


def is_done(workspace: Workspace, stage: Stage, round_: int) -> bool:
    """Whether the stage has finished on the inputs that lie there now, and its outputs are all there.

    Raises:
        WorkspaceError: an output of a frozen stage is gone, or an input of a finished one.
    """
    entry = ledger.entry(workspace.round_dir(round_), stage.name)
    if entry is None or not _same(entry["inputs"], input_digests(workspace, stage, round_)):
        return False
    outputs = stage.paths(workspace, round_, stage.outs + stage.metrics)
    # An output that a later release added was never written, so it is not gone.
    gone = [path for name, path in outputs.items() if name in entry["outputs"] and not path.exists()]
    if gone and stage.frozen:
        raise WorkspaceError(
            f"{gone[0]}: missing, and labels are never asked for twice; restore it with `dvc pull` or `dvc checkout`"
        )
    return not gone


def _same(billed: dict[str, str], inputs: dict[str, str]) -> bool:
    """Whether a stage was billed on these inputs; one that a later release has added was not looked at then."""
    return all(inputs.get(name) == value for name, value in billed.items())


def differing(workspace: Workspace, stage: Stage, round_: int) -> list[str]:
    """The outputs of a finished stage whose bytes are not those of the run that was billed."""
    entry = ledger.entry(workspace.round_dir(round_), stage.name)
    outputs = stage.paths(workspace, round_, stage.outs + stage.metrics)
    billed = entry["outputs"] if entry else {}
    return [name for name, path in outputs.items() if name in billed and billed[name] != files.digest(path)]


def run(workspace: Workspace, stage: Stage, round_: int) -> bool:
    """Run a stage unless it is done; True if it ran.

    It is billed once, however often it is run on the same inputs; on other inputs it is billed anew, and what the
    first run used stays on the bill.
    """
    if is_done(workspace, stage, round_):
        return False
    inputs = input_digests(workspace, stage, round_)
    work = import_module(f"tasks.{stage.name}.run").run
    with ledger.metered() as usage:
        work(workspace, round_, usage)
    entry = ledger.entry(workspace.round_dir(round_), stage.name)
    if entry is None or not _same(entry["inputs"], inputs):
        outputs = stage.paths(workspace, round_, stage.outs + stage.metrics)
        digests = {name: files.digest(path) for name, path in outputs.items()}
        ledger.write_entry(
            workspace.round_dir(round_), stage.name, usage, load_config(workspace).prices, inputs, digests
        )
    return True

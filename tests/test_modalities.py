"""The same loop on images, texts and rows of a table, through every stage, and what is left of their differences."""

import csv
import io
import json
import re
import tokenize
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from flows import start
from tasks import config, files, loop, stages
from tasks.errors import AnswerError
from tasks.history import history
from tasks.report.run import write as report
from tasks.rounds import Workspace, load_config
from tasks.status import status
from tests.pools import PRICES, column, snapshot

WORDS = {"bad": "awful dull boring poor weak", "good": "great fine superb lovely strong"}


def write(path: Path, rows: list[list[Any]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as stream:
        csv.writer(stream).writerows(rows)


def texts(folder: Path) -> dict[str, Any]:
    """Reviews of six words each, fastText selecting for a small very deep network."""
    draw = np.random.default_rng(0)
    names = list(WORDS)

    def rows(count: int) -> list[list[Any]]:
        labels = [names[number % 2] for number in range(count)]
        return [["label", "text"], *([label, " ".join(draw.choice(WORDS[label].split(), 6))] for label in labels)]

    write(folder / "train.csv", rows(80))
    write(folder / "test.csv", rows(20))
    train = {"epochs": 1, "batch_size": 8, "optimizer": "sgd", "lr": 0.01, "model": "vdcnn9", "vdcnn": {"length": 64}}
    proxy = {"model": "fasttext", "epochs": 30, "lr": 2.0, "momentum": 0.0, "fasttext": {"buckets": 100}}
    return {
        "dataset": {"name": "texts", "root": str(folder)},
        "train": train,
        "proxy": {"train": proxy, "agreement": 20},
        "policy": {"stop_set": 20},
    }


def numbers(folder: Path) -> dict[str, Any]:
    """A plane with a gap, a category and noise; a small network selects for a larger one."""
    draw = np.random.default_rng(0)

    def rows(count: int) -> list[list[Any]]:
        found: list[list[Any]] = [["x", "side", "price"]]
        for number in range(count):
            x, side = draw.uniform(-1, 1), "left" if number % 2 else "right"
            shown = "" if number % 10 == 0 else f"{x:.6f}"
            found.append([shown, side, f"{50 + 20 * x + (5 if side == 'left' else 0) + draw.normal(0, 0.5):.4f}"])
        return found

    write(folder / "train.csv", rows(90))
    write(folder / "test.csv", rows(30))
    train = {"model": "mlp", "epochs": 60, "lr": 0.01, "mlp": {"hidden": [16], "dropout": 0.2}}
    return {
        "task": "regression",
        "dataset": {"name": "table", "root": str(folder), "label": "price", "bounds": [0, 100]},
        "train": train,
        "proxy": {"train": {"mlp": {"hidden": [8]}}, "agreement": 20},
        "infer": {"acquisition": "predictive_std", "passes": 3},
        "policy": {"stop_set": 20},
    }


def images(folder: Path) -> dict[str, Any]:
    """scikit-learn's digits; a linear model selects for a convolutional network."""
    return {
        "dataset": {"name": "digits", "limit": 100},
        "train": {"model": "ceal_cnn", "epochs": 2},
        "proxy": {"train": {"model": "linear", "epochs": 20, "lr": 0.01}, "agreement": 20},
        "policy": {"stop_set": 20},
    }


MODALITIES: list[Callable[[Path], dict[str, Any]]] = [images, texts, numbers]


def begun(folder: Path, modality: Callable[[Path], dict[str, Any]], **values: Any) -> Workspace:
    """A loop of three rounds, the target trained at its end."""
    root = folder / "w"
    (root / "conf").mkdir(parents=True)
    (root / "dvc.yaml").touch()
    base = {
        "name": modality.__name__,
        "prices": PRICES,
        "loop": {"rounds": 3, "initial": 20, "query_size": 10},
        "record": {"git": "off", "dvc": False, "mlflow": False},
    }
    workspace = Workspace(root)
    start.start(workspace, config.parse(base | modality(folder / "data") | values, "test"))
    return workspace


def finish(workspace: Workspace) -> list[str]:
    done = []
    while (step := loop.next_step(workspace)) is not None:
        loop.run(workspace, step)
        done.append(step.name)
    return done


@pytest.fixture(scope="module", params=MODALITIES, ids=lambda modality: modality.__name__)
def finished(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """A finished loop of each modality."""
    workspace = begun(tmp_path_factory.mktemp("modality"), request.param)
    finish(workspace)
    return workspace


def test_every_stage_of_the_design_runs_and_leaves_its_files(finished: Workspace) -> None:
    assert [outcome.labels for outcome in history(finished)] == [20, 30, 40]
    for number in range(3):
        # The last round's scores would be of use to nobody, and the target is trained at the end.
        done = {stage.name for stage in stages.ROUND_STAGES} - {"target" if number < 2 else "infer"}
        assert {stage.name for stage in stages.ROUND_STAGES if stages.is_done(finished, stage, number)} == done


def test_both_models_learn_more_than_nothing(finished: Workspace) -> None:
    last = history(finished)[-1]
    # Chance on ten classes, on two, and the mean of all labels.
    chance = {"images": 0.1, "texts": 0.5, "numbers": 0.0}[load_config(finished).name]
    assert last.accuracy > chance + 0.2
    assert last.target is not None


def test_tasks_show_people_what_they_are_to_label(finished: Workspace) -> None:
    lines = [json.loads(line) for line in (finished.round_dir(1) / "tasks.jsonl").read_text().splitlines()]
    kind = files.read_json(finished.pool / "pool.json").get("kind", "images")
    assert len(lines) == 10
    for line in lines:
        assert line["proposals"][0].keys() == {"label", "std" if kind == "numbers" else "confidence"}
        assert ("text" in line, "fields" in line) == (kind == "texts", kind == "numbers")


def test_the_report_and_the_status_read_every_modality(finished: Workspace) -> None:
    page = report(finished, finished.root / "report")[0].read_text()
    kind = files.read_json(finished.pool / "pool.json").get("kind", "images")
    wanted = {"images": "data:image/png;base64,", "texts": "superb", "numbers": "side"}[kind]
    assert wanted in page
    assert status(finished)["state"] == "finished"


@pytest.mark.parametrize("modality", MODALITIES, ids=lambda modality: modality.__name__)
def test_a_loop_that_is_begun_again_from_its_files_comes_to_the_same(tmp_path: Path, modality: Any) -> None:
    whole, torn = begun(tmp_path / "whole", modality), begun(tmp_path / "torn", modality)
    finish(whole)
    for _ in range(9):
        step = loop.next_step(torn)
        assert step is not None
        loop.run(torn, step)
    # All that only one process knew is gone: what is decoded or encoded is built anew, and a torn stage is done again.
    for path in [*torn.raw.rglob("*.npy"), *torn.raw.rglob("*.arrow")]:
        path.unlink()
    finish(torn)
    ends = ("model.safetensors", "selected.parquet", "labels.parquet", "scores.parquet", "metrics.json", "tasks.jsonl")
    before, after = (
        {name: content for name, content in snapshot(workspace.root / "data" / "rounds").items() if name.endswith(ends)}
        for workspace in (whole, torn)
    )
    assert before == after


@pytest.mark.parametrize(
    ("modality", "right", "wrong"),
    [(images, "3", "ten"), (texts, "good", "so-so"), (numbers, "12.5", "100.5")],
    ids=["images", "texts", "numbers"],
)
def test_people_answer_in_words_of_the_task(tmp_path: Path, modality: Any, right: str, wrong: str) -> None:
    workspace = begun(tmp_path, modality, label={"labeler": "files"})
    for name in ("plan", "select"):
        loop.run(workspace, loop.Step(name, 0))
    tasks = [json.loads(line) for line in (workspace.round_dir(0) / "tasks.jsonl").read_text().splitlines()]
    path = workspace.round_dir(0) / "labels.csv"
    rows = [[task["id"], right] for task in tasks]
    write(path, [["id", "label"], *rows[:-1], [tasks[-1]["id"], wrong]])
    before = snapshot(workspace.root / "data" / "rounds")
    with pytest.raises(AnswerError, match=f"row {len(tasks)}: .*{re.escape(wrong)}"):
        loop.run(workspace, loop.Step("label", 0))
    assert {name: before[name] for name in before if "lock" not in name} == {
        name: content for name, content in snapshot(workspace.root / "data" / "rounds").items() if "lock" not in name
    }
    write(path, [["id", "label"], *rows])
    loop.run(workspace, loop.Step("label", 0))
    given = files.read_table(workspace.round_dir(0) / "labeled.parquet")
    assert len(given) == len(tasks)
    assert given.schema.field("label").type == (pa.float64() if modality is numbers else pa.int64())
    assert column(workspace.round_dir(0) / "answers.parquet", "id") == [task["id"] for task in tasks]


def test_k_centers_goes_by_features_whatever_a_label_is(tmp_path: Path) -> None:
    scored = {"infer": {"acquisition": "total_std"}, "proxy": None, "select": {"strategy": "k_centers"}}
    workspace = begun(tmp_path, numbers, **scored)
    finish(workspace)
    origins = files.read_table(workspace.round_dir(2) / "selected.parquet")["origin"].to_pylist()
    assert set(origins) == {"k-centers"}


def test_a_target_of_one_prediction_is_not_compared_by_what_compares_several(tmp_path: Path) -> None:
    train = {"model": "mlp", "epochs": 5, "lr": 0.01, "mlp": {"hidden": [8], "dropout": 0.0}}
    proxy = {"train": {"mlp": {"hidden": [8], "dropout": 0.2}}, "agreement": 20}
    workspace = begun(tmp_path, numbers, train=train, proxy=proxy)
    finish(workspace)
    told = files.read_json(workspace.round_dir(2) / "target" / "metrics.json")["agreement"]
    assert told["spearman"] is None
    assert "compares several predictions" in told["reason"]


#: The only places that know what an item is: data sets, models, the task type, and the catalogue of names and keys.
KNOWING = ("datasets", "models", "task_type", "config.py", "config_train.py", "config_policy.py", "registry.py")
MODALITY = re.compile(
    r"^(images?|pixels?|photos?|photographs?|thumbnails?|jpe?gs?|texts?|sentences?|reviews?|fasttext|vdcnn\d*|tabular)$",
    re.I,
)
#: Of a string or of a drawing, and never of an item.
ELSEWHERE = {"text", "texts"}


def code() -> list[Path]:
    """All modules outside of the places that know."""
    ours = sorted([*Path("tasks").rglob("*.py"), *Path("flows").rglob("*.py")])
    return [path for path in ours if path.parts[0] == "flows" or path.parts[1] not in KNOWING]


@pytest.mark.parametrize("path", code(), ids=str)
def test_no_other_module_names_a_modality(path: Path) -> None:
    named = []
    for token in tokenize.generate_tokens(io.StringIO(path.read_text()).readline):
        # Docstrings cite papers by their titles.
        if token.type not in (tokenize.NAME, tokenize.STRING) or token.string.startswith('"""'):
            continue
        # Names fall into words at capitals and underscores; prose is taken as it is written.
        words = re.findall(r"[A-Z]?[a-z]+|[A-Z]+" if token.type == tokenize.NAME else r"[A-Za-z]+", token.string)
        wrong = [word for word in words if MODALITY.match(word) and word.lower() not in ELSEWHERE]
        named += [(token.start[0], word) for word in wrong]
    assert named == []


@pytest.mark.parametrize("path", code(), ids=str)
def test_no_other_module_imports_torchvision_or_what_belongs_to_one_modality(path: Path) -> None:
    from tests.test_layers import imported

    private = {"torchvision", "PIL"}
    special = {
        f"tasks.{package}.{module.stem}"
        for package, modules in {"datasets": SPECIAL_DATASETS, "models": SPECIAL_MODELS}.items()
        for module in modules
    }
    found = {name for name in imported(path) if name.partition(".")[0] in private or name in special}
    assert found == set()


#: What stages may import of tasks/datasets and tasks/models: all that speaks of items whatever they are.
COMMON = {
    "datasets": {
        "store",
        "tables",
        "opening",
        "run",
        "source",
        "shown",
        "gallery",
        "pages",
        "flat",
        "scratch",
        "holdout",
    },
    "models": {
        *("building", "device", "encoded", "features", "forward", "inputs", "loss_prediction", "scaled", "stored"),
        *("taps", "trial", "view", "gradients", "half_dropout", "predictor"),
    },
}
SPECIAL_DATASETS = [path for path in Path("tasks/datasets").glob("*.py") if path.stem not in COMMON["datasets"]]
SPECIAL_MODELS = [path for path in Path("tasks/models").glob("*.py") if path.stem not in COMMON["models"]]

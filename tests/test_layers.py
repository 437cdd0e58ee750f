"""Which way the imports point."""

import ast
from pathlib import Path

import pytest

#: Packages of tasks/ that do one stage each, and those that they share.
_STAGES = {"select", "label", "train", "infer", "target", "policy"}
#: TARGET trains as TRAIN does, and scores as INFER does, so it stands on both.
_BELOW = {"target": {"train", "infer"}}
_SHARED = {"models", "datasets", "cost"}
_FORBIDDEN = {"prefect", "mlflow", "dvc", "flows"}
#: Modules of tasks/ on which everything else may stand.
_BOTTOM = {
    "tasks.config",
    "tasks.config_base",
    "tasks.config_faults",
    "tasks.config_policy",
    "tasks.config_train",
    "tasks.errors",
    "tasks.files",
    "tasks.gumbel",
    "tasks.order",
    "tasks.progress",
    "tasks.proportion",
    "tasks.registry",
    "tasks.seeds",
    "tasks.task_type",
    "tasks.task_type.class_scores",
    "tasks.task_type.classification",
    "tasks.task_type.headline",
    "tasks.task_type.number_scores",
    "tasks.task_type.regression",
}


def imported(path: Path) -> set[str]:
    """Every module named in an import statement anywhere in the file."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return names


@pytest.mark.parametrize("path", sorted(Path("tasks").rglob("*.py")), ids=str)
def test_tasks_know_no_orchestrator_tracker_or_dvc(path: Path) -> None:
    assert not {name.partition(".")[0] for name in imported(path)} & _FORBIDDEN


def test_all_of_task_types_is_at_the_bottom() -> None:
    assert {f"tasks.task_type.{path.stem}" for path in Path("tasks/task_type").glob("[!_]*.py")} <= _BOTTOM


@pytest.mark.parametrize("name", sorted(_BOTTOM))
def test_bottom_modules_import_only_each_other(name: str) -> None:
    place = Path(name.replace(".", "/"))
    path = place / "__init__.py" if place.is_dir() else place.with_suffix(".py")
    ours = {module for module in imported(path) if module.startswith("tasks.")}
    assert all(any(module == bottom or module.startswith(f"{bottom}.") for bottom in _BOTTOM) for module in ours)


def test_the_acquisition_cache_stands_below_the_stages_that_share_it() -> None:
    below = ("tasks.errors", "tasks.files", "tasks.datasets.tables", "tasks.task_type")
    ours = {module for module in imported(Path("tasks/cache.py")) if module.startswith("tasks.")}
    # What is imported from a package is named besides.
    assert {
        module
        for module in ours - {"tasks.datasets"}
        if not f"{module}.".startswith(tuple(f"{name}." for name in below))
    } == set()


@pytest.mark.parametrize(("package", "above"), [("compare", {"replay"}), ("replay", set())])
def test_comparisons_and_replays_stand_above_all_else_in_tasks(package: str, above: set[str]) -> None:
    others = [path for path in Path("tasks").rglob("*.py") if path.parent.name not in {package, *above}]
    found = {str(path): package in packages(path) for path in others}
    assert [path for path, imports in found.items() if imports] == []


def packages(path: Path) -> set[str]:
    """The packages inside of tasks/ from which a file imports."""
    return {name.split(".")[1] for name in imported(path) if name.startswith("tasks.")}


@pytest.mark.parametrize("stage", sorted(_STAGES))
def test_stages_do_not_import_each_other(stage: str) -> None:
    others = _STAGES - {stage} - _BELOW.get(stage, set())
    found = {str(path): packages(path) & others for path in Path("tasks", stage).rglob("*.py")}
    assert {path: others for path, others in found.items() if others} == {}


@pytest.mark.parametrize("package", sorted(_SHARED))
def test_what_stages_share_imports_no_stage(package: str) -> None:
    found = {str(path): packages(path) & _STAGES for path in Path("tasks", package).rglob("*.py")}
    assert {path: stages for path, stages in found.items() if stages} == {}


def test_no_package_imports_the_run_module_of_another() -> None:
    runs = {f"tasks.{path.parent.name}.run" for path in Path("tasks").glob("*/run.py")}
    found = {str(path): imported(path) & runs for path in Path("tasks").glob("*/*.py")}
    assert runs >= {"tasks.datasets.run", "tasks.infer.run"}
    assert {path: names for path, names in found.items() if names} == {}


@pytest.mark.parametrize("path", sorted(Path("flows").rglob("*.py")), ids=str)
def test_flows_do_no_arithmetic(path: Path) -> None:
    # Sums and differences of clock times for waiting and for progress bars are no arithmetic in this sense.
    arithmetic = (ast.Mult, ast.Pow, ast.FloorDiv, ast.Mod)
    found = [
        node.lineno
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.BinOp) and isinstance(node.op, arithmetic)
    ]
    assert found == []

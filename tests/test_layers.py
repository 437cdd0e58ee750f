"""Which way the imports point."""

import ast
from pathlib import Path

import pytest

_FORBIDDEN = {"prefect", "mlflow", "dvc", "flows"}
#: Packages of tasks/ that a stage package may not be imported by.
_BOTTOM = {"tasks.config", "tasks.errors", "tasks.files", "tasks.seeds", "tasks.progress", "tasks.registry"}


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


@pytest.mark.parametrize("name", sorted(_BOTTOM))
def test_bottom_modules_import_only_each_other(name: str) -> None:
    path = Path(name.replace(".", "/") + ".py")
    ours = {module for module in imported(path) if module.startswith("tasks.")}
    assert all(any(module == bottom or module.startswith(f"{bottom}.") for bottom in _BOTTOM) for module in ours)


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

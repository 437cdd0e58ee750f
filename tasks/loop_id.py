"""The name by which servers know a loop."""

from uuid import uuid4

from tasks import files
from tasks.rounds import Workspace


def loop_id(workspace: Workspace) -> str:
    """The loop's own name in MLflow and where people label, made up once and kept by git."""
    path = workspace.root / "data" / "loop_id"
    if not path.exists():
        files.write_bytes(path, f"{uuid4()}\n".encode())
    return path.read_text(encoding="utf-8").strip()

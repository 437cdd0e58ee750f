"""`frugal ui`: the web pages of MLflow and Prefect, on this machine only."""

import os
import subprocess
import sys

import click

from tasks.errors import WorkspaceError
from tasks.rounds import Workspace

_HOST = "127.0.0.1"


def serve(workspace: Workspace, port: int, prefect_port: int) -> None:
    """Serve both until interrupted; a server that is configured by its environment variable is only pointed to.

    Raises:
        WorkspaceError: a server ended by itself, for instance because its port is taken.
    """
    servers: dict[str, subprocess.Popen[bytes]] = {}
    try:
        for name, variable, url, command in _pages(workspace, port, prefect_port):
            if address := os.environ.get(variable):
                click.echo(f"{name}: {address} (from {variable})")
                continue
            servers[name] = subprocess.Popen(command, cwd=workspace.root, env=_environment(), stdout=subprocess.DEVNULL)
            click.echo(f"{name}: {url}")
        if servers:
            click.echo("Press Ctrl-C to stop.")
        _wait(servers)
    except KeyboardInterrupt:
        click.echo("stopped")
    finally:
        for server in servers.values():
            server.terminate()
        for server in servers.values():
            server.wait()


def _pages(workspace: Workspace, port: int, prefect_port: int) -> list[tuple[str, str, str, list[str]]]:
    store = f"sqlite:///{workspace.root / 'mlflow.db'}"
    artifacts = (workspace.root / "mlartifacts").as_uri()
    mlflow = ["-m", "mlflow", "server", "--backend-store-uri", store, "--artifacts-destination", artifacts]
    prefect = ["-m", "prefect", "server", "start", "--host", _HOST, "--port", str(prefect_port)]
    return [
        (
            "MLflow",
            "MLFLOW_TRACKING_URI",
            f"http://{_HOST}:{port}",
            [sys.executable, *mlflow, "--host", _HOST, "--port", str(port)],
        ),
        ("Prefect", "PREFECT_API_URL", f"http://{_HOST}:{prefect_port}", [sys.executable, *prefect]),
    ]


def _environment() -> dict[str, str]:
    quiet = {"DO_NOT_TRACK": "1", "MLFLOW_DISABLE_TELEMETRY": "true", "PREFECT_SERVER_ANALYTICS_ENABLED": "false"}
    return {**os.environ, **quiet}


def _wait(servers: dict[str, "subprocess.Popen[bytes]"]) -> None:
    while servers:
        for name, server in servers.items():
            try:
                code = server.wait(timeout=0.5)
            except subprocess.TimeoutExpired:
                continue
            raise WorkspaceError(f"{name} server ended by itself (exit {code}); is its port taken? Choose another")

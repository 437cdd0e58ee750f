"""What the environment says about the servers: where they listen, what they are called."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tasks.errors import ConfigError

#: Ports by the server's name, and the variable that says another.
_PORTS = {"prefect": 4200, "mlflow": 5000, "s3": 9000, "postgres": 5433}


@dataclass(frozen=True)
class Settings:
    """Where the servers are and where they keep their things."""

    state: Path
    host: str
    ports: Mapping[str, int]
    #: PostgreSQL's database of each server.
    databases: Mapping[str, str]
    #: What each bucket is for, and its name.
    buckets: Mapping[str, str]
    pool: str
    #: A store of the user's own, used instead of one of ours.
    s3_url: str | None
    #: What MLflow answers to, besides its own address.
    mlflow_hosts: str | None

    def url(self, name: str) -> str:
        """The address at which this machine reaches one of the servers."""
        if name == "s3" and self.s3_url:
            return self.s3_url
        host = "127.0.0.1" if self.host == "0.0.0.0" else self.host  # noqa: S104 - told by the user
        return f"http://{host}:{self.ports[name]}"


def load(state: Path, environ: Mapping[str, str] = os.environ) -> Settings:
    """The settings that the environment gives.

    Raises:
        ConfigError: a port is no port, or two servers were given the same.
    """
    ports = {name: _port(f"FRUGAL_{name.upper()}_PORT", environ, usual) for name, usual in _PORTS.items()}
    for name, port in ports.items():
        others = [other for other in ports if other != name and ports[other] == port]
        if others:
            raise ConfigError(f"FRUGAL_{name.upper()}_PORT: {port} is {others[0]}'s port too; choose another")
    return Settings(
        state=state.resolve(),
        host=environ.get("FRUGAL_HOST") or "127.0.0.1",
        ports=ports,
        databases={
            "prefect": environ.get("FRUGAL_PREFECT_DATABASE") or "prefect",
            "mlflow": environ.get("FRUGAL_MLFLOW_DATABASE") or "mlflow",
        },
        buckets={
            "mlflow": environ.get("FRUGAL_MLFLOW_BUCKET") or "mlflow",
            "dvc": environ.get("FRUGAL_DVC_BUCKET") or "dvc",
        },
        pool=environ.get("FRUGAL_WORK_POOL") or "frugal-process",
        s3_url=environ.get("FRUGAL_S3_URL") or None,
        mlflow_hosts=environ.get("MLFLOW_SERVER_ALLOWED_HOSTS") or None,
    )


def _port(variable: str, environ: Mapping[str, str], usual: int) -> int:
    given = environ.get(variable) or str(usual)
    if not given.isdecimal() or not 0 < int(given) < 65536:
        raise ConfigError(f"{variable}: {given!r} is no port; give a number from 1 to 65535")
    return int(given)

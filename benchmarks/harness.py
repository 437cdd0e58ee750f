"""What every benchmark says besides its figures, and where it puts them."""

import argparse
import json
import os
import platform
import subprocess
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from tasks import files

Parser = argparse.ArgumentParser


def parser(description: str | None, quick: str) -> Parser:
    """The options that all benchmarks share; ``quick`` says what --quick leaves out."""
    made = Parser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--quick", action="store_true", help=quick)
    made.add_argument("--out", type=Path, help="folder in which to keep the result, such as benchmarks/results")
    return made


def publish(name: str, figures: dict[str, Any], options: argparse.Namespace, packages: tuple[str, ...]) -> None:
    """Print the figures with hardware, versions, commit and date as one JSON line, and keep them if asked to."""
    versions = {"python": platform.python_version()} | {package: version(package) for package in packages}
    about = {
        "benchmark": name,
        "quick": options.quick,
        "hardware": hardware(),
        "versions": versions,
        "git": revision(Path(__file__).parent.parent),
        "date": datetime.now(UTC).strftime("%Y-%m-%d"),
    }
    result = figures | about
    if options.out:
        files.write_json(options.out / f"{name}{'-quick' if options.quick else ''}.json", result)
    print(json.dumps(result))


def revision(root: Path) -> dict[str, Any] | None:
    """The commit of a working tree, and whether other files than published results differ from it; None outside git."""

    def git(*arguments: str) -> str:
        return subprocess.run(["git", *arguments], cwd=root, check=True, capture_output=True, text=True).stdout.strip()

    try:
        changed = git("status", "--porcelain", "--", ".", ":(exclude)benchmarks/results")
        return {"commit": git("rev-parse", "HEAD"), "dirty": bool(changed)}
    except (OSError, subprocess.CalledProcessError):
        return None


def hardware() -> dict[str, Any]:
    """Processor and cores, and the GPU if PyTorch sees one."""
    import torch

    path = Path("/proc/cpuinfo")
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    gpu = {"gpu": torch.cuda.get_device_name()} if torch.cuda.is_available() else {}
    return {"cpu": names[0] if names else platform.processor(), "cores": os.cpu_count()} | gpu

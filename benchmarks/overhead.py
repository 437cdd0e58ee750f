"""What Prefect, DVC, git and MLflow cost on top of the stages themselves.

    python benchmarks/overhead.py [--quick] [--out benchmarks/results]

The same small loop is run by `frugal run`, with all that records it, with few rounds and with many, and bare, stage
after stage in one process. What more rounds take, less their stages, is the tax of a round; what the shorter run takes
beyond the bare one, that of the start. In wall seconds, with the CPU seconds of all processes beside them. The last
line printed is one JSON object.
"""

import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, NamedTuple

import harness

from flows.init import init
from tasks import files

_CONF = Path(__file__).resolve().parent.parent / "conf" / "digits.yaml"
_SMALL = ["train.model=linear", "train.epochs=2", "loop.initial=20", "loop.query_size=20"]
_FEW, _MANY = 1, 6

_BARE = """
import sys
from pathlib import Path
from flows import start
from tasks import config, loop
from tasks.rounds import Workspace
root = Path(sys.argv[1])
(root / "conf").mkdir(parents=True)
workspace = Workspace(root)
start.start(workspace, config.load(Path(sys.argv[2]), tuple(sys.argv[3:])))
while (step := loop.next_step(workspace)) is not None:
    loop.run(workspace, step)
"""


class Took(NamedTuple):
    """Seconds of one run, its child processes included."""

    wall: float
    cpu: float


def main() -> None:
    """Measure, print, and keep the result if asked to."""
    options = harness.parser(__doc__, quick="one repetition instead of three, and no cold start").parse_args()
    repeats = 1 if options.quick else 3
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        runs = [measure(place / str(number)) for number in range(repeats)]
        help_s = [timed([_frugal(), "--help"]).wall for _ in range(5)]
        cold = None if options.quick else cold_start(place / "cold")
    figures: dict[str, Any] = {
        "per_round_s": median([run["per_round"].wall for run in runs]),
        "startup_s": median([run["startup"].wall for run in runs]),
        "help_s": median(help_s),
        "per_round_cpu_s": median([run["per_round"].cpu for run in runs]),
        "startup_cpu_s": median([run["startup"].cpu for run in runs]),
        "startup_cold_s": cold,
        "frugal_run_s": median([run["frugal"].wall for run in runs]),
        "targets": {"per_round_s": 3.0, "startup_s": 15.0, "help_s": 0.5},
        "n": repeats,
        "spread": {
            "per_round_s": spread([run["per_round"].wall for run in runs]),
            "startup_s": spread([run["startup"].wall for run in runs]),
        },
        "load_average": os.getloadavg()[0],
    }
    harness.publish("overhead", figures, options, ("prefect", "dvc", "mlflow", "torch"))


def measure(place: Path) -> dict[str, Took]:
    """The tax of a round and of the start."""
    few, many = (run_frugal(place / f"frugal-{rounds}", rounds) for rounds in (_FEW, _MANY))
    bare = run_bare(place / "bare", _MANY)
    later = stages_after(place / "bare", _FEW)
    rounds = _MANY - _FEW
    per_round = Took(*((more - less - own) / rounds for more, less, own in zip(many, few, later, strict=True)))
    startup = minus(minus(few, minus(bare, later)), per_round)
    return {"per_round": per_round, "startup": startup, "frugal": many}


def stages_after(place: Path, first: int) -> Took:
    """What the stages themselves took in the rounds from number ``first``, by the bills of a bare run."""
    books = [files.read_json(path) for path in sorted(place.glob("data/rounds/*/cost.json"))[first:]]
    used = [entry["used"] for book in books for entry in book["stages"].values()]
    return Took(sum(one["wall_s"] for one in used), sum(one["cpu_s"] for one in used))


def run_frugal(place: Path, rounds: int, **environment: str) -> Took:
    """A whole loop with everything that records it."""
    init(place)
    command = [_frugal(), "run", "--workspace", str(place), "conf/digits.yaml", f"loop.rounds={rounds}", *_SMALL]
    return timed(command, **environment)


def run_bare(place: Path, rounds: int) -> Took:
    """The same stages in one process, and nothing else."""
    return timed([sys.executable, "-c", _BARE, str(place), str(_CONF), f"loop.rounds={rounds}", *_SMALL])


def cold_start(place: Path) -> float:
    """Wall seconds of a one-round run on a machine where neither Prefect nor MLflow has ever made its database."""
    fresh = {"PREFECT_HOME": str(place / "prefect"), "XDG_CACHE_HOME": str(place / "cache")}
    return round(run_frugal(place / "w", _FEW, **fresh).wall, 2)


def timed(command: list[str], **environment: str) -> Took:
    """Run a command to its end; its output is shown only if it fails."""
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    settings = {"OMP_WAIT_POLICY": "passive", **os.environ, **environment}
    subprocess.run(command, check=True, env=settings, stdout=subprocess.DEVNULL)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Took(time.perf_counter() - began, cpu)


def minus(left: Took, right: Took) -> Took:
    """Field by field."""
    return Took(left.wall - right.wall, left.cpu - right.cpu)


def median(values: list[float]) -> float:
    """Rounded to hundredths."""
    return round(statistics.median(values), 2)


def spread(values: list[float]) -> list[float]:
    """Smallest and largest."""
    return [round(min(values), 2), round(max(values), 2)]


def _frugal() -> str:
    found = shutil.which("frugal", path=str(Path(sys.executable).parent))
    if found is None:
        raise SystemExit("the command `frugal` is not installed beside this Python; run `make test` once")
    return found


if __name__ == "__main__":
    main()

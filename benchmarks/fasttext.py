"""What fastText's classifier costs here, beside fastText's own C++, on IMDB's reviews.

    FRUGAL_DATA=… python benchmarks/fasttext.py [--quick] [--peer-python PYTHON] [--out benchmarks/results]

Both sides take the same lower-cased texts from a file, train on 25,000 reviews and predict 25,000 others, with words
and pairs of words, 10 dimensions, 2,000,000 places, 5 epochs: ours from the file of texts through encoding both, to
the end of `fit` and `predict`; fastText by its Python package, train_supervised with one thread and test, which counts
the right answers in C++. scikit-learn's HashingVectorizer and SGDClassifier with the logistic loss, as many places and
epochs, are a second yardstick. Each measurement is a process of its own, after a call on 500 reviews; the sides take
turns, each turn with another seed gives one ratio of CPU seconds, of the whole process and its children, and the median
is published. PyTorch has one thread; encoding has one for each core, and all of them are counted. (With one thread
fastText 0.9.3 draws a tenth of its embeddings; the others begin as what the memory holds, zeros in a table this large.)

Each learning rate (of scikit-learn the regularisation) is the one of the highest accuracy on 5,000 of the 25,000,
after training on the other 20,000; the whole table is kept as `validation`. Needs FRUGAL_DATA with
imdb/{train,test}.parquet (columns text and label), and fastText in this environment or in one of its own:

    uv venv E && uv pip install --python E fasttext==0.9.3

and --peer-python E/bin/python. The last line printed is one JSON object.
"""

import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

# What only our side needs is imported where it is used: the peer's environment does not have it.

ROOT = Path(__file__).resolve().parent.parent
TARGETS = {"cpu_ratio": 2, "accuracy_below_peer": 0.01}
SIDES = ("ours", "fasttext", "sklearn")
NGRAMS, DIM, BUCKETS, EPOCHS, BATCH = 2, 10, 2_000_000, 5, 32
#: Learning rates, of scikit-learn the weight of the squared norm; the first where nothing is validated.
SETTINGS = {
    "ours": (32.0, 8.0, 16.0, 64.0),
    "fasttext": (0.5, 0.05, 0.1, 0.25, 1.0),
    "sklearn": (1e-6, 1e-5, 1e-4),
}
WARM_UP = 500


def main() -> None:
    """Measure, print, and keep the result if asked to."""
    if "--worker" in sys.argv:
        print(json.dumps(work(*sys.argv[sys.argv.index("--worker") + 1 :])))
        return
    from benchmarks import harness

    parser = harness.parser(__doc__, "one turn on 2,500 reviews of each split, without the validation; half a minute")
    parser.add_argument("--peer-python", metavar="PYTHON", default=sys.executable, help="interpreter that has fastText")
    options = parser.parse_args()
    peer = peer_version(options.peer_python)
    sides = [side for side in SIDES if side != "fasttext" or peer]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_texts(folder, 2_500 if options.quick else None)

        def measure(side: str, setting: float, seed: int, train: str, test: str) -> dict[str, float]:
            return run(
                options.peer_python if side == "fasttext" else sys.executable, side, folder, setting, seed, train, test
            )

        validation = {} if options.quick else {side: validated(measure, side) for side in sides}
        chosen = {side: best(validation.get(side)) or SETTINGS[side][0] for side in sides}
        turns = [
            {side: measure(side, chosen[side], seed, "train", "test") for side in sides}
            for seed in range(1 if options.quick else 5)
        ]
    found = figures(turns, validation, chosen, peer)
    harness.publish("fasttext", found, options, ("numpy", "pyarrow", "torch", "scikit-learn"))


def validated(measure: Callable[..., dict[str, Any]], side: str) -> dict[float, float | None]:
    """The accuracy of each setting on the validation items; None: training diverged."""
    return {setting: measure(side, setting, 0, "fit", "validation")["accuracy"] for setting in SETTINGS[side]}


def best(table: dict[float, float | None] | None) -> float | None:
    """The setting of the highest accuracy."""
    return max(table, key=lambda setting: table[setting] or 0) if table else None


def figures(
    turns: list[dict[str, Any]], validation: dict[str, Any], chosen: dict[str, float], peer: str | None
) -> dict[str, Any]:
    """What is published."""
    sides = turns[0].keys()
    accuracy = {side: statistics.mean(turn[side]["accuracy"] for turn in turns) for side in sides}
    return {
        "cpu_ratio": ratio(turns, "fasttext", "cpu_s")["median"] if peer else None,
        "accuracy": round(accuracy["ours"], 4),
        "peer_accuracy": round(accuracy["fasttext"], 4) if peer else None,
        "targets": TARGETS,
        "ratios": {
            side: {key: ratio(turns, side, key) for key in ("cpu_s", "wall_s")} for side in sides if side != "ours"
        },
        "sides": {side: summary([turn[side] for turn in turns]) for side in sides},
        "validation": validation,
        "settings": {"epochs": EPOCHS, "dim": DIM, "ngrams": NGRAMS, "buckets": BUCKETS, "batch_size": BATCH} | chosen,
        "n": len(turns),
        "threads": 1,
        "peers": {"fasttext": peer},
        "load_average": os.getloadavg()[0],
    }


def ratio(turns: list[dict[str, Any]], side: str, key: str) -> dict[str, float]:
    """How many times as much ours takes, turn by turn."""
    values = [turn["ours"][key] / turn[side][key] for turn in turns]
    named = {"min": min(values), "median": statistics.median(values), "max": max(values)}
    return {name: round(value, 2) for name, value in named.items()}


def summary(measured: list[dict[str, float]]) -> dict[str, Any]:
    """The middle and the ends of what one side's turns gave."""
    of = {key: sorted(one[key] for one in measured) for key in measured[0]}
    return {
        key: {"min": round(found[0], 4), "median": round(statistics.median(found), 4), "max": round(found[-1], 4)}
        for key, found in of.items()
    }


def peer_version(python: str) -> str | None:
    """Of fastText in its environment; None, and a line about it, where it is missing."""
    code = "from importlib.metadata import version; print(version('fasttext'))"
    found = subprocess.run([python, "-c", code], capture_output=True, text=True)
    if found.returncode:
        print(f"{python} lacks fastText, so it is left out; --help says how to install it", file=sys.stderr)
        return None
    return found.stdout.strip()


def write_texts(folder: Path, limit: int | None) -> None:
    """The splits' texts for each side, of `train` also two parts, and a few of them to warm up with."""
    import numpy as np
    import pyarrow.parquet as pq

    source = Path(os.environ["FRUGAL_DATA"]) / "imdb"
    for split in ("train", "test"):
        table = pq.read_table(source / f"{split}.parquet", columns=["text", "label"])
        # The files are ordered by label, and fastText goes through its own in order.
        rows = np.random.default_rng(0).permutation(len(table))[:limit]
        # Line ends are fastText's ends of texts, so that they are spaces for all.
        texts = [" ".join(table["text"][row].as_py().lower().splitlines()) for row in rows.tolist()]
        labels = table["label"].to_numpy()[rows].astype(np.int64)
        parts = {split: slice(None)}
        if split == "train":
            held = len(rows) // 5
            parts |= {"validation": slice(held), "fit": slice(held, None), "few": slice(WARM_UP)}
        for part, which in parts.items():
            write_part(folder, part, texts[which], labels[which])


def write_part(folder: Path, part: str, texts: list[str], labels: Any) -> None:
    """As fastText reads it, and as ours keeps it."""
    import numpy as np
    import pyarrow as pa

    lines = (f"__label__{label} {text}\n" for label, text in zip(labels.tolist(), texts, strict=True))
    (folder / f"{part}.txt").write_text("".join(lines), encoding="utf-8")
    np.save(folder / f"{part}.npy", labels)
    table = pa.table({"text": pa.array(texts, pa.large_string())})
    with pa.ipc.new_file(str(folder / f"{part}.arrow"), table.schema) as writer:
        writer.write_table(table)


def run(python: str, side: str, folder: Path, setting: float, seed: int, train: str, test: str) -> dict[str, float]:
    """What a process of its own measures."""
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT), "PYTHONWARNINGS": "ignore"}
    # As a module: as a script it would find itself where it imports fastText.
    command = [python, "-m", "benchmarks.fasttext", "--worker", side, str(folder), str(setting), str(seed), train, test]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, cwd=ROOT)
    if done.returncode:
        raise SystemExit(f"{side}: {done.stderr.strip()}")
    result: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    print(side, setting, seed, test, result, file=sys.stderr, flush=True)
    return result


def work(side: str, folder: str, setting: str, seed: str, train: str, test: str) -> dict[str, float | None]:
    """Measure one side in this process."""
    call: Callable[..., float | None] = {"ours": ours, "fasttext": fasttext, "sklearn": sklearn}[side]
    call(Path(folder), float(setting), int(seed), "few", "few")
    cpu, wall = cpu_seconds(), time.perf_counter()
    accuracy = call(Path(folder), float(setting), int(seed), train, test)
    return {"cpu_s": cpu_seconds() - cpu, "wall_s": time.perf_counter() - wall, "accuracy": accuracy}


def cpu_seconds() -> float:
    """Of this process, all of its threads, and its children."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in used)


def ours(folder: Path, lr: float, seed: int, train: str, test: str) -> float | None:
    """The product, from the files of texts to the accuracy."""
    import numpy as np
    import torch

    from tasks.config_train import TrainConfig
    from tasks.errors import Diverged
    from tasks.models.bags import BagEncoding
    from tasks.models.fasttext import FastText
    from tasks.models.forward import predict
    from tasks.models.view import View
    from tasks.train.examples import Examples
    from tasks.train.fit import fit

    labels = {part: np.load(folder / f"{part}.npy") for part in (train, test)}
    encoding = BagEncoding(ngrams=NGRAMS, buckets=BUCKETS)
    texts = {part: texts_of(folder / f"{part}.arrow", len(labels[part])) for part in (train, test)}
    bags = {}
    for part in (train, test):
        target = folder / f"{part}-bags.arrow"
        encoding.write(target, texts[part], texts[train])
        bags[part] = encoding.open(target)
    settings = TrainConfig(
        model="fasttext", epochs=EPOCHS, batch_size=BATCH, optimizer="sgd", momentum=0, lr=lr, schedule="linear"
    )
    view = View(torch.device("cpu"), (), ())
    width = bags[train].width
    examples = Examples(bags[train], labels[train])
    try:
        model, _ = fit(lambda: FastText(width, 2, DIM), examples, None, settings, view, seed)
    except Diverged:
        return None
    return float(np.mean(predict(model, bags[test], view).argmax(axis=1) == labels[test]))


def texts_of(path: Path, count: int) -> Any:
    """A file of texts, mapped."""
    from tasks.datasets.texts import open_whole

    texts = open_whole(path, count)
    assert texts is not None
    return texts


def fasttext(folder: Path, lr: float, seed: int, train: str, test: str) -> float:
    """fastText's own; precision at 1 is the accuracy where each text has one label."""
    import fasttext as peer

    model = peer.train_supervised(
        str(folder / f"{train}.txt"),
        lr=lr,
        seed=seed,
        dim=DIM,
        wordNgrams=NGRAMS,
        bucket=BUCKETS,
        epoch=EPOCHS,
        minCount=1,
        thread=1,
        verbose=0,
    )
    return float(model.test(str(folder / f"{test}.txt"))[1])


def sklearn(folder: Path, alpha: float, seed: int, train: str, test: str) -> float:
    """Hashed words and pairs, unit rows, and one linear layer without embeddings."""
    import numpy as np
    from sklearn.feature_extraction.text import HashingVectorizer
    from sklearn.linear_model import SGDClassifier

    hashed = HashingVectorizer(
        token_pattern=r"\S+", lowercase=False, ngram_range=(1, NGRAMS), n_features=BUCKETS, alternate_sign=False
    )
    rows = {
        part: hashed.transform(texts_of(folder / f"{part}.arrow", len(labels)).tolist())
        for part, labels in ((part, np.load(folder / f"{part}.npy")) for part in (train, test))
    }
    model = SGDClassifier(loss="log_loss", alpha=alpha, max_iter=EPOCHS, tol=None, random_state=seed)
    model.fit(rows[train], np.load(folder / f"{train}.npy"))
    return float(model.score(rows[test], np.load(folder / f"{test}.npy")))


if __name__ == "__main__":
    main()

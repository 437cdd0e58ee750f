"""The pool stage: all of its files or none."""

import hashlib
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tasks import files, stages
from tasks.cost import ledger
from tasks.datasets import arrays, run, store, tables
from tasks.errors import ConfigError, DataError, DiskFullError
from tests.datasets_helpers import begun, built, configuration, names, tree
from tests.pools import CLASSIFICATION


@pytest.fixture
def digits(tmp_path: Path):
    """A workspace with scikit-learn's digits."""
    return built(tmp_path / "w", name="digits")


def _pool_files(workspace):
    return {name: content for name, content in tree(workspace.pool).items() if content is not None}


def test_pool_holds_exactly_the_files_of_the_stage(digits):
    outs = {out.removeprefix("data/pool/") for out in stages.POOL.outs}

    assert set(_pool_files(digits)) == outs


def test_pool_json_describes_the_digits(digits):
    info = files.read_json(digits.pool / "pool.json")

    assert info["dataset"] == "digits"
    assert info["classes"] == [str(digit) for digit in range(10)]
    assert info["shape"] == [1, 8, 8]
    assert (info["items"], info["held_out"], info["known_labels"]) == (1297, 500, 1297)


def test_statistics_are_those_of_the_pool_and_not_of_the_held_out_set(digits):
    info = files.read_json(digits.pool / "pool.json")
    pool = store.load_items(digits, "pool").array / 255

    assert info["mean"] == pytest.approx([pool.mean()], abs=1e-6)
    assert info["std"] == pytest.approx([pool.std()], abs=1e-6)


def test_manifests_carry_the_hash_of_each_decoded_item(digits):
    for split, name in (("pool", "manifest.parquet"), ("test", "test.parquet")):
        hashes = pq.read_table(digits.pool / name)["sha256"].to_pylist()
        items = store.load_items(digits, split).array

        assert hashes == [hashlib.sha256(item.tobytes()).hexdigest() for item in items]


def test_loop_starts_with_nothing_labelled_and_no_scores(digits):
    start = digits.pool / "start"
    ids = pq.read_table(digits.pool / "manifest.parquet")["id"]

    assert pq.read_table(start / "labeled.parquet").schema.equals(tables.labeled(CLASSIFICATION))
    assert pq.read_table(start / "labeled.parquet").num_rows == 0
    assert pq.read_table(start / "unlabeled.parquet")["id"].equals(ids)
    assert pq.read_table(start / "scores.parquet").schema.equals(tables.scores(CLASSIFICATION))
    assert pq.read_table(start / "scores.parquet").num_rows == 0


def test_oracle_and_test_hold_int64_labels(digits):
    oracle, test = (pq.read_table(digits.pool / name) for name in ("oracle.parquet", "test.parquet"))

    assert oracle.schema.names == ["id", "label"]
    assert oracle.schema.field("label").type == test.schema.field("label").type == pa.int64()
    assert np.bincount(test["label"]).min() >= 48


def test_two_workspaces_hold_the_same_bytes(digits, tmp_path):
    other = built(tmp_path / "other", name="digits")

    assert _pool_files(other) == _pool_files(digits)


def test_limit_keeps_the_items_of_the_smallest_hashes_in_their_order(digits, tmp_path):
    limited = built(tmp_path / "limited", name="digits", limit=20)
    ids = pq.read_table(limited.pool / "manifest.parquet")["id"].to_pylist()
    everything = pq.read_table(digits.pool / "manifest.parquet")["id"].to_pylist()
    hashes = sorted(hashlib.sha256(id_.encode()).digest() for id_ in everything)

    assert ids == [id_ for id_ in everything if hashlib.sha256(id_.encode()).digest() <= hashes[19]]
    oracles = [pq.read_table(where.pool / "oracle.parquet").to_pylist() for where in (limited, digits)]
    assert oracles[0] == [row for row in oracles[1] if row["id"] in ids]
    whole = store.load_items(digits, "pool")
    assert np.array_equal(store.load_items(limited, "pool").array, whole.array[whole.rows(ids)])
    assert files.read_json(limited.pool / "pool.json")["held_out"] == 500
    assert store.load_items(limited, "pool").array.shape == (20, 1, 8, 8)


def test_limit_above_the_size_of_the_pool_keeps_all_of_it(digits, tmp_path):
    assert _pool_files(built(tmp_path / "limited", name="digits", limit=5000)) == _pool_files(digits)


def test_rerun_replaces_the_files_and_keeps_those_of_others(digits):
    before = _pool_files(digits)
    (digits.pool / ".gitignore").write_text("/manifest.parquet\n")
    (digits.pool / "manifest.parquet").write_bytes(b"damaged")
    (digits.pool / "start" / "scores.parquet").unlink()

    run.run(digits, configuration(name="digits"))

    assert _pool_files(digits) == {**before, ".gitignore": b"/manifest.parquet\n"}


def test_rerun_that_dies_while_replacing_leaves_no_pool_json(digits, monkeypatch):
    replace = Path.replace

    def die(self, target):
        if Path(target) == digits.pool / "oracle.parquet":
            raise KeyboardInterrupt
        return replace(self, target)

    monkeypatch.setattr(Path, "replace", die)
    with pytest.raises(KeyboardInterrupt):
        run.run(digits, configuration(name="digits"))

    assert not (digits.pool / "pool.json").exists()


def test_leavings_of_killed_runs_are_removed(tmp_path):
    workspace = begun(tmp_path / "w", name="digits")
    for stale in (workspace.root / "data" / ".pool-dead", workspace.raw / "arrays" / ".building-dead"):
        stale.mkdir(parents=True)
        (stale / "part").write_bytes(b"x")

    run.run(workspace, configuration(name="digits"))

    assert names(workspace.root / "data") == ["loop.json", "pool", "raw"]
    assert all(name.endswith(".npy") for name in names(workspace.raw / "arrays"))


@pytest.mark.parametrize("failure", [KeyboardInterrupt(), OSError(28, "No space left on device")])
def test_run_that_fails_while_decoding_leaves_nothing(tmp_path, monkeypatch, failure):
    workspace = begun(tmp_path / "w", name="digits")
    before = tree(workspace.root)

    def fail(*args):
        raise failure

    monkeypatch.setattr(arrays, "write", fail)
    with pytest.raises(DiskFullError if isinstance(failure, OSError) else KeyboardInterrupt):
        run.run(workspace, configuration(name="digits"))

    assert tree(workspace.root) == before


def test_refusal_by_the_caller_leaves_nothing(tmp_path):
    workspace = begun(tmp_path / "w", name="digits")
    before = tree(workspace.root)

    def refuse(source):
        assert len(source.pool.ids) == 1297
        raise ConfigError("no")

    with pytest.raises(ConfigError):
        run.run(workspace, configuration(name="digits"), refuse)

    assert tree(workspace.root) == before


def test_root_that_is_no_folder_is_refused(tmp_path):
    with pytest.raises(DataError, match=r"dataset\.root: .*missing is not a folder"):
        built(tmp_path / "w", name="digits", root="missing")


def test_classes_that_do_not_fit_a_published_set_are_refused(tmp_path):
    with pytest.raises(DataError, match=r"dataset\.classes: digits brings its own"):
        built(tmp_path / "w", name="digits", classes=["a", "b"])


def test_running_loop_keeps_its_pool(tmp_path):
    workspace = begun(tmp_path / "w", name="digits", limit=50)
    run.run(workspace, configuration(name="digits", limit=50))
    names = stages.SELECT.paths(workspace, 0, stages.SELECT.deps)
    digests = {name: files.digest(path) for name, path in names.items() if path.exists()}
    prices = configuration(name="digits").prices
    ledger.write_entry(workspace.round_dir(0), "select", ledger.Usage(), prices, digests, {})
    before = tree(workspace.root)
    run.run(workspace, configuration(name="digits", limit=50))
    assert tree(workspace.root) == before
    with pytest.raises(DataError, match="the data set has changed since the loop began"):
        run.run(workspace, configuration(name="digits", limit=49))
    assert tree(workspace.root) == before

"""Folders for work in progress: gone at the end, and gone later if their process was killed."""

import subprocess
import sys

import pytest

from tasks.datasets.scratch import scratch
from tests.datasets_helpers import names


def test_folder_and_the_parents_made_for_it_are_gone_at_the_end(tmp_path):
    with scratch(tmp_path / "a" / "b", ".work-") as folder:
        (folder / "file").write_text("x")

    assert names(tmp_path) == []


def test_parents_that_are_used_stay(tmp_path):
    with scratch(tmp_path / "a", ".work-") as folder:
        folder.rename(tmp_path / "a" / "done")

    assert names(tmp_path / "a") == ["done"]


def test_empty_parent_that_was_there_stays(tmp_path):
    (tmp_path / "a").mkdir()
    with pytest.raises(KeyboardInterrupt), scratch(tmp_path / "a", ".work-"):
        raise KeyboardInterrupt

    assert names(tmp_path) == ["a"]


def test_folder_of_a_living_owner_is_left_alone(tmp_path):
    with scratch(tmp_path, ".work-") as first, scratch(tmp_path, ".work-") as second:
        assert first.exists()
        assert second != first


def test_folder_of_a_killed_process_is_removed_by_the_next(tmp_path):
    code = (
        "import os, signal, sys; from pathlib import Path; from tasks.datasets.scratch import scratch\n"
        "with scratch(Path(sys.argv[1]), '.work-'): os.kill(os.getpid(), signal.SIGKILL)"
    )
    assert subprocess.run([sys.executable, "-c", code, tmp_path]).returncode == -9
    left = names(tmp_path)

    with scratch(tmp_path, ".work-") as folder:
        assert len(left) == 1
        assert names(tmp_path) == [folder.name]

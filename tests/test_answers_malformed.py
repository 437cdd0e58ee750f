"""Files of answers that are wrong: each is refused with the right rows and reasons, and nothing changes anywhere."""

import hashlib
import shutil
import subprocess
from pathlib import Path

import pytest
from click.testing import CliRunner

from flows.cli import main
from tasks.rounds import Workspace
from tests.people_helpers import asking, selected
from tests.pools import snapshot

HEADER = "id,label,annotator,labeled_at,seconds,status"

#: Name, suffix, content with A to C for the ids of three tasks, and what is told. Rows are counted from the first one
#: below the header.
MALFORMED: list[tuple[str, str, str | bytes, list[str]]] = [
    ("nothing at all", ".csv", "", ["first line must name the column 'id' once"]),
    ("only a line break", ".csv", "\n", ["first line must name the column 'id' once"]),
    ("no column id", ".csv", "item,label\nA,bee\n", ["first line must name the column 'id' once"]),
    ("no column label", ".csv", "id,class\nA,bee\n", ["first line must name the column 'label' once"]),
    ("id in capitals", ".csv", "ID,label\nA,bee\n", ["first line must name the column 'id' once"]),
    ("two columns id", ".csv", "id,id,label\nA,A,bee\n", ["first line must name the column 'id' once"]),
    ("two columns label", ".csv", "id,label,label\nA,bee,bee\n", ["first line must name the column 'label' once"]),
    (
        "two columns annotator",
        ".csv",
        "id,label,annotator,annotator\nA,bee,ann,bob\n",
        ["first line must name the column 'annotator' once"],
    ),
    ("semicolons", ".csv", "id;label\nA;bee\n", ["first line must name the column 'id' once"]),
    ("tabs", ".csv", "id\tlabel\nA\tbee\n", ["first line must name the column 'id' once"]),
    ("no header", ".csv", "A,bee\nB,cat\n", ["first line must name the column 'id' once"]),
    ("unknown id", ".csv", "id,label\nnobody,bee\n", ["row 1: unknown id 'nobody'"]),
    ("id of another case", ".csv", "id,label\nX/0000,bee\n", ["row 1: unknown id 'X/0000'"]),
    ("a path for an id", ".csv", "id,label\n../../etc/passwd,bee\n", ["row 1: unknown id '../../etc/passwd'"]),
    ("no id", ".csv", "id,label\nA,bee\n,cat\n", ["row 2: no id"]),
    ("the same id twice", ".csv", "id,label\nA,bee\nA,bee\n", ["row 2: 'A' was answered before by unknown"]),
    (
        "one annotator twice",
        ".csv",
        "id,label,annotator\nA,bee,ann\nA,cat,bob\nA,cat,ann\n",
        ["row 3: 'A' was answered before by ann"],
    ),
    ("unknown class", ".csv", "id,label\nA,bird\n", ["row 1: unknown class 'bird'; the classes are ant, bee, cat"]),
    ("class of another case", ".csv", "id,label\nA,Bee\n", ["row 1: unknown class 'Bee'"]),
    ("number of a class", ".csv", "id,label\nA,1\n", ["row 1: unknown class '1'"]),
    ("no label", ".csv", "id,label\nA,\n", ["row 1: no label"]),
    ("blanks for a label", ".csv", "id,label\nA,   \n", ["row 1: no label"]),
    ("done without a label", ".csv", "id,label,status\nA,,done\n", ["row 1: no label"]),
    ("blank row", ".csv", "id,label\nA,bee\n\nB,bee\n", ["row 2: blank; remove it"]),
    ("row of blanks", ".csv", "id,label\nA,bee\n , \nB,bee\n", ["row 2: blank; remove it"]),
    ("row of commas", ".csv", "id,label\nA,bee\n,\n", ["row 2: blank; remove it"]),
    ("too few fields", ".csv", "id,label,annotator\nA,bee\n", ["row 1: 2 fields where the first line names 3"]),
    ("too many fields", ".csv", "id,label\nA,bee,ann\n", ["row 1: 3 fields where the first line names 2"]),
    ("an open quote", ".csv", 'id,label\nA,"bee\nB,cat\n', ["row 1, line 3: not valid CSV"]),
    ("text after a quote", ".csv", 'id,label\nA,bee\nB,"cat"x\n', ["row 2, line 3: not valid CSV"]),
    ("a field beyond all bounds", ".csv", "id,label\nA," + "b" * 200_000 + "\n", ["row 1, line 2: not valid CSV"]),
    ("time that passes backwards", ".csv", "id,label,seconds\nA,bee,-1\n", ["row 1: seconds '-1' is not a number"]),
    ("seconds that are no number", ".csv", "id,label,seconds\nA,bee,fast\n", ["row 1: seconds 'fast'"]),
    ("seconds as in Python", ".csv", "id,label,seconds\nA,bee,1_0\n", ["row 1: seconds '1_0'"]),
    ("seconds NaN", ".csv", "id,label,seconds\nA,bee,nan\n", ["row 1: seconds 'nan'"]),
    ("seconds without end", ".csv", "id,label,seconds\nA,bee,inf\n", ["row 1: seconds 'inf'"]),
    (
        "seconds of an age",
        ".csv",
        "id,label,seconds\nA,bee,1e12\n",
        ["row 1: seconds '1e12' is not a number from 0 to"],
    ),
    ("seconds with a unit", ".csv", "id,label,seconds\nA,bee,3 s\n", ["row 1: seconds '3 s'"]),
    ("seconds with a comma", ".csv", 'id,label,seconds\nA,bee,"3,5"\n', ["row 1: seconds '3,5'"]),
    ("yesterday", ".csv", "id,label,labeled_at\nA,bee,yesterday\n", ["row 1: labeled_at 'yesterday'"]),
    ("a day that is none", ".csv", "id,label,labeled_at\nA,bee,2026-02-30\n", ["row 1: labeled_at '2026-02-30'"]),
    ("an American day", ".csv", "id,label,labeled_at\nA,bee,01/31/2026\n", ["row 1: labeled_at '01/31/2026'"]),
    ("a year to come", ".csv", "id,label,labeled_at\nA,bee,2999-01-31\n", ["row 1: labeled_at '2999-01-31' lies in"]),
    ("the last of all years", ".csv", "id,label,labeled_at\nA,bee,9999-12-31T23:59:59-12:00\n", ["row 1: labeled_at"]),
    ("seconds since 1970", ".csv", "id,label,labeled_at\nA,bee,1769850600.5\n", ["row 1: labeled_at '1769850600.5'"]),
    ("another status", ".csv", "id,label,status\nA,bee,maybe\n", ["row 1: status 'maybe'; it must be done or skipped"]),
    ("a status in capitals", ".csv", "id,label,status\nA,bee,DONE\n", ["row 1: status 'DONE'"]),
    ("a name without end", ".csv", f"id,label,annotator\nA,bee,{'n' * 201}\n", ["row 1: annotator of 201 characters"]),
    (
        "a name with a bell",
        ".csv",
        "id,label,annotator\nA,bee,a\x07b\n",
        ["row 1: annotator 'a\\x07b' holds a control"],
    ),
    ("a name of two lines", ".csv", 'id,label,annotator\nA,bee,"a\nb"\n', ["row 1: annotator 'a\\nb' holds a control"]),
    ("Latin-1", ".csv", b"id,label\nA,b\xe9e\n", ["cannot be read as UTF-8 text"]),
    ("UTF-16", ".csv", "id,label\nA,bee\n".encode("utf-16"), ["cannot be read as UTF-8 text"]),
    ("a workbook", ".xlsx", b"PK\x03\x04", ["answers come as a .csv or .jsonl file"]),
    ("no suffix", "", "id,label\nA,bee\n", ["answers come as a .csv or .jsonl file"]),
    ("several faults", ".csv", "id,label\nnobody,bee\nA,bee\nB,bird\n", ["row 1: unknown id", "row 3: unknown class"]),
    (
        "a fault in every row and column",
        ".csv",
        f"{HEADER}\nA,bird,,,,\nB,bee,,now,,\nC,bee,,,soon,\n,bee,,,,\nA,bee,,,,later\n",
        ["row 1: unknown class", "row 2: labeled_at", "row 3: seconds", "row 4: no id", "row 5: status"],
    ),
    ("a list of lists", ".jsonl", '["A", "bee"]\n', ["row 1: must be a JSON object"]),
    ("one array", ".jsonl", '[{"id": "A", "label": "bee"}]\n', ["row 1: must be a JSON object"]),
    (
        "an object over several lines",
        ".jsonl",
        '{\n"id": "A",\n"label": "bee"\n}\n',
        ["row 1: not valid JSON", "row 2: not valid JSON", "row 3: not valid JSON", "row 4: not valid JSON"],
    ),
    ("a torn line", ".jsonl", '{"id": "A", "label": "bee"}\n{"id": "B", "la', ["row 2: not valid JSON"]),
    ("depth without end", ".jsonl", "[" * 100_000 + "\n", ["row 1: not valid JSON"]),
    ("single quotes", ".jsonl", "{'id': 'A', 'label': 'bee'}\n", ["row 1: not valid JSON"]),
    ("blank line", ".jsonl", '{"id": "A", "label": "bee"}\n\n', ["row 2: blank; remove it"]),
    ("no id in JSON", ".jsonl", '{"label": "bee"}\n', ["row 1: no id"]),
    ("null for a label", ".jsonl", '{"id": "A", "label": null}\n', ["row 1: no label"]),
    ("true for a label", ".jsonl", '{"id": "A", "label": true}\n', ["row 1: label must be a text or a number"]),
    ("a list of labels", ".jsonl", '{"id": "A", "label": ["bee"]}\n', ["row 1: label must be a text or a number"]),
    ("an object for an id", ".jsonl", '{"id": {"x": 1}, "label": "bee"}\n', ["row 1: id must be a text or a number"]),
    ("a key twice", ".jsonl", '{"id": "A", "label": "bee", "label": "cat"}\n', ["row 1: names 'label' twice"]),
    (
        "half a character",
        ".jsonl",
        '{"id": "A", "label": "bee", "annotator": "\\ud800"}\n',
        ["row 1: holds a character"],
    ),
    ("an export of another tool", ".jsonl", '{"task": 7, "choice": "bee"}\n', ["row 1: no id"]),
    ("CSV called JSON lines", ".jsonl", "id,label\nA,bee\n", ["row 1: not valid JSON", "row 2: not valid JSON"]),
]


@pytest.fixture(scope="module")
def open_round(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """A round that waits for people, under git; no test of this file may change it."""
    workspace = asking(tmp_path_factory.mktemp("malformed") / "w")
    git = shutil.which("git")
    assert git is not None
    for command in (["init", "-q"], ["add", "-A"], ["-c", "user.name=t", "-c", "user.email=t@t", "commit", "-qm", "t"]):
        subprocess.run([git, "-C", str(workspace.root), *command], check=True)
    return workspace


def digests(workspace: Workspace) -> dict[str, str]:
    return {
        name: hashlib.sha256(content).hexdigest()
        for name, content in snapshot(workspace.root).items()
        # Reading a status takes git's own lock files and index times along.
        if not name.startswith(".git/") and name != "data/.lock"
    }


def git_status(workspace: Workspace) -> str:
    command = ["git", "-C", str(workspace.root), "status", "--porcelain", "--", ".", ":!data/.lock"]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def test_there_are_sixty_of_them() -> None:
    assert len(MALFORMED) >= 60
    assert len({name for name, *_ in MALFORMED}) == len(MALFORMED)


@pytest.mark.parametrize(("suffix", "content", "told"), [pytest.param(*rest, id=name) for name, *rest in MALFORMED])
def test_a_wrong_file_is_refused_with_its_rows_and_changes_nothing(
    open_round: Workspace, tmp_path: Path, suffix: str, content: str | bytes, told: list[str]
) -> None:
    ids = selected(open_round)
    path = tmp_path / f"answers{suffix}"
    if isinstance(content, str):
        content = content.encode()
    for letter, id_ in zip("ABC", ids, strict=False):
        content = content.replace(letter.encode() + b",", id_.encode() + b",").replace(
            f'"{letter}"'.encode(), f'"{id_}"'.encode()
        )
    path.write_bytes(content)
    before, clean = digests(open_round), git_status(open_round)
    assert clean == ""
    for command in (["answers", "check", path], ["answers", "add", path], ["close", "--answers", path]):
        arguments = [*map(str, command), "--workspace", str(open_round.root)]
        result = CliRunner().invoke(main, arguments, prog_name="frugal")
        assert result.exit_code == 2, result.output
        assert result.stdout == ""
        lines = result.stderr.splitlines()
        wanted = [one.replace("'A'", repr(ids[0])) for one in told]
        if len(wanted) == 1:
            assert len(lines) == 1
            assert lines[0].startswith(f"error: {path}")
            assert wanted[0] in lines[0]
        else:
            assert lines[0] == f"error: {path}: {len(wanted)} faults; nothing was taken in"
            assert len(lines) == len(wanted) + 1
            for line, one in zip(lines[1:], wanted, strict=True):
                assert line.startswith(f"  {one}")
        assert digests(open_round) == before
        assert git_status(open_round) == ""


def test_a_file_without_answers_fits_and_says_so(open_round: Workspace, tmp_path: Path) -> None:
    path = tmp_path / "answers.jsonl"
    path.write_text("")
    result = CliRunner().invoke(main, ["answers", "check", str(path), "--workspace", str(open_round.root)])
    assert (result.exit_code, "fits; 0 answers" in result.stdout) == (0, True)

"""The report as a browser shows it: no errors, and no wider than a phone."""

import html
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tasks.report.run import write
from tests.report_helpers import write_loop

_BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
BROWSER = next((path for name in _BROWSERS if (path := shutil.which(name))), None)

pytestmark = pytest.mark.skipif(BROWSER is None, reason="needs Chromium or Chrome")

#: Shows a page in a frame of a phone's width and writes down how wide it would like to be.
_FRAME = """<!DOCTYPE html><body><iframe style="width:390px;height:900px;border:0" srcdoc="{page}"></iframe>
<script>onload = () => {{
  const page = document.querySelector("iframe").contentDocument.documentElement;
  document.title = `wants ${{page.scrollWidth}} of ${{page.clientWidth}}`;
}}</script>"""
#: What a page may not do, to know that it would be seen.
_BAD = """<!DOCTYPE html><title>bad</title><div style="width:1000px">wide</div><script>console.error("seen")</script>"""


def browse(page: Path, profile: Path) -> tuple[str, str]:
    """The page's DOM once it is loaded, and what the browser said meanwhile."""
    flags = ("--headless=new", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr", "--virtual-time-budget=3000")
    command = [str(BROWSER), *flags, "--hide-scrollbars", f"--user-data-dir={profile}", "--dump-dom", page.as_uri()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    return done.stdout, done.stderr


def widths(source: str, tmp_path: Path) -> tuple[int, int]:
    """How wide a page of 390 pixels would like to be, and how wide it is."""
    frame = tmp_path / "frame.html"
    frame.write_text(_FRAME.format(page=html.escape(source)), encoding="utf-8")
    found = re.search(r"<title>wants (\d+) of (\d+)</title>", browse(frame, tmp_path / "profile")[0])
    assert found is not None
    return int(found[1]), int(found[2])


def test_page_shows_without_errors_and_without_sideways_scrolling(tmp_path: Path) -> None:
    classes = [
        "a class with a name of many words",
        "AClassWhoseNameIsOneWordThatHasNoEndAndNoPlaceToBreakItAnywhereAtAll",
        "cat",
    ]
    workspace = write_loop(tmp_path / "w", [0.3, 0.6, 0.9], classes=classes, aborted=1)
    page = write(workspace, tmp_path / "out")[0]
    dom, said = browse(page, tmp_path / "profile")
    assert "What accuracy cost" in dom
    assert "CONSOLE" not in said
    wanted, there = widths(page.read_text(encoding="utf-8"), tmp_path)
    assert (wanted, there) == (390, 390)


def test_the_browser_would_tell_errors_and_width(tmp_path: Path) -> None:
    bad = tmp_path / "bad.html"
    bad.write_text(_BAD)
    assert "CONSOLE" in browse(bad, tmp_path / "profile")[1]
    assert widths(_BAD, tmp_path)[0] > 390

"""A headless browser for the tests that look at web pages."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Page

_BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
BROWSER = next((path for name in _BROWSERS if (path := shutil.which(name))), None)
#: A root user has no sandbox, a server no screen, and a test no business with other machines.
_FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    # Graphs are drawn by WebGL.
    "--use-angle=swiftshader",
    "--enable-unsafe-swiftshader",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-default-apps",
    "--disable-sync",
    "--no-first-run",
    "--no-proxy-server",
)
#: A page of many scripts, on a machine that runs servers as well.
_PATIENCE_MS = 120_000


@contextmanager
def page(width: int = 1280, height: int = 900) -> Iterator["Page"]:
    """A page of Chromium's that shows only what this machine serves; skips the test where there is none."""
    if BROWSER is None:
        pytest.skip("needs Chromium or Chrome")
    from playwright.sync_api import expect, sync_playwright

    expect.set_options(timeout=_PATIENCE_MS)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=BROWSER, args=list(_FLAGS))
        try:
            context = browser.new_context(viewport={"width": width, "height": height}, reduced_motion="reduce")
            context.set_default_timeout(_PATIENCE_MS)
            yield context.new_page()
        finally:
            browser.close()


def screenshot(shown: "Page", path: Path) -> None:
    """Write what the page shows as a PNG, in 64 colours: a third of the bytes, and text as sharp."""
    import io

    from PIL import Image

    picture = Image.open(io.BytesIO(shown.screenshot()))
    picture.convert("RGB").quantize(64, dither=Image.Dither.NONE).save(path, optimize=True)

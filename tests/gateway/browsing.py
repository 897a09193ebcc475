"""A real browser, and real gateways in processes of their own, for the tests of the dashboard."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

SHOTS = Path(__file__).resolve().parents[2] / "test-output" / "dashboard"
"""Where screenshots are kept; nobody commits them."""
_NOWHERE = "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1"
"""Chromium reaches this machine alone."""
_CODE = "import sys; sys.argv[0] = 'headway'; from headway.cli import main; main()"


@contextmanager
def browsing() -> Iterator[Any]:
    """Chromium. The test is skipped where there is none."""
    found = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if found is None:
        pytest.skip("there is no Chromium; with one (apt install chromium) the dashboard's tests run")
    sync_api = pytest.importorskip("playwright.sync_api", reason="pip install playwright")
    with sync_api.sync_playwright() as playwright:
        # No sandbox: in containers, where tests run as root, Chromium does not start with it.
        browser = playwright.chromium.launch(executable_path=found, args=["--no-sandbox", "--disable-gpu", _NOWHERE])
        try:
            yield browser
        finally:
            browser.close()


@contextmanager
def gateways(*commands: tuple[Path, tuple[str, ...]]) -> Iterator[list[str]]:
    """Gateways, each with a home of its own and its options; their URLs, without /v1. They start side by side."""
    children = [_started(home, options) for home, options in commands]
    try:
        yield [_url(child) for child in children]
    finally:
        for child in children:
            child.kill()
        for child in children:
            child.wait()
            assert child.stdout is not None
            child.stdout.close()


def _started(home: Path, options: tuple[str, ...]) -> subprocess.Popen[str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("HEADWAY_", "OPENAI_"))}
    return subprocess.Popen(
        [sys.executable, "-c", _CODE, "serve", "--port", "0", *options],
        env=kept | {"HEADWAY_HOME": str(home), "OPENAI_API_KEY": "sim", "HEADWAY_LOG_LEVEL": "off"},
        cwd=home,
        stdout=subprocess.PIPE,
        text=True,
    )


def _url(child: subprocess.Popen[str]) -> str:
    assert child.stdout is not None
    line = child.stdout.readline()
    assert line.startswith("Headway serves http://127.0.0.1:"), line
    return line.split()[2].removesuffix("/v1;")


class Visit:
    """A page that is watched: what it asks for, and what the browser complains about.

    Args:
        browser: From `browsing`.
        base: The gateway's URL. Asking any other origin is a complaint.
        context: As for the browser's contexts: `viewport`, `color_scheme` ...
    """

    def __init__(self, browser: Any, base: str, **context: Any) -> None:
        self.base = base
        self.asked: list[str] = []
        self.complaints: list[str] = []
        self._context = browser.new_context(**context)
        self._context.set_default_timeout(20_000)
        self.page = self._context.new_page()
        self.page.on("request", self._asks)
        self.page.on("console", self._heard)
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("dialog", lambda dialog: self.complaints.append(f"dialog: {dialog.message}") or dialog.dismiss())

    def __enter__(self) -> Visit:
        return self

    def __exit__(self, *exc: object) -> None:
        self._context.close()

    def _asks(self, request: Any) -> None:
        self.asked.append(request.url)
        if urlsplit(request.url).netloc not in ("", urlsplit(self.base).netloc):  # "": about:blank
            self.complaints.append(f"left the origin: {request.url}")

    def _heard(self, message: Any) -> None:
        if message.type in ("error", "warning"):
            self.complaints.append(message.text)

    def go(self, place: str = "#/overview") -> Any:
        """Open a place of the dashboard, and wait for its frame."""
        self.page.goto(f"{self.base}/{place}")
        self.page.wait_for_selector(".shell, .door")
        return self.page

    def offline(self, away: bool) -> None:
        """Take the network away, or give it back."""
        self._context.set_offline(away)

    def shot(self, name: str) -> None:
        """Keep a picture."""
        SHOTS.mkdir(parents=True, exist_ok=True)
        self.page.screenshot(path=SHOTS / f"{name}.png")
        sys.stdout.write(f"{SHOTS / name}.png\n")

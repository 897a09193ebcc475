"""`/try` in a real Chromium, over a real gateway with the simulator behind it."""

from __future__ import annotations

import asyncio
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from headway.gateway.app import pages
from headway.sim import SimSettings, Simulator
from headway.testing import FakeProvider, Step
from headway.types import Call, Reply
from tests.gateway.browsing import Visit, browsing
from tests.gateway.helpers import gateway
from tests.gateway.test_gateway_keys import made

TRY = Path(pages.__file__).parent / "static" / "try"


class Provider:
    """The simulator, and a model that is in no hurry."""

    def __init__(self) -> None:
        self._simulator = Simulator(SimSettings(latency_scale=0.2, rpm=None, tpm=None))
        self.slow = FakeProvider([Step(text="word " * 10_000, chunk_delay_s=0.05)])

    async def __call__(self, call: Call) -> Reply:
        return await (self.slow if call.view.model == "slow" else self._simulator.handler)(call)


@contextmanager
def served(provider: Provider, keys: str) -> Iterator[tuple[str, str]]:
    """Two gateways in a thread, one that has keys."""
    urls: list[str] = []
    ready, over = threading.Event(), threading.Event()

    async def main() -> None:
        how = {"base_url": "http://sim.test/v1", "model": "gpt-5.4-mini", "cache": "memory", "log": "off"}
        async with gateway(provider, **how) as free, gateway(provider, keys=keys, **how) as keyed:
            urls.extend((free, keyed))
            ready.set()
            await asyncio.to_thread(over.wait)

    thread = threading.Thread(target=lambda: asyncio.run(main()), daemon=True)
    thread.start()
    try:
        assert ready.wait(20)
        yield urls[0], urls[1]
    finally:
        over.set()
        thread.join()


def test_a_person_asks_talks_stops_and_signs_in_with_a_key(tmp_path):
    """One question, a hit, a conversation, an answer that is stopped, a phone, the dark, and a key."""
    key, provider = made(tmp_path / "keys"), Provider()
    with browsing() as browser, served(provider, str(tmp_path / "keys")) as (free, keyed):
        with Visit(browser, free, viewport={"width": 1280, "height": 900}) as visit:
            page = visit.page
            page.goto(f"{free}/try")
            figure = page.locator("#figures .tile-figure")
            page.locator('#models option[value="gpt-5.4-mini"]').wait_for(state="attached")
            page.locator("#prompt").fill("Name three colours.")
            assert "--data-urlencode 'prompt=Name three colours.'" in page.locator("#curl").inner_text()
            page.keyboard.press("Control+Enter")
            page.locator(".turn:not(.mine):not(.speaking)").wait_for()
            assert page.locator(".turn").all_inner_texts() == ["Name three colours.", "Name three colours."]
            assert re.fullmatch(r"[\d.]+\sm?s", figure.nth(0).inner_text())
            assert float(figure.nth(1).inner_text()) > 0
            assert figure.nth(2).inner_text() == "4"
            assert re.fullmatch(r"\$0\.0000\d+", figure.nth(3).inner_text())
            assert figure.nth(4).inner_text() == "asked"
            page.locator("#go").click()
            page.get_by_text("hit", exact=True).wait_for()
            assert figure.nth(3).inner_text() == "$0"
            visit.shot("try-light")
            page.get_by_label("a conversation").check()
            for text in ("Name one colour.", "Name two colours."):
                page.locator("#prompt").fill(text)
                page.locator("#go").click()
                page.locator(".turn:not(.mine):not(.speaking)", has_text=text).wait_for()
            assert page.locator(".turn").count() == 6
            page.get_by_label("Model").fill("slow")
            for door in ("one question", "a conversation"):
                page.get_by_label(door).check()
                page.locator("#prompt").fill("Go on")
                page.locator("#go").click()
                page.locator(".turn.speaking", has_text="word").wait_for()
                page.get_by_role("button", name="Stop").click()
                page.locator('.turn.ended[data-end="stopped"]').wait_for()
                page.get_by_role("button", name="Begin anew").click()
            while provider.slow.aborted < 2:  # both ended at the provider
                page.wait_for_timeout(5)
            assert (provider.slow.calls, provider.slow.open) == (2, 0)
            assert page.locator(".turn").count() == 0
            assert visit.complaints == []
        with Visit(browser, keyed, viewport={"width": 360, "height": 740}, color_scheme="dark") as visit:
            page = visit.page
            page.goto(f"{keyed}/try")
            page.get_by_label("Key of this gateway").fill(key)
            page.keyboard.press("Tab")
            page.locator('#models option[value="gpt-5.4-mini"]').wait_for(state="attached")
            for answers, door in enumerate(("one question", "a conversation")):
                page.get_by_label(door).check()
                page.locator("#prompt").fill("Name four colours.")
                page.locator("#go").click()
                page.locator(".turn:not(.mine):not(.speaking)").nth(answers).wait_for()
                assert page.locator(".turn").last.inner_text() == "Name four colours."
            assert page.evaluate("document.documentElement.scrollWidth") <= 360
            visit.shot("try-phone-dark")
            page.get_by_label("Key of this gateway").fill("hw-wrong")
            page.get_by_label("one question").check()
            page.locator("#prompt").fill("And?")
            page.locator("#go").click()
            page.get_by_role("alert").get_by_text("no key of this gateway").wait_for()
            assert all("401" in one for one in visit.complaints)  # the list of models was refused, too


@pytest.mark.parametrize("script", sorted((TRY / "js").glob("*.js")), ids=lambda path: path.name)
def test_its_scripts_make_no_markup(script):
    """As those of the dashboard: no way from text to markup, nothing from elsewhere, every import leads somewhere."""
    text = script.read_text("utf-8")
    assert len(text.splitlines()) <= 300
    assert not re.search(
        r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function|\.cssText", text
    )
    assert not re.search(r"https?://", text)
    for path in re.findall(r'^import .* from "([^"]+)";$', text, re.MULTILINE):
        assert (script.parent / path).is_file(), path

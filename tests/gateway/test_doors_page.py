"""`/try` in a real Chromium, over a real gateway with the simulator behind it."""

from __future__ import annotations

import re
from contextlib import ExitStack
from pathlib import Path

import pytest

from headway.gateway.app import pages
from headway.gateway.keys import KeyStore
from headway.policy.keys import Key
from headway.sim import SimSettings
from headway.sim.server import serving
from tests.gateway.browsing import Visit, browsing, gateways

TRY = Path(pages.__file__).parent / "static" / "try"


def test_a_person_asks_talks_stops_and_signs_in_with_a_key(tmp_path):
    """One question, a hit, a conversation, an answer that is stopped, a phone, the dark, and a key."""
    home, config = tmp_path / "home", tmp_path / "settings.toml"
    keys = home / "keys.sqlite"
    home.mkdir()
    config.write_text('cache = "memory"\nlog = "off"\n')
    with KeyStore(keys) as store:
        key = store.create(Key(id="", name="me"))[1].reveal()
    with ExitStack() as open_:
        base = open_.enter_context(serving(SimSettings(latency_scale=0.05)))
        how = ("--config", str(config), "--base-url", base, "--model", "gpt-5.4-mini")
        free, keyed = open_.enter_context(gateways((tmp_path, how), (home, how)))
        browser = open_.enter_context(browsing())
        with Visit(browser, free, viewport={"width": 1280, "height": 900}) as visit:
            page = visit.page
            page.goto(f"{free}/try")
            figure = page.locator("#figures .tile-figure")
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
            page.locator("#prompt").fill("Say this again: " + "word " * 12_000)
            page.locator("#go").click()
            page.locator(".turn.speaking", has_text="word").wait_for()
            page.get_by_role("button", name="Stop").click()
            assert page.locator(".turn.ended").get_attribute("data-end") == "stopped"
            page.get_by_role("button", name="Begin anew").click()
            assert page.locator(".turn").count() == 0
            page.get_by_label("Bound in tokens").fill("16")
            page.get_by_label("Model").fill("no-such-model")
            assert visit.complaints == []
        with Visit(browser, keyed, viewport={"width": 360, "height": 740}, color_scheme="dark") as visit:
            page = visit.page
            page.goto(f"{keyed}/try")
            page.get_by_label("Key of this gateway").fill(key)
            for door in ("one question", "a conversation"):
                page.get_by_label(door).check()
                page.locator("#prompt").fill("Name four colours.")
                page.locator("#go").click()
                page.locator(".turn:not(.mine):not(.speaking)").last.wait_for()
                assert page.locator(".turn").last.inner_text() == "Name four colours."
            assert page.evaluate("document.documentElement.scrollWidth") <= 360
            visit.shot("try-phone-dark")
            page.get_by_label("Key of this gateway").fill("hw-wrong")
            page.get_by_label("one question").check()
            page.locator("#prompt").fill("And?")
            page.locator("#go").click()
            page.get_by_role("alert").get_by_text("no key of this gateway").wait_for()
            assert visit.complaints == []


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

"""The dashboard in a real Chromium, over real gateways with the simulator behind them."""

from __future__ import annotations

import asyncio
import json
import re
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import openai
import pytest

import headway
from headway.gateway.keys import KeyStore
from headway.policy.keys import Key
from headway.sim import SimSettings, Simulator
from headway.sim.faults import Fault
from headway.sim.server import serving
from tests.gateway.browsing import Visit, browsing, gateways

PHONE = {"width": 360, "height": 740}
ROWS = [["tbody tr:nth-child(n+3)"]]
"""Contrast takes axe long, and rows are all alike."""
PIPELINE = "long article, 50 %"
HOSTILE = '<img src=x onerror="alert(1)">'


@dataclass
class House:
    """What the tests look at."""

    browser: Any
    url: str
    """Without keys; its calls are the tests'."""
    keyed: str
    """With keys; nobody calls it."""
    admin: str
    normal: str

    def ask(self, model: str, text: str) -> str:
        """A call by the openai SDK; the answer, or the error's name."""
        with openai.OpenAI(base_url=f"{self.url}/v1", api_key="any", max_retries=0) as client:
            try:
                reply = client.chat.completions.create(model=model, messages=[{"role": "user", "content": text}])
            except openai.APIError as error:
                return type(error).__name__
        return reply.choices[0].message.content or ""


@pytest.fixture(scope="module")
def house(tmp_path_factory) -> Iterator[House]:
    """Two gateways, two simulators, one browser."""
    home, other = tmp_path_factory.mktemp("home"), tmp_path_factory.mktemp("keyed")
    keys = other / "keys.sqlite"
    with KeyStore(keys) as store:
        admin = store.create(Key(id="", name="me", admin=True))[1].reveal()
        app, secret = store.create(Key(id="", name="app", dollars_per_day=20.0))
        normal = secret.reveal()
        ends_wall_s = time.time() + 86_400
        store.create(
            Key(id="", name="nightly", parent=app.id, paths=("/v1/files*",), priority=-1, expires_wall_s=ends_wall_s)
        )
    broken = SimSettings(latency_scale=0.0, faults=(Fault(kind="500"),))
    with ExitStack() as open_, ThreadPoolExecutor(3) as pool:
        starting = [pool.submit(open_.enter_context, serving(one)) for one in (SimSettings(latency_scale=0.0), broken)]
        run = pool.submit(asyncio.run, _run_a_pipeline(str(home / "calls.sqlite")))
        browser = open_.enter_context(browsing())
        good, bad = (one.result() for one in starting)
        run.result()
        config = home / "headway.toml"
        config.write_text(
            f'base_url = "{good}"\nattempts_max = 2\n'
            f'[[upstream]]\nname = "broken"\nbase_url = "{bad}"\nmodels = ["gpt-5.4"]\nkey_env = "OPENAI_API_KEY"\n'
        )
        url, keyed = open_.enter_context(
            gateways((home, ("--config", str(config))), (other, ("--keys", str(keys), "--base-url", good)))
        )
        yield House(browser, url, keyed, admin, normal)


async def _run_a_pipeline(log: str) -> None:
    """One run, written into the log that the gateway reads."""

    @headway.step
    async def outline(topic: str) -> str:
        return await headway.ask(f"Write 5 words: an outline about {topic}.", model="gpt-5.4-mini")

    @headway.step
    async def write(text: str) -> str:
        return await headway.ask(f"Write 5 words. {text}", model="gpt-5.4-mini")

    @headway.pipeline(name=PIPELINE)
    async def article(topic: str) -> Any:
        return write(outline(topic))

    simulator = Simulator(SimSettings(latency_scale=0.0))
    async with (
        headway.Engine(handler=simulator.handler, api_key="any", log=log) as engine,
        article.run("tides", engine=engine) as run,
    ):
        await run.result()


def settled(page: Any) -> None:
    """Wait until a view has its figures."""
    page.locator("main .loading").locator("visible=true").first.wait_for(state="hidden")


def row_of(page: Any, text: str) -> Any:
    """The first row of the list of calls that has a text."""
    return page.locator("tr", has_text=text).locator("visible=true").first


def test_a_call_appears_while_one_looks(house):
    """It loads small and quietly, from its own origin alone; a call by the SDK is there without a reload."""
    with Visit(house.browser, house.url, viewport={"width": 1280, "height": 900}) as visit:
        sizes: list[int] = []
        visit.page.on("requestfinished", lambda request: sizes.append(request.sizes()["responseBodySize"]))
        page = visit.go()
        page.get_by_text("Live", exact=True).wait_for()
        assert sum(sizes) < 100_000
        page.evaluate("window.untouched = true")
        assert house.ask("gpt-5.4-mini", "Name three colours.") == "Name three colours."
        row = row_of(page, "/chat/completions")
        row.wait_for()
        assert "200" in row.inner_text()
        house.ask("gpt-5.4-mini", "Name four colours.")
        page.locator("tbody tr a[href*='calls/']").nth(1).wait_for()
        assert page.evaluate("window.untouched")
        assert page.locator(".tile").first.inner_text().startswith("Requests/s")
        visit.shot("overview-light")
        assert visit.complaints == []
        assert len(visit.asked) > 20


def test_filters_are_kept_in_the_address(house):
    """By model: other calls go from the list, and a reload brings the same view back."""
    house.ask("gpt-5.4-mini", "One.")
    house.ask("gpt-5.4-nano", "Two.")
    with Visit(house.browser, house.url, viewport={"width": 1280, "height": 900}) as visit:
        page = visit.go("#/calls")
        row_of(page, "gpt-5.4-mini").wait_for()
        page.get_by_label("Model").select_option("gpt-5.4-nano")
        row_of(page, "gpt-5.4-mini").wait_for(state="detached")
        assert "model=gpt-5.4-nano" in page.url
        page.reload()
        row_of(page, "gpt-5.4-nano").wait_for()
        assert page.get_by_label("Model").input_value() == "gpt-5.4-nano"
        assert page.locator("tbody tr", has_text="gpt-5.4-mini").count() == 0
        page.get_by_text("1 h", exact=True).click()
        page.wait_for_url("**window=3600**")
        page.get_by_role("button", name="Clear").click()
        row_of(page, "gpt-5.4-mini").wait_for()
        assert visit.complaints == []


def test_a_failed_call_says_why(house):
    """It is marked, found by "failed only", and its panel has the error, the tries and the waterfall."""
    assert house.ask("gpt-5.4", "Fail.") == "InternalServerError"
    with Visit(house.browser, house.url, viewport={"width": 1280, "height": 900}) as visit:
        page = visit.go()
        page.get_by_label("Failed only").check()
        row = row_of(page, "500 server error")
        row.wait_for()
        assert "outcome=failed" in page.url
        page.reload()
        row.wait_for()
        assert page.get_by_label("Failed only").is_checked()
        assert "failed" in row.get_attribute("class")
        assert page.get_by_role("table", name="Calls").locator("tbody tr:not(.failed)").count() == 0
        link = row.locator("a")
        link.focus()
        page.keyboard.press("Enter")
        panel = page.get_by_role("dialog")
        panel.get_by_text("Where the time went").wait_for()
        words = panel.inner_text()
        assert "server error" in words
        assert "The provider failed." in words
        assert panel.locator(".lane").count() >= 3  # the axis, the call, its tries
        assert panel.locator("tbody tr.failed").count() == 2
        address = page.url
        visit.shot("failed-call")
        page.keyboard.press("Escape")
        panel.wait_for(state="hidden")
        assert link.evaluate("element => element === document.activeElement")
        page.goto("about:blank")
        page.goto(address)  # the address alone opens it
        panel.get_by_text("The provider failed.").wait_for()
        call_id = panel.locator("code").last.inner_text()
        page.goto(f"{house.url}/calls")  # as typed by hand
        page.wait_for_url("**/#/calls?**")
        page.get_by_role("searchbox").fill(f" {call_id} ")
        page.keyboard.press("Enter")
        panel.get_by_text("The provider failed.").wait_for()
        assert visit.complaints == []


def test_hostile_text_stays_text(house):
    """A model's name that is markup is shown as it was written."""
    assert house.ask(HOSTILE, "Hi.") == "NotFoundError"
    with Visit(house.browser, house.url) as visit:
        page = visit.go("#/calls")
        row_of(page, HOSTILE).wait_for()
        assert page.locator("img").count() == 0
        row_of(page, HOSTILE).click()
        page.get_by_role("dialog").get_by_role("heading", name=HOSTILE).wait_for()
        assert visit.complaints == []


def test_the_door_opens_for_admins(house):
    """A normal key is refused in words, an admin's gets in, the first steps are told, and signing out ends it."""
    with Visit(house.browser, house.keyed, viewport={"width": 1000, "height": 760}) as visit:
        page = visit.go()
        field = page.get_by_label("Admin key")
        assert field.get_attribute("type") == "password"
        field.fill(house.normal)
        page.keyboard.press("Enter")
        page.locator("#key-trouble").filter(has_text="admin").wait_for()
        visit.shot("sign-in")
        visit.complaints.clear()  # the browser tells of the refusal, too
        field.fill(f" {house.admin} ")
        page.keyboard.press("Enter")
        page.get_by_text(f"{house.keyed}/v1", exact=True).wait_for()
        page.get_by_role("tab", name="Python").click()
        assert f'base_url="{house.keyed}/v1"' in page.get_by_role("tabpanel", name="Python").inner_text()
        assert page.evaluate("document.cookie") == ""
        visit.shot("first-steps")
        page.get_by_role("link", name="Keys").click()
        row_of(page, "of $20.00").wait_for()
        child = row_of(page, "nightly").inner_text()
        for said in ("below app", "until ", "low", "/v1/files*"):
            assert said in child
        assert "/v1/responses" not in row_of(page, "of $20.00").inner_text()  # what is usual is not said
        href = page.get_by_role("link", name="Spend as CSV").get_attribute("href")
        assert re.fullmatch(r"/api/keys/spend\.csv\?month=\d{4}-\d\d", href)
        assert page.request.get(f"{house.keyed}{href}").status == 200
        visit.shot("keys")
        page.get_by_role("button", name="Sign out").click()
        page.get_by_label("Admin key").wait_for()
        page.reload()
        page.get_by_label("Admin key").wait_for()
        assert visit.complaints == []


def test_pipelines_and_the_waterfall_of_a_run(house):
    """The list, the steps of one, its runs, and a run with its critical path marked."""
    with Visit(house.browser, house.url, viewport={"width": 1280, "height": 800}) as visit:
        page = visit.go("#/pipelines")
        page.get_by_role("link", name=PIPELINE).click()
        row_of(page, "outline").wait_for()
        page.locator("section", has_text="Runs").last.locator("tbody a").first.click()
        page.get_by_text("Its end hung on").wait_for()
        assert page.locator(".lane.critical").count() == 2
        page.locator(".lane.critical").first.focus()
        assert page.locator(".lane:focus .lane-words").is_visible()
        visit.shot("run")
        assert visit.complaints == []


def test_dark_by_preference_and_by_hand(house):
    """The system's preference counts until somebody chooses; the choice outlives a reload."""
    ground = "getComputedStyle(document.documentElement).backgroundColor"
    with Visit(house.browser, house.url, color_scheme="dark", viewport={"width": 1280, "height": 900}) as visit:
        page = visit.go()
        row_of(page, "gpt-5.4").wait_for()
        dark = page.evaluate(ground)
        visit.shot("overview-dark")
        page.get_by_role("button", name="Light or dark").click()
        light = page.evaluate(ground)
        assert [sum(map(int, re.findall(r"\d+", one))) < 150 for one in (dark, light)] == [True, False]
        page.reload()
        assert page.evaluate(ground) == light
        assert visit.complaints == []


def test_a_phone_shows_all_of_it(house):
    """At 360 pixels no page can be scrolled sideways."""
    with Visit(house.browser, house.url, viewport=PHONE, color_scheme="dark") as visit:
        page = visit.go()
        for place in ("#/overview", "#/calls", "#/pipelines", f"#/pipelines/{quote(PIPELINE)}", "#/keys"):
            visit.go(place)
            settled(page)
            assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"], place
        visit.go("#/calls")
        row_of(page, "500 server error").click()
        page.get_by_text("Where the time went").wait_for()
        assert page.evaluate("document.querySelector('.drawer-body').scrollWidth") <= PHONE["width"]
        visit.shot("phone-call")
        page.keyboard.press("Escape")
        visit.go("#/overview")
        row_of(page, "gpt-5.4").wait_for()
        visit.shot("phone-overview")
        assert visit.complaints == []


def test_all_of_it_by_keyboard(house):
    """Skip link, filters, help, charts, tabs, views, rows and a call, without a mouse; the focus can be seen."""
    focused = "document.activeElement"
    with Visit(house.browser, house.url, viewport={"width": 1280, "height": 900}, reduced_motion="reduce") as visit:
        page = visit.go()
        row_of(page, "gpt-5.4").wait_for()
        page.keyboard.press("Tab")
        assert page.evaluate(f"{focused}.textContent") == "Skip to the figures"
        page.keyboard.press("Enter")
        page.wait_for_url("**#/overview**")  # the address is put back behind the link's back
        assert page.evaluate(f"{focused}.id") == "main"
        page.keyboard.press("/")
        assert page.evaluate(f"{focused}.name") == "key"
        page.keyboard.press("Shift+Tab")
        page.keyboard.press("?")
        page.get_by_role("dialog", name="Keyboard shortcuts").wait_for()
        page.keyboard.press("Escape")
        chart = page.get_by_role("slider", name="Requests/s, over time")
        chart.focus()
        assert page.evaluate(f"getComputedStyle({focused}).outlineStyle") == "solid"
        page.keyboard.press("ArrowLeft")
        said = chart.get_attribute("aria-valuetext")
        assert re.match(r"\d\d:\d\d:\d\d: .*Upstream", said), said
        page.get_by_role("tab", name="Model").focus()
        page.keyboard.press("ArrowRight")
        assert page.evaluate(f"{focused}.textContent") == "Key"
        assert page.get_by_role("tab", name="Key").get_attribute("aria-selected") == "true"
        page.keyboard.press("2")
        page.wait_for_url("**#/calls**")
        row_of(page, "gpt-5.4").locator("a").focus()
        page.keyboard.press("j")
        page.keyboard.press("Enter")
        page.get_by_role("dialog").get_by_text("Where the time went").wait_for()
        page.keyboard.press("Escape")
        page.keyboard.press("p")
        page.get_by_text("Paused", exact=True).wait_for()
        assert visit.complaints == []


def test_held_lost_and_found_again(house):
    """Held figures stay; a lost connection says so, and what happened meanwhile is there when it is back."""
    with Visit(house.browser, house.url, viewport={"width": 1280, "height": 900}) as visit:
        page = visit.go("#/calls")
        page.get_by_text("Live", exact=True).wait_for()
        row_of(page, "gpt-5.4").wait_for()
        page.get_by_role("button", name="Hold the figures").click()
        page.get_by_text("Paused", exact=True).wait_for()
        house.ask("gpt-5.4-pro", "Held.")
        assert page.locator("tbody tr", has_text="gpt-5.4-pro").count() == 0
        page.get_by_role("button", name="Let the figures go on").click()
        row_of(page, "gpt-5.4-pro").wait_for()
        visit.offline(True)
        page.evaluate("dispatchEvent(new Event('pagehide')); document.dispatchEvent(new Event('visibilitychange'))")
        page.get_by_text("Reconnecting", exact=True).wait_for()
        page.get_by_text("The gateway does not answer.").wait_for()
        visit.offline(False)
        page.get_by_text("Live", exact=True).wait_for()
        page.get_by_text("The gateway does not answer.").wait_for(state="detached")


@pytest.mark.parametrize("size", [(1280, 900), (1024, 768), (360, 740)], ids=lambda size: str(size[0]))
def test_long_words_and_great_sums_fit(house, size):
    """No figure is cut, and what a call cost is to be seen without scrolling, whatever models are called and cost."""
    with Visit(house.browser, house.url, viewport={"width": size[0], "height": size[1]}) as visit:
        page = visit.page
        page.route("**/api/live?*", _grown)
        visit.go()
        row_of(page, "accounts/").wait_for()
        cut = "[...document.querySelectorAll('.tile-figure')].filter(e => e.scrollWidth > e.clientWidth).length"
        assert page.evaluate(cut) == 0
        figures = page.locator(".tile-figure").all_inner_texts()
        assert "$0.00000012" in figures
        assert "$12,345" in figures
        assert page.get_by_text("last 5 failed").is_visible()
        assert page.locator(".badge.ok", has_text="closed").count() == 0
        assert page.get_by_role("table", name="Calls").get_by_text("no key").first.is_visible() == (size[0] >= 1280)
        if size[0] >= 1024:
            table = page.get_by_role("group", name="Calls")
            assert table.evaluate("element => element.scrollWidth <= element.clientWidth")
            assert page.get_by_role("table", name="Calls").get_by_text("$12,345").is_visible()
            visit.shot(f"grown-{size[0]}")


def _grown(route: Any) -> None:
    """The gateway's own figures, grown beyond what is usual."""
    whole = route.request.frame.page.request.get(route.request.url.replace("/live?", "/overview?")).json()
    whole["totals"] |= {"dollars": 1.2e-7, "saved_dollars": 12345.0}
    call = whole["calls"][0] | {"model": "accounts/fireworks/models/llama-v3p1-405b-instruct-long", "dollars": 12345.0}
    refused = {"id": "0" * 32, "status": 404, "outcome": "client_error", "dollars": 1.2e-7}
    whole["calls"] = [call, call | refused]
    for line in whole["upstreams"]:
        line |= {"breaker": "none", "last": 5, "last_failed": 5}
    whole["upstreams"] = whole["upstreams"][:1]
    route.fulfill(content_type="text/event-stream", body=f"event: overview\ndata: {json.dumps(whole)}\n\n")


def test_accessibility_by_axe(house):
    """Names, roles, the order of headings, contrast: axe finds nothing; in the dark, contrast alone is looked at."""
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
    with Visit(house.browser, house.url, viewport={"width": 1280, "height": 900}) as visit:
        page = visit.page

        def look(part: str, **options: Any) -> None:
            found = axe.run(page, context={"include": [[part]], "exclude": ROWS}, options=options)
            assert found.violations_count == 0, (page.url, found.generate_report())

        for place in ("#/overview", "#/calls"):
            settled(visit.go(place))
            row_of(page, "gpt-5.4").wait_for()
            look("body", resultTypes=["violations"])
        row_of(page, "500 server error").click()
        page.get_by_text("Where the time went").wait_for()
        look(".drawer", resultTypes=["violations"])
        page.emulate_media(color_scheme="dark")
        look(".drawer", runOnly=["color-contrast"])

"""`/metrics` of a served gateway: what it says, in which format, and to whom."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import httpx
import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.openmetrics.exposition import generate_latest as open_latest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as open_families
from prometheus_client.parser import text_string_to_metric_families as families

from headway.gateway.app.metrics import _page
from headway.gateway.keys import KeyStore
from headway.gateway.peers import WorkerState
from headway.policy.keys import Key
from headway.telemetry import Meters
from headway.telemetry.families import FAMILIES, GAUGES
from headway.telemetry.gauges import gauges
from headway.telemetry.states import merged
from headway.testing import FakeProvider
from tests.gateway.helpers import gateway, said, within

from .made import ask, call

OPEN = "application/openmetrics-text; version=1.0.0"


def samples(text: str) -> dict[tuple[str, str], float]:
    """Sample to value, by name and its labels as "a=b,c=d"."""
    return {
        (sample.name, ",".join(f"{k}={v}" for k, v in sorted(sample.labels.items()))): sample.value
        for family in families(text)
        for sample in family.samples
    }


def test_a_call_shows_up_in_both_formats():
    async def main() -> None:
        async with gateway(FakeProvider([429, 200]), budget_usd=3.0) as url, httpx.AsyncClient() as client:
            tags = {"headway-tags": "run=r1,step=draft#2,parent=article"}
            assert (await ask(client, url, headers=tags)).status_code == 200
            page = await client.get(f"{url}/metrics")
            assert page.headers["content-type"].startswith("text/plain; version=0.0.4")
            assert page.headers["cache-control"] == "no-store"
            found = samples(page.text)
            asked = "model=gpt-5.4-mini,outcome=ok,route=/v1/chat/completions,status_class=2xx"
            assert found["headway_requests_total", asked] == 1
            assert {v for (name, _), v in found.items() if name == "headway_attempts_total"} == {1}
            assert found["headway_pipeline_steps_total", "outcome=ok,pipeline=article,step=draft"] == 1
            assert found["headway_workers", ""] == 1
            assert found["headway_budget_dollars", ""] == 3.0
            assert found["headway_queued", "priority=normal"] == 0
            assert found["process_resident_memory_bytes", ""] > 1e6
            listed = {family.name for family in families(page.text)}
            assert listed == {family.name.removesuffix("_total") for family in (*FAMILIES, *GAUGES)}
            page = await client.get(f"{url}/metrics", headers={"accept": OPEN})
            assert page.headers["content-type"].startswith("application/openmetrics-text")
            assert {family.name for family in open_families(page.text)} == listed
            assert page.text.count("# EOF") == 1

    within(main())


def test_who_is_turned_away_is_counted_by_why_and_no_label_is_a_stranger_s():
    async def main() -> None:
        async with gateway(FakeProvider([200])) as url, httpx.AsyncClient() as client:
            assert (await ask(client, url, headers={"host": "evil.example"})).status_code == 421
            await said(url, b"GET /v1/../etc/passwd HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n")
            await said(url, b"POST /v1/responses HTTP/1.1\r\nhost: localhost\r\ncontent-length: x\r\n\r\n")
            found = samples((await client.get(f"{url}/metrics")).text)
            refused = {labels: v for (name, labels), v in found.items() if name == "headway_refused_total"}
            assert refused == {"code=misdirected_request": 1, "code=not_found": 1, "code=invalid_request": 1}
            away = await client.get(f"{url}/metrics", headers={"host": "evil.example"})
            assert away.status_code == 421
            assert "headway_" not in away.text

    within(main())


def made(path: Path, name: str, **rights: object) -> str:
    with KeyStore(path) as store:
        return store.create(Key(id="", name=name, **rights))[1].reveal()  # type: ignore[arg-type]


@pytest.mark.parametrize("metrics", ["key", "loopback"])
def test_with_keys_it_takes_an_operator_s_key_or_what_was_allowed(tmp_path, metrics):
    """A client's key reads nothing; a proxy of this machine does not stand in for the machine itself."""

    async def main() -> None:
        path = tmp_path / "keys"
        app, admin = made(path, "app"), made(path, "ops", admin=True)
        async with (
            gateway(FakeProvider([200]), keys=str(path), metrics=metrics, metrics_keys=True) as url,
            httpx.AsyncClient() as client,
        ):

            async def status(**headers: str) -> int:
                named = {name.replace("_", "-"): value for name, value in headers.items()}
                return (await client.get(f"{url}/metrics", headers=named)).status_code

            assert await status(authorization=f"Bearer {admin}") == 200
            free = 200 if metrics == "loopback" else 401
            assert await status() == free
            assert await status(authorization=f"Bearer {app}") == (200 if metrics == "loopback" else 403)
            assert await status(host="gateway.example") == 401
            assert await status(x_forwarded_for="203.0.113.9") == 401
            assert await status(origin="http://evil.example") == 401
            assert (await ask(client, url, headers={"authorization": f"Bearer {app}"})).status_code == 200
            page = await client.get(f"{url}/metrics", headers={"authorization": f"Bearer {admin}"})
            found = samples(page.text)
            (labels,) = [labels for name, labels in found if name == "headway_key_requests_total"]
            key = labels.partition("key=")[2].partition(",")[0]
            assert key
            assert key not in (app, admin)
            assert app not in page.text

    within(main())


def test_it_tells_the_sum_over_all_workers_and_is_not_upset_by_one_of_another_version(monkeypatch):
    other = Meters(extra=lambda: {"headway_workers": 1.0})
    for _ in range(3):
        other.finished(call())
    states = [
        WorkerState(pid=2, state={"in_flight": 5, "queued": 1}, meters=other.packed()),
        WorkerState(pid=0, state={}, meters=other.packed()),  # what remains of those that are gone
        WorkerState(pid=3, state={"in_flight": 1}, meters=b"\xc1"),
    ]

    async def both(self) -> list[WorkerState]:
        return [self._own(), *states]

    monkeypatch.setattr("headway.gateway.peers.Alone.states", both)

    async def main() -> None:
        async with gateway(FakeProvider([200])) as url, httpx.AsyncClient() as client:
            await ask(client, url)
            found = samples((await client.get(f"{url}/metrics")).text)
            asked = "model=gpt-5.4-mini,outcome=ok,route=/v1/chat/completions,status_class=2xx"
            assert found["headway_requests_total", asked] == 7
            assert found["headway_in_flight", ""] == 6
            assert found["headway_workers", ""] == 2

    within(main())


def test_figures_that_are_late_are_no_page_as_a_counter_would_fall(monkeypatch):
    """Four times they may be late, then it says so; a retry that finds them answers as ever."""
    late = [0]

    async def states(self) -> list[WorkerState]:
        late[0] -= 1
        return [self._own(), WorkerState(pid=2, state={}, late=late[0] >= 0)]

    monkeypatch.setattr("headway.gateway.peers.Alone.states", states)

    async def main() -> None:
        async with gateway(FakeProvider([200])) as url, httpx.AsyncClient() as client:
            for times, status in ((3, 200), (99, 503)):
                late[0] = times
                answer = await client.get(f"{url}/metrics")
                assert answer.status_code == status
            assert answer.json()["error"]["code"] == "overloaded"

    within(main())


@pytest.mark.parametrize("version", ["x", "2.x", "", "1..0", "9.9.9", "1.0.0 ;q=0.5"])
def test_a_version_that_is_none_is_answered_with_what_there_is(version):
    for kind in ("application/openmetrics-text", "text/plain"):
        body, told = asyncio.run(_page(Meters().state(), f"{kind}; version={version},*/*;q=0.1"))
        assert told.startswith(kind)
        assert body.endswith(b"# EOF\n") == (kind != "text/plain")


def test_a_page_that_is_written_in_pieces_is_the_same_page():
    """As the library would write it at once, in both formats."""
    meters, registry = Meters(), CollectorRegistry()
    for n in range(35):
        meters.finished(call(model=f"m{n}"))
    registry.register(meters.collector())
    state = merged((meters.state(), gauges(())))
    for accept, encode in (("", generate_latest), (OPEN, open_latest)):
        body, _ = asyncio.run(_page(state, accept))
        whole = encode(registry).decode()
        own = [line for line in body.decode().splitlines() if "process_" not in line]
        assert own == whole.splitlines()


def test_large_pages_are_compressed_and_others_get_their_turn_meanwhile():
    async def main() -> None:
        async with gateway(FakeProvider([200])) as url, httpx.AsyncClient() as client:
            await ask(client, url)
            pages, answers = await asyncio.gather(
                asyncio.gather(*[client.get(f"{url}/metrics") for _ in range(4)]),
                asyncio.gather(*[client.get(f"{url}/healthz") for _ in range(4)]),
            )
            assert all(page.headers["content-encoding"] == "gzip" for page in pages)
            assert all(answer.text == "ok\n" for answer in answers)
            plain = await client.get(f"{url}/metrics", headers={"accept-encoding": "identity"})
            assert "content-encoding" not in plain.headers

    within(main())


def test_without_the_library_it_says_what_to_install(monkeypatch):
    monkeypatch.delitem(sys.modules, "headway.telemetry.collector", raising=False)
    for name in [name for name in sys.modules if name.startswith("prometheus_client")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "prometheus_client", None)

    async def main() -> None:
        async with gateway(FakeProvider([200])) as url, httpx.AsyncClient() as client:
            answer = await client.get(f"{url}/metrics")
            assert answer.status_code == 501
            assert "pip install 'headway[prometheus]'" in answer.json()["error"]["message"]

    within(main())

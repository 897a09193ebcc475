"""Prometheus itself (Debian's package): it reads the rules, scrapes a gateway, and finds the series in it."""

from __future__ import annotations

import asyncio
import json
import re
import shutil
import socket
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from headway.gateway.keys import KeyStore
from headway.policy.keys import Key
from headway.telemetry.families import FAMILIES, GAUGES
from headway.testing import FakeProvider
from tests.gateway.helpers import gateway, within

from .made import ask

HERE = Path(__file__).parent
DEPLOY = HERE.parents[1] / "deploy"
RULES = DEPLOY / "prometheus" / "alerts.yml"
BOARD = DEPLOY / "grafana" / "headway.json"
INSTALLED = shutil.which("prometheus") and shutil.which("promtool")
needed = pytest.mark.skipif(not INSTALLED, reason="prometheus is not installed (Debian: apt-get install prometheus)")
_NAME = re.compile(r"\b(?:headway|process)_[a-z_0-9]+\b")
_PARTS = re.compile(r"_(bucket|sum|count)$")


def promtool(*arguments: str, cwd: Path | None = None) -> str:
    done = subprocess.run(["promtool", *arguments], capture_output=True, text=True, cwd=cwd, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@needed
def test_promtool_reads_the_rules_and_the_configuration(tmp_path):
    assert "SUCCESS" in promtool("check", "rules", "--lint=all", "--lint-fatal", str(RULES))
    config = yaml.safe_load((DEPLOY / "prometheus" / "prometheus.yml").read_text())
    (tmp_path / "key").write_text("hw-1")
    config["scrape_configs"][0]["authorization"]["credentials_file"] = "key"
    (tmp_path / "prometheus.yml").write_text(yaml.safe_dump(config))
    shutil.copy(RULES, tmp_path)
    assert "SUCCESS" in promtool("check", "config", "prometheus.yml", cwd=tmp_path)


@needed
def test_every_alert_fires_when_it_should_and_not_before(tmp_path):
    shutil.copy(RULES, tmp_path)
    for name in ("alerts_test.yml", "alerts_step_test.yml"):
        shutil.copy(HERE / name, tmp_path)
    assert "FAILED" not in promtool("test", "rules", "alerts_test.yml", "alerts_step_test.yml", cwd=tmp_path)
    tested = "".join((HERE / name).read_text() for name in ("alerts_test.yml", "alerts_step_test.yml"))
    alerts = {rule["alert"] for rule in rules() if "alert" in rule}
    assert {name for name in alerts if name not in tested} == {"HeadwayUnpriced"}


def rules() -> list[dict[str, Any]]:
    groups = yaml.safe_load(RULES.read_text())["groups"]
    return [rule for group in groups for rule in group["rules"]]


def queries(board: dict[str, Any]) -> list[str]:
    found = [target["expr"] for panel in board["panels"] for target in panel.get("targets", [])]
    return found + [variable["query"]["query"] for variable in board["templating"]["list"][1:]]


def test_rules_and_dashboard_name_metrics_that_there_are_and_labels_that_they_have():
    """Against the families that `/metrics` lists; `test_metrics_page` holds the page to that list."""
    families = {family.name: family for family in (*FAMILIES, *GAUGES)}
    board = json.loads(BOARD.read_text())
    for query in [rule["expr"] for rule in rules()] + queries(board):
        for name in _NAME.findall(query):
            base = name if name in families else _PARTS.sub("", name)
            assert base in families, (name, query)
            assert (families[base].kind == "histogram") == (name != base), (name, query)
        for name, labels in re.findall(r"(\w+)\{([^}]*)\}", query):
            family = families.get(name) or families.get(_PARTS.sub("", name))
            if family is not None:
                used = set(re.findall(r"(\w+)\s*(?:=~|!~|!=|=)", labels)) - {"job"}
                assert used <= set(family.labels), (used, query)
    used = {_PARTS.sub("", name) for query in queries(board) for name in _NAME.findall(query)}
    unshown = {"headway_key_requests_total", "headway_key_dollars_total"}
    assert {name for name in families if name not in used} == unshown


def test_the_dashboard_can_be_imported_anywhere():
    """Every panel takes the data source that is chosen; places do not overlap; ids are unique."""
    board = json.loads(BOARD.read_text())
    assert board["templating"]["list"][0]["type"] == "datasource"
    ids = [panel["id"] for panel in board["panels"]]
    assert len(set(ids)) == len(ids)
    taken: set[tuple[int, int]] = set()
    for panel in board["panels"]:
        place = panel["gridPos"]
        cells = {(place["x"] + x, place["y"] + y) for x in range(place["w"]) for y in range(place["h"])}
        assert not cells & taken, panel["title"]
        assert place["x"] + place["w"] <= 24
        taken |= cells
        if panel["type"] != "row":
            assert panel["datasource"]["uid"] == "${datasource}"
            assert panel["targets"]
            assert all(target["datasource"]["uid"] == "${datasource}" for target in panel["targets"])
    assert "job=" in board["panels"][1]["targets"][0]["expr"]


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


@asynccontextmanager
async def prometheus(place: Path, target: str, key: str) -> AsyncIterator[httpx.AsyncClient]:
    """The server with the configuration of deploy/, a second between scrapes; gives a client of its API."""
    config = yaml.safe_load((DEPLOY / "prometheus" / "prometheus.yml").read_text())
    config["global"] = {"scrape_interval": "250ms", "evaluation_interval": "250ms"}
    config["scrape_configs"][0]["static_configs"][0]["targets"] = [target]
    config["scrape_configs"][0]["authorization"]["credentials_file"] = "headway.key"
    (place / "headway.key").write_text(key)
    (place / "prometheus.yml").write_text(yaml.safe_dump(config))
    shutil.copy(RULES, place)
    port = free_port()
    child = await asyncio.create_subprocess_exec(
        "prometheus", "--config.file=prometheus.yml", "--storage.tsdb.path=data", "--log.level=error",
        f"--web.listen-address=127.0.0.1:{port}", cwd=place,
    )  # fmt: skip
    try:
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}/api/v1") as client:
            yield client
    finally:
        child.terminate()
        await child.wait()


async def found(api: httpx.AsyncClient, query: str) -> dict[str, float]:
    """A query's answer once it has one: label values to value."""
    while True:
        try:
            answer = (await api.get("/query", params={"query": query})).json()
        except (httpx.TransportError, json.JSONDecodeError):
            answer = {}  # it is not up yet
        assert answer.get("status") != "error", answer
        if lines := answer.get("data", {}).get("result"):
            return {
                ",".join(
                    v for k, v in sorted(line["metric"].items()) if k not in ("__name__", "instance", "job")
                ): float(line["value"][1])
                for line in lines
            }
        await asyncio.sleep(0.1)


@needed
def test_a_real_prometheus_scrapes_a_gateway_with_its_own_key(tmp_path):
    """Calls that were made are series there; another scrape sees more; all rules can be evaluated."""

    async def main() -> None:
        keys = tmp_path / "keys"
        with KeyStore(keys) as store:
            admin = store.create(Key(id="", name="prometheus", admin=True))[1].reveal()
            app = store.create(Key(id="", name="app"))[1].reveal()
        as_app = {"authorization": f"Bearer {app}"}
        async with (
            gateway(FakeProvider([200]), keys=str(keys)) as url,
            httpx.AsyncClient() as client,
        ):
            for _ in range(3):
                assert (await ask(client, url, headers=as_app)).status_code == 200
            async with prometheus(tmp_path, url.removeprefix("http://"), admin) as api:
                ok = 'headway_requests_total{outcome="ok"}'
                assert await found(api, ok) == {"gpt-5.4-mini,ok,/v1/chat/completions,2xx": 3}
                assert await found(api, 'up{job="headway"}') == {"": 1}
                p95 = "histogram_quantile(0.95, sum by (le) (headway_request_duration_seconds_bucket))"
                assert 0 < (await found(api, p95))[""] < 30
                assert await found(api, "count(headway_in_flight)") == {"": 1}
                await ask(client, url, headers=as_app)
                assert (await found(api, f"{ok} > 3"))["gpt-5.4-mini,ok,/v1/chat/completions,2xx"] == 4
                groups = (await api.get("/rules")).json()["data"]["groups"]
                assert {rule["health"] for group in groups for rule in group["rules"]} <= {"ok", "unknown"}
                for query in queries(json.loads(BOARD.read_text()))[:-2]:
                    expression = query.replace("$__rate_interval", "1m").replace("$job", ".*").replace("$model", ".*")
                    answer = (await api.get("/query", params={"query": expression})).json()
                    assert answer["status"] == "success", (query, answer)
                metadata = (await api.get("/targets/metadata", params={"metric": "headway_wait_seconds"})).json()
                assert metadata["data"][0]["type"] == "histogram"

    within(main())

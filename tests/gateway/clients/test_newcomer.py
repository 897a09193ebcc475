"""What a newcomer does with docs/gateway.md: the simulator, the gateway, a program, and a look at what it did."""

from __future__ import annotations

import contextlib
import json
import re
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator

import pytest

from tests.environments import ROOT, node_version
from tests.gateway.clients.conftest import CODE, PATIENCE_S, node, plain_env, served

pytestmark = pytest.mark.skipif(node_version() < (20,), reason="there is no Node.js of 20 or newer with npm")
SAMPLES = re.findall(r"^```js\n(.*?)^```$", (ROOT / "docs" / "gateway.md").read_text("utf-8"), re.DOTALL | re.MULTILINE)


@contextlib.contextmanager
def simulated() -> Iterator[str]:
    """`headway sim`, the command; gives its base URL."""
    child = subprocess.Popen(
        [sys.executable, "-c", CODE, "sim", "--port", "0", "--latency-scale", "0.02"],
        env=plain_env(), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
    )  # fmt: skip
    assert child.stdout is not None
    try:
        yield next(found[1] for line in child.stdout if (found := re.search(r"OPENAI_BASE_URL=(\S+)", line)))
    finally:
        child.kill()
        child.wait()
        child.stdout.close()


@pytest.fixture(scope="module")
def gateway(tmp_path_factory) -> Iterator[str]:
    """`headway serve` in front of `headway sim`, without keys, as on the first day."""
    state = str(tmp_path_factory.mktemp("newcomer"))
    with simulated() as base, served("--base-url", base, OPENAI_API_KEY="sim", HEADWAY_HOME=state) as url:
        yield url


def calls(url: str, count: int) -> list[dict]:
    """The last calls as the page has them, as soon as there are so many."""
    until_s, found = time.monotonic() + PATIENCE_S, []
    while len(found) < count and time.monotonic() < until_s:
        with urllib.request.urlopen(f"{url}/api/calls", timeout=PATIENCE_S) as answer:
            found = json.loads(answer.read())["calls"]
        time.sleep(0.05)
    return found


@pytest.mark.parametrize("nth", range(len(SAMPLES)))
def test_the_page_s_program_without_a_library(nth, gateway, packages, tmp_path):
    """It runs as it stands, and prints an answer and what that cost."""
    program = tmp_path / "from"
    program.mkdir()
    (program / "hello.mjs").write_text(SAMPLES[nth].replace("http://127.0.0.1:8080", gateway))
    said = node(packages, tmp_path, program / "hello.mjs", env=plain_env())
    assert re.search(r"^\S.+\n0\.\d+ dollars, 1 attempt$", said.strip(), re.MULTILINE)


def test_the_openai_package_and_its_calls_on_the_page(gateway, packages, tmp_path):
    """The example answers and streams; both calls are in the list, with what they took and what they cost."""
    env = plain_env(OPENAI_BASE_URL=f"{gateway}/v1", OPENAI_API_KEY="any")
    before = len(calls(gateway, 0))
    said = node(packages, tmp_path, ROOT / "examples" / "node" / "hello.mjs", env=env).splitlines()
    assert len(said) == 3
    assert said[1].endswith(" dollars, 1 attempt")
    assert len(said[2].split()) == 20
    streamed, whole = calls(gateway, before + 2)[:2]
    assert (whole["route"], whole["status"], whole["stream"]) == ("/v1/chat/completions", 200, False)
    assert (streamed["route"], streamed["model"], streamed["stream"]) == ("/v1/responses", "gpt-5.4-mini", True)
    assert whole["dollars"] == pytest.approx(float(said[1].split()[0]))
    assert streamed["output_tokens"] > 15
    browser = urllib.request.Request(f"{gateway}/", headers={"accept": "text/html"})
    with urllib.request.urlopen(browser, timeout=PATIENCE_S) as page:
        assert page.headers["content-type"].startswith("text/html")

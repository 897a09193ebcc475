"""langchain-openai, `llm` with a base URL of its own, and curl in the ways that it has of asking."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.environments import ROOT, or_skip, python_with

HERE = Path(__file__).parent
BODY = {"model": "gpt-4o", "messages": [{"role": "user", "content": "Write 12 words about tides."}]}


def ran(*command: str | Path, env: dict[str, str]) -> str:
    """Run a program that has to succeed; what it prints."""
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout[-4_000:] + done.stderr[-4_000:]
    return done.stdout


def test_langchain_openai(house):
    """invoke, stream, batch, the Responses API, async, embeddings, and a refusal."""
    constraints = ROOT / "tests" / "integration" / "constraints-langchain-openai.txt"
    python = or_skip(lambda: python_with("langchain-openai", "langchain-openai", constraints))
    ran(python, HERE / "langchain_calls.py", env=house.env(LANGSMITH_TRACING="false"))


def test_llm_with_a_base_url_of_its_own(house, tmp_path):
    """The command line tool, told by its own file of models: streamed, whole, by the Responses API, and refused."""
    python = or_skip(lambda: python_with("llm", "llm", HERE / "constraints-llm.txt"))
    models = [
        {"model_id": name, "model_name": model, "api_base": f"{house.url}/v1", "api_key_name": "headway"} | more
        for name, model, more in (
            ("chat", "gpt-4o", {}),
            ("responses", "gpt-4o", {"responses": True}),
            ("none", "unheard-of", {}),
        )
    ]
    (tmp_path / "extra-openai-models.yaml").write_text(json.dumps(models))  # JSON is YAML
    (tmp_path / "keys.json").write_text(json.dumps({"headway": house.keys["app"]}))
    ran(python, HERE / "llm_calls.py", env=house.env(LLM_USER_PATH=str(tmp_path)))


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
def test_curl_in_its_many_ways(house, tmp_path):
    """HTTP/1.0, an offer to compress or to speak HTTP/2, a body that waits to be asked for, one address twice."""
    chat = f"{house.url}/v1/chat/completions"
    own = ["-H", f"authorization: Bearer {house.keys['app']}"]
    sent = [*own, "-H", "content-type: application/json"]

    def curl(*arguments: str) -> str:
        asked = ["curl", "-sS", "--max-time", "20", *arguments]
        done = subprocess.run(asked, env=house.env(), capture_output=True, check=True)
        return done.stdout.decode().replace("\r\n", "\n")

    whole = json.loads(curl(chat, *sent, "-d", json.dumps(BODY)))["choices"][0]["message"]["content"]
    stream = json.dumps(BODY | {"stream": True})
    for options in ([], ["--http1.0"], ["--http2"], ["--compressed"], ["--raw"]):
        said = curl("-N", "-i", *options, chat, *sent, "-d", stream)
        head, _, events = said.rpartition("\n\ndata: {")[0].partition("\n\n")
        assert head.startswith("HTTP/1.1 200 OK"), options
        assert "content-type: text/event-stream" in head
        assert ("transfer-encoding: chunked" in head) == (options != ["--http1.0"])
        assert said.count("data: [DONE]") == 1
        assert events.startswith("data: " if options != ["--raw"] else tuple("0123456789abcdef"))
    for options in (["--http1.0"], ["--http2"], ["--compressed"], ["-H", "expect: 100-continue"]):
        said = curl("-i", *options, chat, *sent, "-d", json.dumps(BODY))
        assert ("HTTP/1.1 100 Continue" in said) == ("expect: 100-continue" in options)
        assert json.loads(said[said.index("{") :])["choices"][0]["message"]["content"] == whole
    large = tmp_path / "large.json"
    large.write_text(json.dumps(BODY | {"user": "u" * 3_000_000}))
    assert '"choices"' in curl(chat, *sent, "-d", f"@{large}")  # more than 1 MiB: curl asks first by itself
    assert '"choices"' in curl(chat, *sent, "-H", "transfer-encoding: chunked", "-d", f"@{large}")
    said = curl(chat, *sent, "-d", json.dumps(BODY), "-w", "\n%{num_connects}\n", "--next", "-sS",
                f"{house.url}/v1/models", *own, "-o", str(tmp_path / "models"), "-w", "%{num_connects}")  # fmt: skip
    assert said.endswith("\n1\n0")
    assert json.loads((tmp_path / "models").read_text())["object"] == "list"
    assert '"not_found"' in curl("--path-as-is", f"{house.url}/v1/../v1/models", *own)
    assert '"error"' in curl("-X", "POST", chat, *sent)
    assert "HTTP/1.1 401" in curl("-I", f"{house.url}/v1/models")
    with pytest.raises(subprocess.CalledProcessError):  # at once, not after its patience
        curl("--http2-prior-knowledge", "--max-time", "5", chat, *sent, "-d", stream)
    assert "ok" in curl(f"{house.url}/healthz")

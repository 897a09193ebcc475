"""Who stands beside Headway: each a process of its own in front of the same provider. What is not here says so.

nginx and `wrk` are Debian's (`apt-get install nginx-light wrk`). Portkey's gateway comes from npm and litellm's proxy
from PyPI, each into an environment of its own under `.venvs/`, at exact versions, built on first use; they are run in a
directory of the moment. "aiohttp" is what one writes in an afternoon: uvicorn and aiohttp, and nothing else.
"""

from __future__ import annotations

import compileall
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import headway as package

sys.path.insert(0, str(Path(__file__).parents[1]))

from compare.environments import NoRegistry, environment, node_modules, version

__all__ = ["OTHERS", "NotHere", "Peer", "cpu_s", "headway", "rss_mb", "started"]

HERE = Path(__file__).parent
READY_S = 60.0


class NotHere(Exception):
    """It cannot be run here; the message says why."""


@dataclass
class Peer:
    """A gateway that runs."""

    name: str
    port: int
    pid: int
    ready_s: float
    headers: dict[str, str] = field(default_factory=dict)
    version: str = ""

    @property
    def raw(self) -> bytes:
        """Its headers as they are sent."""
        return "".join(f"{name}: {value}\r\n" for name, value in self.headers.items()).encode()

    @property
    def piped(self) -> str:
        """The same for `ask.lua`."""
        return "|".join(f"{name}: {value}" for name, value in self.headers.items())


def family(pid: int) -> list[int]:
    """A process and all below it."""
    found = [pid]
    for one in found:
        for path in Path(f"/proc/{one}/task").glob("*/children"):
            found.extend(int(child) for child in path.read_text().split())
    return found


def rss_mb(pid: int) -> float:
    """What a process and those below it hold, shared pages counted once a process."""
    pages = sum(int(Path(f"/proc/{one}/statm").read_text().split()[1]) for one in family(pid))
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def cpu_s(pid: int) -> float:
    """CPU seconds of a process and those below it."""
    ticks = 0
    for one in family(pid):
        fields = Path(f"/proc/{one}/stat").read_text().rpartition(")")[2].split()
        ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


def answers(port: int, headers: dict[str, str]) -> bool:
    """Whether a call gets through it."""
    body = b'{"model":"gpt-5.4-mini","messages":[{"role":"user","content":"ready?"}]}'
    more = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    head = (
        f"POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n{more}"
        f"authorization: Bearer sk-bench\r\nconnection: close\r\ncontent-length: {len(body)}\r\n\r\n"
    )
    try:
        with socket.create_connection(("127.0.0.1", port), 5) as client:
            client.sendall(head.encode() + body)
            return b" 200 " in client.recv(64)
    except OSError:
        return False


@contextmanager
def running(
    name: str,
    command: list[str],
    port: int,
    cwd: str,
    *,
    headers: dict[str, str] | None = None,
    version: str = "",
    **env: str,
) -> Iterator[Peer]:
    """A process, once a call gets through it."""
    start_s = time.perf_counter()
    with (Path(cwd) / f"{name.replace(' ', '-')}.log").open("w") as said:
        kept = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
        child = subprocess.Popen(command, cwd=cwd, env=kept | env, stdout=said, stderr=said)
        try:
            while not answers(port, headers or {}):
                if child.poll() is not None or time.perf_counter() - start_s > READY_S:
                    raise NotHere(f"{name} does not answer: {Path(said.name).read_text()[-300:]!r}")
                time.sleep(0.01)
            yield Peer(name, port, child.pid, time.perf_counter() - start_s, headers or {}, version)
        finally:
            child.terminate()
            try:
                child.wait(10)
            except subprocess.TimeoutExpired:
                child.kill()
                child.wait()


@contextmanager
def headway(upstream: int, cwd: str, name: str = "headway", *options: str, key: str = "") -> Iterator[Peer]:
    """`headway serve`; with keys, `key` is a usable one. Compiled before, as an installer leaves it."""
    compileall.compile_dir(Path(package.__file__).parent, quiet=2)
    port = free_port()
    command = [sys.executable, "-c", "from headway.cli import main; main()", "serve", "--port", str(port)]
    command += ["--base-url", f"http://127.0.0.1:{upstream}/v1", *options]
    state = {"OPENAI_API_KEY": "sk-bench", "HEADWAY_HOME": str(Path(cwd) / name.replace(" ", "-"))}
    with running(name, command, port, cwd, headers={"x-api-key": key} if key else None, **state) as peer:
        yield peer


NGINX = """
daemon off; worker_processes {workers}; pid {cwd}/{port}.pid; error_log stderr crit;
events {{ worker_connections 8192; }}
http {{
  access_log off; client_body_temp_path {cwd}/b; proxy_temp_path {cwd}/p; fastcgi_temp_path {cwd}/f;
  uwsgi_temp_path {cwd}/u; scgi_temp_path {cwd}/s; keepalive_requests 1000000000; client_body_buffer_size 64k;
  {inner}
}}
"""
PROXY = """
  upstream provider {{ server 127.0.0.1:{upstream}; keepalive 4096; keepalive_requests 1000000000; }}
  server {{ listen 127.0.0.1:{port} reuseport; location / {{ proxy_pass http://provider; proxy_http_version 1.1;
    proxy_set_header Connection ""; proxy_buffering off; }} }}
"""
STATIC = """
  server {{ listen 127.0.0.1:{port} reuseport; location / {{ default_type application/json;
    add_header x-ratelimit-limit-requests 30000000; add_header x-ratelimit-remaining-requests 29999000;
    add_header x-ratelimit-reset-requests 2ms; add_header openai-processing-ms 1;
    add_header x-request-id req_0123456789; return 200 '{answer}'; }} }}
"""


@contextmanager
def nginx(upstream: int, cwd: str, name: str = "nginx", workers: int = 1, answer: str = "") -> Iterator[Peer]:
    """Nginx as a proxy with kept connections; with an `answer`, as the provider."""
    found = shutil.which("nginx", path=f"{os.environ['PATH']}:/usr/sbin")
    if found is None:
        raise NotHere("nginx is not installed (apt-get install nginx-light)")
    port = free_port()
    inner = (STATIC if answer else PROXY).format(port=port, upstream=upstream, answer=answer)
    conf = Path(cwd) / f"nginx-{port}.conf"
    conf.write_text(NGINX.format(workers=workers, cwd=cwd, port=port, inner=inner))
    said = subprocess.run([found, "-v"], capture_output=True, text=True, check=False).stderr.strip().rpartition("/")[2]
    with running(name, [found, "-p", cwd, "-c", str(conf)], port, cwd, version=said) as peer:
        yield peer


@contextmanager
def portkey(upstream: int, cwd: str) -> Iterator[Peer]:
    """Portkey's gateway on Node.js."""
    if shutil.which("node") is None or shutil.which("npm") is None:
        raise NotHere("Portkey's gateway needs node and npm")
    modules, port = node_modules("portkey"), free_port()
    told = json.loads((modules / "@portkey-ai" / "gateway" / "package.json").read_text("utf-8"))["version"]
    command = ["node", str(modules / "@portkey-ai/gateway/build/start-server.js"), "--headless", f"--port={port}"]
    where = {"x-portkey-provider": "openai", "x-portkey-custom-host": f"http://127.0.0.1:{upstream}/v1"}
    env = {"NODE_ENV": "production", "TRUSTED_CUSTOM_HOSTS": "127.0.0.1,localhost"}
    with running("Portkey", command, port, cwd, headers=where, version=told, **env) as peer:
        yield peer


@contextmanager
def litellm(upstream: int, cwd: str) -> Iterator[Peer]:
    """Litellm's proxy, one worker, no database."""
    python, port = environment("litellm-proxy"), free_port()
    config = Path(cwd) / "litellm.yaml"
    params = {"model": "openai/gpt-5.4-mini", "api_base": f"http://127.0.0.1:{upstream}/v1", "api_key": "sk-bench"}
    config.write_text(
        json.dumps({
            "model_list": [{"model_name": "gpt-5.4-mini", "litellm_params": params}],
            "litellm_settings": {"telemetry": False},
        })
    )  # fmt: skip  # JSON is YAML
    start = "from litellm.proxy.proxy_cli import run_server; run_server()"
    command = [str(python), "-c", start, "--config", str(config), "--port", str(port), "--host", "127.0.0.1"]
    quiet = {
        "LITELLM_LOG": "ERROR",
        "LITELLM_LOCAL_MODEL_COST_MAP": "True",
        "LITELLM_MODE": "PRODUCTION",
        "LITELLM_DANGEROUSLY_PERMIT_WEAK_OR_UNSET_MASTER_KEY": "true",  # nobody is asked for a key, as in the others
    }
    with running(
        "litellm", [*command, "--num_workers", "1"], port, cwd, version=version("litellm-proxy"), **quiet
    ) as peer:
        yield peer


@contextmanager
def aiohttp(upstream: int, cwd: str) -> Iterator[Peer]:
    """Uvicorn and aiohttp, in the environment of litellm's proxy, which has both."""
    python, port = environment("litellm-proxy"), free_port()
    command = [str(python), str(HERE / "plain_proxy.py"), str(port), f"http://127.0.0.1:{upstream}"]
    with running("aiohttp", command, port, cwd) as peer:
        yield peer


OTHERS: dict[str, Callable[[int, str], contextmanager[Peer]]] = {  # type: ignore[valid-type]
    "nginx": nginx, "aiohttp": aiohttp, "portkey": portkey, "litellm": litellm,
}  # fmt: skip


@contextmanager
def started(upstream: int, names: list[str]) -> Iterator[dict[str, Peer]]:
    """Those that can be run here, with Headway's two; for the others a sentence on stderr."""
    with ExitStack() as stack:
        cwd = stack.enter_context(tempfile.TemporaryDirectory(prefix="headway-bench-"))
        peers: dict[str, Peer] = {}
        for name in names:
            try:
                peers[name] = stack.enter_context(OTHERS[name](upstream, cwd))
            except (NotHere, NoRegistry) as why:
                print(f"{name} is left out: {why}", file=sys.stderr)
        yield peers

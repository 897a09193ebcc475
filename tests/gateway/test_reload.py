"""SIGHUP: another configuration takes the place of the one in service, and nobody who asks notices."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from headway.errors import ConfigError
from headway.gateway.environment import EnvFile, read_env
from headway.sim import SimSettings
from headway.sim.server import serving

CODE = "import sys; sys.argv[0] = 'headway'; from headway.cli import main; main()"


class Gateway:
    """`headway serve` in a process of its own."""

    def __init__(self, folder: Path, *options: str, code: str = CODE, **env: str) -> None:
        self.folder = folder
        self.config = folder / "headway.toml"
        self.log = folder / "stderr"
        with self.log.open("wb") as log:
            self.child = subprocess.Popen(
                [sys.executable, "-c", code, "serve", "--port", "0", "--config", str(self.config), *options],
                env=os.environ | {"OPENAI_API_KEY": "sim", "HEADWAY_HOME": str(folder)} | env,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )
        assert self.child.stdout is not None
        line = self.child.stdout.readline()
        assert line.startswith("Headway serves"), self.log.read_text()
        self.url = line.split()[2].removesuffix("/v1;")
        self.port = int(self.url.rpartition(":")[2])

    def reload(self, toml: str | None = None) -> str:
        """Change the file, say so, and wait for what comes of it: the newest sentence about it."""
        before = len(self.said())
        if toml is not None:
            self.config.write_text(toml)
        self.child.send_signal(signal.SIGHUP)
        until_s = time.monotonic() + 20
        while len(self.said()) == before and time.monotonic() < until_s:
            time.sleep(0.02)
        return self.said()[-1]

    def said(self) -> list[str]:
        return [line for line in self.log.read_text().splitlines() if "configuration" in line]


@contextmanager
def gateway(folder: Path, toml: str, *options: str, code: str = CODE, **env: str) -> Iterator[Gateway]:
    (folder / "headway.toml").write_text(toml)
    made = Gateway(folder, *options, code=code, **env)
    try:
        yield made
        made.child.send_signal(signal.SIGTERM)
        assert made.child.wait(30) == 0
    finally:
        made.child.kill()
        made.child.wait()
        made.child.stdout.close()


async def ask(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, text: str, *, stream: bool = False, headers: str = ""
) -> tuple[int, bytes]:
    """One request on a kept connection: the status and the body; a broken answer raises."""
    body = json.dumps(
        {"model": "gpt-5.4-mini", "stream": stream, "messages": [{"role": "user", "content": text}], "max_tokens": 16}
    ).encode()
    writer.write(
        b"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\n%bContent-Length: %d\r\n\r\n%b"
        % (headers.encode(), len(body), body)
    )
    head = (await reader.readuntil(b"\r\n\r\n")).lower()
    status = int(head.split()[1])
    if b"transfer-encoding: chunked" in head:
        whole = b""
        while size := int(await reader.readuntil(b"\r\n"), 16):
            whole += (await reader.readexactly(size + 2))[:-2]
        await reader.readexactly(2)
        return status, whole
    length = int(head.partition(b"content-length:")[2].split(b"\r\n")[0])
    return status, await reader.readexactly(length)


async def pressed(made: Gateway, turns: int) -> list[tuple[int, bool]]:
    """Clients that ask one thing after the other, every second one for streams, while it is reloaded again and again."""
    found: list[tuple[int, bool]] = []
    over = asyncio.Event()

    async def client(number: int) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", made.port)
        turn, stream = 0, number % 2 == 1
        try:
            while not over.is_set():
                turn += 1
                status, body = await ask(reader, writer, f"Question {number} {turn}", stream=stream)
                found.append((status, body.rstrip().endswith(b"data: [DONE]" if stream else b"}")))
        finally:
            writer.close()

    clients = [asyncio.ensure_future(client(number)) for number in range(8)]
    for turn in range(turns):
        made.config.write_text(f"timeout_s = {100 + turn}\nidle_timeout_s = {50 + turn // 5}\n")
        made.child.send_signal(signal.SIGHUP)
        await asyncio.sleep(0.05)
    over.set()
    await asyncio.gather(*clients)
    return found


def test_fifty_reloads_under_load_drop_nothing(tmp_path):
    """Requests and streams, on connections that are kept: every one is answered whole."""
    with serving(SimSettings(latency_scale=0.15)) as base, gateway(tmp_path, "", "--cache", "--base-url", base) as made:
        found = asyncio.run(pressed(made, 50))
        descriptors = len(list(Path(f"/proc/{made.child.pid}/fd").iterdir()))
        assert made.reload("timeout_s = 999\n").find("read anew: timeout_s") > 0
    assert len(found) >= 16  # at least one of each client while it was reloaded, and one after
    assert set(found) == {(200, True)}
    assert descriptors < 120  # 8 clients, and what stands in their way; not 50 engines


def test_a_wrong_file_changes_nothing_and_is_told_with_its_line(tmp_path):
    """And what did not change is told, too."""
    with gateway(tmp_path, "timeout_s = 60\n", "--base-url", "http://127.0.0.1:9/v1") as made:
        assert f"{made.config}, line 2: timeout_s must be" in made.reload('\ntimeout_s = "soon"\n')
        assert "stays" in made.said()[-1]
        assert "as it was" in made.reload("timeout_s = 60\n")
        assert "read anew: timeout_s, attempts_max" in made.reload("timeout_s = 61\nattempts_max = 1\n")


def test_a_hangup_while_it_is_still_starting_is_a_reload(tmp_path):
    """Its first imports take a while; systemd and scripts do not wait for them."""
    early = (
        "import os, signal, sys\n"
        "class Hook:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name == 'typer': os.kill(os.getpid(), signal.SIGHUP)\n"
        "sys.meta_path.insert(0, Hook())\n"
    )
    with gateway(tmp_path, "", "--base-url", "http://127.0.0.1:9/v1", code=early + CODE) as made:
        until_s = time.monotonic() + 20
        while not made.said() and time.monotonic() < until_s:
            time.sleep(0.02)
        assert "as it was" in made.said()[0]


def test_a_provider_s_key_is_replaced_without_a_restart(tmp_path):
    """The file of variables is read anew with the configuration; the simulator knows its clients by their keys."""
    env = tmp_path / "provider.env"
    env.write_text("# the provider's\nOPENAI_API_KEY='first'\n")
    with (
        serving(SimSettings(latency_scale=0.0)) as base,
        gateway(tmp_path, "", "--base-url", base, "--env-file", str(env)) as made,
    ):

        async def one(text: str) -> int:
            reader, writer = await asyncio.open_connection("127.0.0.1", made.port)
            status, _ = await ask(reader, writer, text)
            writer.close()
            return status

        assert asyncio.run(one("before")) == 200
        env.write_text("export OPENAI_API_KEY=second\n")
        assert "read anew: api_key" in made.reload()
        assert "second" not in made.log.read_text()
        assert asyncio.run(one("after")) == 200
        env.write_text("what is this\n")
        assert f"{env}, line 1: must be NAME=value" in made.reload()
        assert asyncio.run(one("still")) == 200
        import urllib.request

        with urllib.request.urlopen(base.removesuffix("/v1") + "/sim/ledger") as answer:
            rows = json.loads(answer.read())["rows"]
    keys = [row["credential"] for row in rows]
    assert keys[0] != keys[1] == keys[2]


def test_variables_of_a_file_win_and_are_undone(tmp_path, monkeypatch):
    """What is not in the file any more is what it was at the start."""
    monkeypatch.setenv("A_NAME", "started")
    monkeypatch.delenv("B_NAME", raising=False)
    path = tmp_path / "env"
    path.write_text('A_NAME="one"\nB_NAME=two words # kept as it is\n')
    env = EnvFile(str(path))
    env.load()
    assert (os.environ["A_NAME"], os.environ["B_NAME"]) == ("one", "two words # kept as it is")
    assert env.without()["A_NAME"] == "started"
    assert "B_NAME" not in env.without()
    path.write_text("B_NAME=three\n")
    env.load()
    assert (os.environ["A_NAME"], os.environ["B_NAME"]) == ("started", "three")
    env.put_back({})
    assert os.environ["A_NAME"] == "started"
    assert "B_NAME" not in os.environ
    with pytest.raises(ConfigError, match="cannot be read"):
        read_env(tmp_path / "nowhere")


@pytest.mark.skipif(sys.platform == "win32", reason="no terminals of that kind")
@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_terminal_that_is_gone_ends_it(tmp_path, workers):
    """SIGHUP from somebody is a reload there, too; that of the terminal's end is the end, for all of its processes."""
    import pty

    ours, theirs = pty.openpty()
    child = subprocess.Popen(
        [sys.executable, "-c", f"import os, fcntl, termios; os.setsid(); fcntl.ioctl(0, termios.TIOCSCTTY, 0); {CODE}",
         "serve", "--port", "0", "--base-url", "http://127.0.0.1:9/v1", "--workers", workers],
        env=os.environ | {"OPENAI_API_KEY": "sim", "HEADWAY_HOME": str(tmp_path)},
        stdin=theirs, stdout=theirs, stderr=theirs,
    )  # fmt: skip
    os.close(theirs)
    try:
        heard = b""
        while b"Headway serves" not in heard:
            heard += os.read(ours, 4096)
        child.send_signal(signal.SIGHUP)
        while b"as it was" not in heard:
            heard += os.read(ours, 4096)
        os.close(ours)
        assert child.wait(30) == 0
    finally:
        child.kill()
        child.wait()

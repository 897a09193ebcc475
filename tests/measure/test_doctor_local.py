"""What the doctor finds on this machine and on the way out of it."""

from __future__ import annotations

import asyncio
import shutil
import socket
import ssl
import threading

import pytest
import trustme

from headway.config import load_settings
from headway.engine import Engine
from headway.measure.doctor import local
from headway.measure.doctor.address import Address
from headway.measure.doctor.network import connection
from headway.testing import FakeProvider
from tests.redis_server import redis_server, redis_url

__all__ = ["redis_server", "redis_url"]


def settings_of(**given):
    """Settings that nothing but these decides."""
    return load_settings(given, environ={})


def test_the_state_directory_is_looked_at_and_not_made(tmp_path):
    """It need not be there; what must be writable is where it would be made."""
    home = tmp_path / "a" / "b"
    finding = local.state(settings_of(), {"HEADWAY_HOME": str(home)})
    assert (finding.level, "made when it is needed" in finding.text) == ("ok", True)
    assert not home.parent.exists()
    (tmp_path / "file").write_text("")
    finding = local.state(settings_of(), {"HEADWAY_HOME": str(tmp_path / "file" / "b")})
    assert (finding.level, "HEADWAY_HOME" in finding.remedy) == ("failure", True)


@pytest.mark.parametrize(
    ("free_mib", "cache", "level"),
    [
        (50, "off", "failure"),
        (500, "off", "warning"),
        (2_000, "off", "ok"),
        (2_000, "disk", "warning"),
        (9_000, "disk", "ok"),
    ],
)
def test_room_on_the_disk_is_held_against_what_may_be_written(tmp_path, monkeypatch, free_mib, cache, level):
    """A cache on disk may come to 4 GiB; without one, a gibibyte is plenty."""
    monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(1 << 40, 0, free_mib << 20))
    assert local.state(settings_of(cache=cache), {"HEADWAY_HOME": str(tmp_path)}).level == level


def test_files_are_read_and_weighed(tmp_path):
    """Call log and cache as an engine has written them; those that are something else are told of."""
    env = {"HEADWAY_HOME": str(tmp_path)}
    log, cache = tmp_path / "calls.sqlite", tmp_path / "cache.sqlite"
    settings = settings_of(cache="disk", caches={"faq": {}}, log=str(log), cache_path=str(cache))
    assert "none yet" in local.call_log(settings, env).text
    assert [finding.text.partition(": ")[2] for finding in local.caches(settings, env)] == ["none yet"] * 2

    async def main() -> None:
        async with Engine(
            handler=FakeProvider([200]), cache="disk", log=str(log), cache_path=str(cache), seed=1
        ) as engine:
            await engine.send("/v1/responses", {"model": "gpt-5.4-mini", "input": "Hi"})

    asyncio.run(main())
    assert "MiB" in local.call_log(settings, env).text
    first, named = local.caches(settings, env)
    assert (first.level, "1 answers" in first.text, named.text.endswith("none yet")) == ("ok", True, True)
    log.write_bytes(b"no database" * 100)
    cache.write_bytes(b"no database" * 100)
    assert local.call_log(settings, env).level == "warning"
    assert next(local.caches(settings, env)).level == "warning"


def test_what_is_off_is_off():
    """No file is looked for."""
    assert local.call_log(settings_of(log="off"), {}).text == "off"
    assert [finding.text for finding in local.caches(settings_of(), {})] == ["off"]


def test_redis_answers_or_not(redis_url):
    """Asked only where the cache uses it; told when it is named and not used."""
    good = settings_of(cache="redis", redis_url=redis_url, redis_timeout_s=5.0)
    assert asyncio.run(local.redis(good)).level == "ok"
    gone = asyncio.run(local.redis(settings_of(cache="redis", redis_url="redis://:pw@127.0.0.1:9/0")))
    assert (gone.level, "pw" in gone.text) == ("failure", False)
    assert asyncio.run(local.redis(settings_of())) is None
    assert asyncio.run(local.redis(settings_of(redis_url=redis_url))).level == "warning"


def test_extras_are_read_off_the_package(monkeypatch):
    """One is there where all its packages are, but for those of other machines; those for development are nobody's business."""
    lines = [
        "msgspec>=1",
        "nothing-of-this-name>=1; extra == 'redis'",
        "msgspec; extra == 'serve'",
        "nothing-of-this-name-either; (sys_platform != 'here') and extra == 'serve'",
        "mypy; extra == 'dev'",
    ]
    monkeypatch.setattr(local, "requires", lambda _: lines)
    assert local.extras().text == "installed: serve; not installed: redis (pip install 'headway[redis]')"


def address(url: str) -> Address:
    return Address(name="base_url", base_url=url, key=None, key_env="X")


def reached(url: str):
    """What the connection to an address comes to."""
    return asyncio.run(connection(address(url)))


@pytest.fixture
def listener():
    """A port that accepts, and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server


def test_a_connection_is_taken_apart(listener):
    """DNS and TCP, each timed."""
    found = reached(f"http://127.0.0.1:{listener.getsockname()[1]}/v1")
    assert found.level == "ok"
    assert {"dns_s", "tcp_s"} < set(found.figures)


def test_nobody_there_and_no_such_name(listener):
    """What is wrong is named, with what to look at."""
    port = listener.getsockname()[1]
    listener.close()
    assert "refused" in reached(f"http://127.0.0.1:{port}/v1").text
    assert "name is not known" in reached("https://nowhere.invalid/v1").text


def test_tls_is_timed_and_a_stranger_is_not_trusted(listener, tmp_path, monkeypatch):
    """A certificate that nobody vouches for is a failure with a remedy; one that is vouched for is fine."""
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(context)

    def accept() -> None:
        for _ in range(2):
            connection_, _ = listener.accept()
            try:
                with context.wrap_socket(connection_, server_side=True) as wrapped:
                    wrapped.recv(1)
            except OSError:
                connection_.close()

    thread = threading.Thread(target=accept)
    thread.start()
    url = f"https://localhost:{listener.getsockname()[1]}/v1"
    stranger = reached(url)
    assert (stranger.level, "SSL_CERT_FILE" in stranger.remedy) == ("failure", True)
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
    trusted = reached(url)
    thread.join()
    assert (trusted.level, "tls_s" in trusted.figures) == ("ok", True)


def test_a_proxy_of_the_environment_is_the_way(listener, monkeypatch):
    """It is the proxy that is connected to, and that is said; its password is not."""
    port = listener.getsockname()[1]
    monkeypatch.setenv("HTTPS_PROXY", f"http://me:pw@127.0.0.1:{port}")
    found = reached("https://nowhere.invalid/v1")
    assert found.level == "ok"
    assert f"through the proxy 127.0.0.1:{port}" in found.text
    assert "pw" not in found.text

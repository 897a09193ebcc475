"""Keys at the door: who comes in, how soon changes count, and what is never said."""

from __future__ import annotations

import asyncio
import hmac
import json
import logging
import subprocess
import sys
import traceback

import pytest

from headway.errors import ConfigError
from headway.gateway.keys import Keys, KeyStore
from headway.gateway.keys.text import split
from headway.gateway.request import Refused, Request
from headway.policy.keys import Key
from headway.sim.loop import START_WALL_S
from headway.testing import virtual_run
from headway.types import RequestView
from tests.gateway.keys.keyring import PATH, Provider, bearing, body, made, served

READ = RequestView(format="openai_chat", model="gpt-5")


def request(text: str, target: str = PATH, method: str = "POST") -> Request:
    return Request(method, target, bearing(text), b"{}")


def said(do, *args) -> tuple[int, str]:
    """Status and code of a refusal, (0, "") for none."""
    try:
        do(*args)
    except Refused as refused:
        return refused.status, refused.code
    return 0, ""


def opened(path, test) -> None:
    """Run a test with the keys of a file, on virtual time."""

    async def main() -> None:
        keys = await Keys.open(path)
        try:
            await test(keys)
        finally:
            await keys.aclose()

    virtual_run(main)


def test_a_key_comes_in_and_everything_else_stays_out(tmp_path):
    """Wrong secrets, unknown ids, other texts, none at all."""
    text = made(tmp_path / "k")
    id_, secret = split(text)

    async def test(keys: Keys) -> None:
        assert said(keys.guard, request(text)) == (0, "")
        assert keys.admit(request(text), READ).name == "app"
        for wrong in (f"hw-{id_}-{secret[::-1]}", f"hw-{'0' * 12}-{secret}", "sk-own", "", f"hw-{id_}-", text + "x"):
            assert said(keys.guard, request(wrong)) == (401, "invalid_key")
            assert said(keys.admit, request(wrong), READ) == (401, "invalid_key")
        assert len(keys) == 1

    opened(tmp_path / "k", test)


def test_secrets_are_compared_in_constant_time_known_id_or_not(tmp_path, monkeypatch):
    """By `hmac.compare_digest`, over digests of one length, whether or not there is such a key."""
    text = made(tmp_path / "k")
    id_, _ = split(text)
    compared = []
    real = hmac.compare_digest
    monkeypatch.setattr(hmac, "compare_digest", lambda a, b: (compared.append((len(a), len(b))), real(a, b))[1])

    async def test(keys: Keys) -> None:
        for one in (text, f"hw-{id_}-{'a' * 43}", f"hw-{'f' * 12}-{'a' * 43}"):
            said(keys.guard, request(one))

    opened(tmp_path / "k", test)
    assert compared == [(32, 32)] * 3


def test_paths_and_models_are_the_keys(tmp_path):
    """The path before the body comes, the model when it was read; a query is no part of the path."""
    text = made(tmp_path / "k", models=("gpt-5*",))

    async def test(keys: Keys) -> None:
        assert said(keys.guard, request(text, "/v1/files")) == (403, "path_not_allowed")
        assert said(keys.guard, request(text, f"{PATH}?beta=true")) == (0, "")
        assert said(keys.guard, request(text, "/v1/%2e%2e/files")) == (403, "path_not_allowed")
        assert said(keys.admit, request(text), READ) == (0, "")
        assert said(keys.admit, request(text), RequestView(format="x", model="o3")) == (403, "model_not_allowed")
        assert said(keys.admit, request(text, "/v1/models", "GET"), RequestView()) == (0, "")
        assert said(keys.admit, request(text, "/v1/completions"), RequestView()) == (403, "cost_unknown")
        assert said(keys.admit, request(text, "/v1/messages/count_tokens"), RequestView()) == (0, "")

    opened(tmp_path / "k", test)


def test_changes_count_within_a_second_for_kept_connections_too(tmp_path):
    """Made, revoked, rotated: whatever was noted about a connection's head."""
    text = made(tmp_path / "k")

    async def test(keys: Keys) -> None:
        kept = request(text)
        keys.guard(kept)
        late = made(tmp_path / "k", "late")
        with KeyStore(tmp_path / "k", wall_s=lambda: START_WALL_S) as store:
            newer = store.rotate("app", grace_s=10.0)[1].reveal()
        await asyncio.sleep(1.0)
        assert [said(keys.guard, one) for one in (kept, request(late), request(newer))] == [(0, "")] * 3
        assert keys.admit(kept, READ).allowance is keys.admit(request(newer), READ).allowance, "one key, one purse"
        await asyncio.sleep(9.0)
        assert said(keys.guard, kept) == said(keys.guard, request(text)) == (401, "key_rotated")
        assert said(keys.guard, request(newer)) == (0, "")
        with KeyStore(tmp_path / "k", wall_s=lambda: START_WALL_S + 10.0) as store:
            store.revoke("late")
        await asyncio.sleep(1.0)
        assert said(keys.guard, request(late)) == (401, "key_revoked")

    opened(tmp_path / "k", test)


def test_a_key_expires_by_the_clock(tmp_path):
    """Nothing has to be read again for that, and a child ends with its parent."""
    made(tmp_path / "k", "parent", expires_wall_s=START_WALL_S + 3600.0)
    child = made(tmp_path / "k", "child", parent="parent")

    async def test(keys: Keys) -> None:
        kept = request(child)
        assert said(keys.guard, kept) == (0, "")
        await asyncio.sleep(3601.0)
        assert said(keys.guard, kept) == said(keys.admit, kept, READ) == (401, "key_expired")
        assert len(keys) == 0

    opened(tmp_path / "k", test)


def test_a_file_that_is_taken_away_takes_the_keys_along(tmp_path):
    """Whoever deletes it means it; a new one counts."""
    text = made(tmp_path / "k")

    async def test(keys: Keys) -> None:
        for file in tmp_path.glob("k*"):
            file.unlink()
        await asyncio.sleep(1.0)
        assert said(keys.guard, request(text)) == (401, "invalid_key")
        again = made(tmp_path / "k", "again")
        await asyncio.sleep(1.0)
        assert said(keys.guard, request(again)) == (0, "")

    opened(tmp_path / "k", test)


def test_a_broken_record_is_said_and_the_keys_stay_as_they_were(tmp_path):
    """Until it is mended; then what was missed counts."""
    text, said_ = made(tmp_path / "k"), []

    async def main() -> None:
        keys = await Keys.open(tmp_path / "k", warn=said_.append)
        try:
            with KeyStore(tmp_path / "k", wall_s=lambda: START_WALL_S) as store:
                (good,) = store._connection.execute("SELECT data FROM keys").fetchone()
                store._connection.execute("UPDATE keys SET data = '{'")
                store._connection.execute("UPDATE edits SET count = count + 1")
                await asyncio.sleep(2.0)
                assert said(keys.guard, request(text)) == (0, "")
                store._connection.execute("UPDATE keys SET data = ?", (good,))
                store.revoke("app")
            await asyncio.sleep(1.0)
            assert said(keys.guard, request(text)) == (401, "key_revoked")
        finally:
            await keys.aclose()

    virtual_run(main)
    assert len(said_) == 1
    assert "cannot be read" in said_[0]


def test_operators_are_told_from_others(tmp_path):
    """By the header, or by what was typed in."""
    text, boss = made(tmp_path / "k"), made(tmp_path / "k", "boss", admin=True)

    async def test(keys: Keys) -> None:
        assert keys.admin(bearing(boss)).name == keys.admin_text(boss).name == "boss"
        assert said(keys.admin_text, text) == (403, "not_admin")
        assert said(keys.admin_text, "") == said(keys.admin, ()) == (401, "invalid_key")

    opened(tmp_path / "k", test)


def test_a_call_takes_the_keys_purse_priority_and_answers_along(tmp_path):
    """The log's tenant is the key's id."""
    text = made(tmp_path / "k", priority=1)
    provider = Provider()

    async def main() -> None:
        async with served(tmp_path / "k", provider) as (keys, send):
            await send(text, priority=5)
            (call,) = provider.calls
            admitted = keys.admit(request(text), READ)
            assert (call.priority, call.allowance) == (1, admitted.allowance)
            assert call.trace.tenant == admitted.key.id
            assert call.sample == f"16 key {admitted.key.id} "

    virtual_run(main)


def test_no_key_is_in_a_refusal_a_repr_a_log_or_a_traceback(tmp_path, caplog, capsys):
    """Whatever goes wrong with it."""
    text = made(tmp_path / "k", dollars_per_day=0.00001, requests_per_min=1.0)
    secret = split(text)[1]
    shown: list[object] = []

    async def main() -> None:
        async with served(tmp_path / "k", Provider(), log_level="debug") as (keys, send):
            shown.extend((keys, keys.admit(request(text), READ), keys._known, vars(keys._books)))
            for data in (body(max_tokens=5000), body("mystery"), body(max_tokens=1)):
                for _ in range(2):
                    try:
                        await send(text, data, deadline_s=1.0)
                    except Exception as error:
                        shown.extend((error, error.args, *traceback.format_exception(error)))
            for wrong in (text + "x", text[:-1] + "-", f"hw-{'0' * 12}-{secret}"):
                try:
                    keys.guard(request(wrong))
                except Refused as refused:
                    shown.extend((refused.message, refused))

    with caplog.at_level(logging.DEBUG):
        virtual_run(main)
    told = " ".join(map(repr, shown)) + caplog.text + "".join(capsys.readouterr())
    assert "may spend today" in told
    assert secret not in told
    assert secret[:20] not in told


SPENDER = """
import asyncio, sys, json
from pathlib import Path
from headway.gateway.keys.meter import KeyBudgetExceeded
from tests.gateway.keys.keyring import Provider, body, served

async def main(path, text):
    sent = 0
    async with served(Path(path), Provider(output_tokens=1000, after_s=0.01)) as (keys, send):
        async def one():
            nonlocal sent
            try:
                await send(text, body(max_tokens=1000))
                sent += 1
            except KeyBudgetExceeded:
                pass
        await one()
        print("ready", flush=True)
        sys.stdin.readline()
        for _ in range(30):
            await asyncio.gather(*(one() for _ in range(10)))
    print(json.dumps(sent))

asyncio.run(main(*sys.argv[1:]))
"""


def test_two_processes_keep_one_cap_together(tmp_path):
    """600 requests against a cap of some 166, in two processes at once: all of the cap is used, and not a cent more."""
    text = made(tmp_path / "k", dollars_per_day=0.1)
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", SPENDER, str(tmp_path / "k"), text],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )
        for _ in range(2)
    ]  # fmt: skip
    for process in processes:
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        process.stdin.write("go\n")
        process.stdin.flush()
    sent = [json.loads(process.communicate(timeout=60)[0]) for process in processes]
    assert [process.returncode for process in processes] == [0, 0]
    with KeyStore(tmp_path / "k") as store:
        (row,) = store.spend()
    assert row.requests == sum(sent)
    assert row.dollars == pytest.approx(sum(sent) * 0.0006015)
    assert 0.098 <= row.dollars <= 0.1002
    assert min(sent) > 0


def test_a_file_that_is_no_keys_file_is_a_sentence(tmp_path):
    """And no thread is left behind."""
    (tmp_path / "k").write_text("not a database, but something of somebody's")

    async def main() -> None:
        with pytest.raises(ConfigError, match="no database"):
            await Keys.open(tmp_path / "k")

    asyncio.run(main())
    assert Key(id="", name="x").has_cap is False


def test_half_a_key_is_told_from_none(tmp_path):
    """Who copied a part of it need not look for the header."""
    app = made(tmp_path / "k")

    async def main() -> None:
        async with served(tmp_path / "k", Provider()) as (keys, _):
            for text, said in (
                ("hw-abc-def", "in full; copy all"),
                (app[:-1], "in full"),
                ("sk-x", "no key of this gateway came"),
            ):
                with pytest.raises(Refused, match=said):
                    keys.guard(Request("POST", PATH, bearing(text)))
            for text in ("", "hw-abc", "me"):
                with pytest.raises(Refused, match="no key of this gateway; copy all") as refused:
                    keys.admin_text(text)
                assert "Authorization" not in refused.value.message
            with pytest.raises(Refused, match="not an admin key"):
                keys.admin_text(app)

    virtual_run(main)

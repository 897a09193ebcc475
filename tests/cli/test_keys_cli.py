"""`headway keys`: made once, shown once, listed without secrets, ended, replaced, and billed."""

from __future__ import annotations

import csv
import io
import json
import re

import pytest
from typer.testing import CliRunner

from headway.cli import app
from headway.gateway.keys import KeyStore
from headway.gateway.keys.ledger import Ask, exchange
from headway.gateway.keys.text import digest_of, split


@pytest.fixture
def home(tmp_path, monkeypatch):
    """A state directory of its own."""
    monkeypatch.setenv("HEADWAY_HOME", str(tmp_path))
    return tmp_path


def run(*arguments: str, code: int = 0):
    done = CliRunner().invoke(app, ["keys", *arguments])
    assert done.exit_code == code, done.output
    return done


def test_create_prints_the_key_alone_and_this_once(home):
    """What a pipe reads is the key; it opens what it should, and `list` cannot show it."""
    text = run("create", "me", "--admin").stdout.strip()
    id_, secret = split(text)
    with KeyStore(home / "keys.sqlite") as store:
        known = store.known()
    assert known.secrets[id_].digest == digest_of(secret)
    assert known.find("me").admin
    for listed in (run("list").stdout, run("list", "--json").stdout, run("list", "--all").stdout):
        assert "me" in listed
        assert secret not in listed
    assert json.loads(run("list", "--json").stdout)["texts"] == [f"hw-{id_}-..."]


def test_every_option_is_kept(home):
    """As it is said, units included."""
    made = json.loads(
        run(
            "create", "app", "--model", "gpt-5*", "--model", "o3", "--path", "/v1/*", "--rpm", "60", "--tpm", "1000",
            "--dollars-per-day", "20usd", "--dollars-per-month", "$300", "--expires", "90d", "--priority", "high",
            "--share", "team", "--json",
        ).stdout
    )  # fmt: skip
    assert split(made.pop("text"))
    with KeyStore(home / "keys.sqlite") as store:
        key = store.known().find("app")
    assert (key.models, key.paths) == (("gpt-5*", "o3"), ("/v1/*",))
    assert (key.requests_per_min, key.tokens_per_min) == (60.0, 1000.0)
    assert (key.dollars_per_day, key.dollars_per_month) == (20.0, 300.0)
    assert (key.priority, key.share) == (1, "team")
    assert key.expires_wall_s - key.created_wall_s == pytest.approx(90 * 86_400, abs=5)
    assert made["expires"].endswith("Z")
    assert made["revoked"] is None


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["create", "a b"], "a name is up to 64"),
        (["create", "x", "--path", "/metrics"], "--path '/metrics' can match nothing"),
        (["create", "x", "--model", ""], "--model '' can match nothing"),
        (["create", "x", "--rpm", "0"], "--rpm is a number above 0"),
        (["create", "x", "--tpm", "nan"], "--tpm is a number above 0"),
        (["create", "x", "--dollars-per-day", "much"], "--dollars-per-day must be an amount"),
        (["create", "x", "--expires", "soon"], "--expires must be a time"),
        (["create", "x", "--priority", "top"], "must hold low, normal, high"),
        (["create", "x", "--parent", "nobody"], "no key called 'nobody'"),
        (["create", "taken"], "called 'taken' already"),
        (["revoke", "nobody"], "no key called 'nobody'"),
        (["rotate", "nobody"], "no key called 'nobody'"),
        (["rotate", "taken", "--grace", "a bit"], "--grace must be a time"),
        (["spend", "--month", "November"], "--month is a year and a month"),
        (["spend", "nobody"], "no key called 'nobody'"),
    ],
)
def test_what_is_wrong_is_said_in_a_sentence(home, arguments, words):
    """Exit code 2, one line on stderr, no traceback, and nothing was made."""
    run("create", "taken")
    done = run(*arguments, code=2)
    assert words in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert [json.loads(line)["name"] for line in run("list", "--json").stdout.splitlines()] == ["taken"]


def test_without_a_file_only_create_makes_one(home):
    """The others say how to."""
    for arguments in (["list"], ["revoke", "x"], ["rotate", "x"], ["spend"]):
        assert "make one with headway keys create" in run(*arguments, code=2).stderr
    run("create", "x", "--file", str(home / "other.sqlite"))
    assert (home / "other.sqlite").exists()
    assert not (home / "keys.sqlite").exists()


def test_revoked_keys_and_those_below_them_are_listed_on_demand(home):
    """A child ends with its parent."""
    run("create", "parent")
    run("create", "child", "--parent", "parent")
    assert "revoked" in run("revoke", "parent").stdout
    assert run("list", "--json").stdout == ""
    found = {line["name"]: line for line in map(json.loads, run("list", "--all", "--json").stdout.splitlines())}
    assert found["child"]["ended"]
    assert found["parent"]["revoked"]
    assert "below parent" in run("list", "--all").stdout


def test_rotate_prints_another_key(home):
    """With a grace of nothing the old one has ended."""
    first = run("create", "app").stdout.strip()
    second = run("rotate", "app", "--grace", "0").stdout.strip()
    assert first != second
    assert re.fullmatch(r"hw-[0-9a-f]{12}-[\w-]{43}", second)
    with KeyStore(home / "keys.sqlite") as store:
        rows = store.known().secrets
    assert rows[split(first)[0]].until_wall_s < rows[split(second)[0]].until_wall_s


def test_spend_is_csv_by_month(home):
    """And JSON; by key and month where that is asked."""
    run("create", "app")
    run("create", "web")
    with KeyStore(home / "keys.sqlite") as store:
        known = store.known()
        for day, name, dollars in (("2026-10-31", "app", 1.0), ("2026-11-01", "app", 2.0), ("2026-11-30", "app", 0.5),
                                   ("2026-11-02", "web", 7.0)):  # fmt: skip
            ask = Ask(key=known.find(name).id, dollars=dollars, tokens=10, requests=1)
            exchange(store._connection, "p", day, [ask], 0.0)
    rows = list(csv.DictReader(io.StringIO(run("spend").stdout)))
    assert [(row["month"], row["name"], row["dollars"], row["requests"]) for row in rows] == [
        ("2026-10", "app", "1.000000", "1"), ("2026-11", "app", "2.500000", "2"), ("2026-11", "web", "7.000000", "1"),
    ]  # fmt: skip
    (only,) = map(json.loads, run("spend", "app", "--month", "2026-11", "--json").stdout.splitlines())
    assert (only["dollars"], only["tokens"]) == (2.5, 20)

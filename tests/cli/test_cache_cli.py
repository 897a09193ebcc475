"""`headway cache` on files that an engine wrote."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import msgspec
import pytest
from typer.testing import CliRunner

from headway import Engine
from headway.cli import app
from headway.testing import FakeProvider, virtual_run

PATH = "/v1/chat/completions"


def chat(text: str, model: str = "gpt-4o-mini", **more) -> dict:
    return {"model": model, "messages": [{"role": "user", "content": text}], **more}


@pytest.fixture
def file(tmp_path, monkeypatch):
    """Three answers in the default cache (one was a hit), one in "faq", stored at the beginning of 2026."""
    monkeypatch.setenv("OPENAI_API_KEY", "sk-test")
    path = tmp_path / "cache.sqlite"
    monkeypatch.setenv("HEADWAY_CACHE_PATH", str(path))

    async def main():
        settings = {"cache": "disk", "caches": {"faq": {"ttl_s": 60}}, "log": "off", "seed": 1}
        async with Engine(handler=FakeProvider(), **settings) as engine:
            for body in (chat("one"), chat("two"), chat("three", "gpt-4o"), chat("one")):
                await engine.send(PATH, body)
            await engine.send(PATH, chat("one"), namespace="faq")

    virtual_run(main)
    return path


def invoke(*arguments: object, code: int = 0):
    done = CliRunner().invoke(app, ["cache", *map(str, arguments)])
    if isinstance(done.exception, Exception) and not isinstance(done.exception, SystemExit):
        assert code == 2, done.exception  # `main` makes exit code 2 of it
        return str(done.exception)
    assert done.exit_code == code, done.output
    return done.stdout


def lines(*arguments: object, code: int = 0) -> list[dict]:
    return [json.loads(line) for line in invoke(*arguments, "--json", code=code).splitlines()]


def test_stats_are_per_namespace_and_outlive_the_engine(file):
    """Hits, misses and dollars of processes that are gone."""
    default, faq = lines("stats")
    assert (default["namespace"], default["entries"], default["hits"], default["misses"]) == ("", 3, 1, 3)
    assert default["saved_dollars"] > 0
    assert (faq["namespace"], faq["entries"], faq["misses"]) == ("faq", 1, 1)
    assert "(default)" in invoke("stats")


def test_list_shows_the_youngest_without_texts(file):
    """A line each; no body, in either form."""
    found = lines("list", "--limit", 2)
    assert found[0]["model"] in ("gpt-4o", "gpt-4o-mini")
    assert len(found) == 2
    assert all(len(line["key"]) == 64 and line["bytes"] > 0 for line in found)
    assert "content" not in invoke("list")
    assert len(lines("list", "--namespace", "faq")) == 1


def test_show_prints_one_body(file):
    """By the first digits of its key; anything else is told."""
    key = lines("list")[0]["key"]
    assert msgspec.json.decode(invoke("show", key[:16]))["choices"]
    assert lines("show", key)[0]["headers"]
    assert "no entry has" in invoke("show", "0" * 64, code=2)
    assert "hex digits" in invoke("show", "xyz", code=2)


def test_purge_deletes_what_is_meant(file):
    """Dry first; then by model, by key, by age, all; nothing by accident."""
    assert "say what to purge" in invoke("purge", code=2)
    assert lines("purge", "--model", "gpt-4o", "--dry-run")[0]["entries"] == 1
    assert len(lines("list")) == 3
    invoke("purge", "--model", "gpt-4o")
    assert {line["model"] for line in lines("list")} == {"gpt-4o-mini"}
    key = lines("list")[0]["key"]
    assert lines("purge", "--key", key[:20])[0]["entries"] == 1
    assert lines("purge", "--older-than", "36500d")[0]["entries"] == 0
    assert "such as 12h" in invoke("purge", "--older-than", "soon", code=2)
    assert "1 entries" in invoke("purge", "--all")
    assert lines("stats")[0]["entries"] == 0
    assert len(lines("list", "--namespace", "faq")) == 1


def test_explain_miss_names_the_field(file, tmp_path):
    """Between two files: the deepest place that differs, and nothing for what the key leaves out."""
    one, other, same = (tmp_path / name for name in ("one.json", "other.json", "same.json"))
    one.write_bytes(msgspec.json.encode(chat("one")))
    other.write_bytes(msgspec.json.encode(chat("One ", temperature=0)))
    same.write_bytes(msgspec.json.encode(chat("one", user="u1", metadata={"a": "b"})))
    found = {line["part"]: (line["one"], line["other"]) for line in lines("explain-miss", one, other, code=1)}
    assert found == {"messages[0].content": ('"one"', '"One "'), "temperature": ("(absent)", "0")}
    assert "makes no difference" in invoke("explain-miss", one, same)


def test_explain_miss_finds_the_nearest_stored(file, tmp_path, monkeypatch):
    """A stored request is the same; a changed one differs by its field, another key by its tenant; no text is stored."""
    body = tmp_path / "body.json"
    body.write_bytes(msgspec.json.encode(chat("one")))
    assert lines("explain-miss", body) == []
    body.write_bytes(msgspec.json.encode(chat("two", temperature=1)))
    assert [line["part"] for line in lines("explain-miss", body, code=1)] == ["temperature"]
    monkeypatch.setenv("OPENAI_API_KEY", "sk-other")
    body.write_bytes(msgspec.json.encode(chat("three", "gpt-4o")))
    assert [line["part"] for line in lines("explain-miss", body, code=1)] == ["tenant"]
    body.write_bytes(msgspec.json.encode(chat("three", store=True)))
    assert "never cached: store" in invoke("explain-miss", body, code=2)
    assert b"three" not in file.read_bytes()  # requests are nowhere in the file


def test_what_is_no_cache_is_told(tmp_path):
    """One sentence: a missing file, another program's."""
    assert "there is no cache at" in invoke("list", "--file", tmp_path / "none", code=2)
    assert "there is no cache at" in invoke("stats", "--file", tmp_path / "none", code=2)
    (tmp_path / "odd").write_bytes(b"odd" * 1000)
    assert "cannot be read" in invoke("list", "--file", tmp_path / "odd", code=2)


def test_it_works_in_a_pipe_and_by_name(file):
    """As a process: one JSON object a line, exit code 2 and one sentence for a wrong call."""
    code = "from headway.cli import main; main()"
    run = [sys.executable, "-c", code, "cache"]
    done = subprocess.run([*run, "list", "--json"], env=dict(os.environ), capture_output=True, text=True, check=True)
    assert len([json.loads(line) for line in done.stdout.splitlines()]) == 3
    done = subprocess.run([*run, "purge"], env=dict(os.environ), capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (2, "headway: say what to purge: --model, --older-than, --key, or --all\n")


@pytest.mark.parametrize("name", ["../../x", "a/b", "", "."])
def test_a_name_that_no_cache_can_have_is_told(file, name):
    """One sentence, and no file beside the cache is looked at."""
    said = invoke("purge", "--all", "--dry-run", "--namespace", name, code=2 if name else 0)
    assert ("--namespace is a name of up to 64" in said) == bool(name)


def test_a_responses_body_is_compared_as_one():
    """The README's own API: no path has to be named for it."""
    from headway.cli.cache import _path_of

    assert _path_of(b'{"model": "m", "input": "Hello"}') == "/v1/responses"
    assert _path_of(b'{"model": "m", "messages": [{"content": "my \\"input\\""}]}') == "/v1/chat/completions"

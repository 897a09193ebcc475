"""The documents keep their word: code runs, tables are true, links lead somewhere.

``python tests/test_docs.py --write`` brings docs/settings.md and docs/cli.md up to date.
"""

from __future__ import annotations

import ast
import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import headway
from headway.cli import app
from headway.config import Settings, load_settings
from headway.sim import SimSettings
from headway.sim.server import serving
from headway.testing import FakeProvider, virtual_run

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted(DOCS.glob("*.md"))]
WRITE = "run: python tests/test_docs.py --write"
COMMANDS = (
    "run", "ask", "bench", "compare", "compress", "lint", "demo", "doctor", "init", "log",
    "optimize", "pipelines", "regions", "serve", "sim", "summarize",
)  # fmt: skip
GROUPS = ("cache", "keys")
GIVEN = {"simulator.md": ("openai",)}
"""Packages that a page's code takes as imported."""


# -- what is generated -------------------------------------------------------------------------------------------------

_ROW = re.compile(r"^\| `(\w+)` \|([^|]*)\|([^|]*)\| (.*) \|$", re.MULTILINE)
_HELP = re.compile(r"(<!-- help: (\w*) -->\n```text\n).*?(\n```\n<!-- end -->)", re.DOTALL)


def default_of(field: str) -> str:
    """A setting's default as headway.toml would have it, sizes also in words."""
    value = Settings.__struct_defaults__[Settings.__struct_fields__.index(field)]
    if value is None or value == ():
        return "none"
    if isinstance(value, str):
        return f'`"{value}"`'
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    if field.endswith("bytes_max"):
        return f"`{value}` ({value >> 30} GiB)" if value >= 1 << 30 else f"`{value}` ({value >> 20} MiB)"
    return f"`{value:_}`"


def settings_page(text: str) -> str:
    """docs/settings.md with every row's default and variable as they are; names and meanings are the page's own."""

    def row(match: re.Match[str]) -> str:
        name, meaning = match[1], match[4]
        if name not in Settings.__struct_fields__:
            return match[0]
        return f"| `{name}` | {default_of(name)} | `HEADWAY_{name.upper()}` | {meaning} |"

    return _ROW.sub(row, text)


_HELPS = """
import contextlib, io, json, sys
from headway.cli import main
said = {}
for command in sys.argv[1:]:
    sys.argv[:] = ["headway", *([command] if command != "headway" else []), "--help"]
    with contextlib.redirect_stdout(io.StringIO()) as out, contextlib.suppress(SystemExit):
        main()
    said[command] = out.getvalue()
sys.__stdout__.write(json.dumps(said))
"""


def helps_of(commands: list[str]) -> dict[str, str]:
    """What ``headway COMMAND --help`` prints at 100 columns, without colour, for each; one process prints them all."""
    plain = {name: value for name, value in os.environ.items() if name not in ("FORCE_COLOR", "GITHUB_ACTIONS")}
    done = subprocess.run(
        [sys.executable, "-c", _HELPS, *(command or "headway" for command in commands)],
        env=plain | {"TERMINAL_WIDTH": "100", "COLUMNS": "100", "NO_COLOR": "1", "TERM": "dumb", "PYTHONUTF8": "1"},
        capture_output=True, text=True, encoding="utf-8", check=True,
    )  # fmt: skip
    said = json.loads(done.stdout)
    return {
        command: "\n".join(line.rstrip() for line in said[command or "headway"].splitlines()).strip("\n")
        for command in commands
    }


def cli_page(text: str) -> str:
    """docs/cli.md with the help of every command between its markers."""
    helps = helps_of([match[2] for match in _HELP.finditer(text)])
    return _HELP.sub(lambda match: match[1] + helps[match[2]] + match[3], text)


# -- code --------------------------------------------------------------------------------------------------------------


def blocks() -> list[Any]:
    """Every ```python block of README and docs, with its page and line."""
    found = []
    for page in PAGES:
        text = page.read_text("utf-8")
        for match in re.finditer(r"^```python\n(.*?)^```$", text, re.DOTALL | re.MULTILINE):
            line = text.count("\n", 0, match.start(1)) + 1
            found.append(pytest.param(page, line, match[1], id=f"{page.name}:{line}"))
    return found


@pytest.fixture(scope="module")
def simulator():
    """The base URL of a simulator that answers at once."""
    with serving(SimSettings(latency_scale=0)) as url:
        yield url


@pytest.fixture
def surroundings(simulator, tmp_path, monkeypatch):
    """What the documents tell a reader to have: an address, a key, a directory to work in, with the tickets in it."""
    shutil.copy(ROOT / "examples" / "tickets.csv", tmp_path)
    monkeypatch.setenv("OPENAI_BASE_URL", simulator)
    monkeypatch.setenv("OPENAI_API_KEY", "sim")
    monkeypatch.chdir(tmp_path)
    return dict(os.environ)


@pytest.mark.parametrize(("page", "line", "code"), blocks())
def test_code_in_the_documents_runs(page, line, code, surroundings, capsys):
    """Every block runs as it stands; functions named test_... are called; a first line "# prints: ..." is true."""
    names: dict[str, Any] = {"__name__": "__main__"}
    names |= {name: importlib.import_module(name) for name in GIVEN.get(page.name, ())}
    tree = ast.parse("\n" * (line - 1) + code, filename=str(page))
    exec(compile(tree, str(page), "exec"), names)
    for name in [name for name in names if name.startswith("test_")]:
        names[name]()
    printed = capsys.readouterr().out
    for promised in re.findall(r"^# prints: (.*)$", code, re.MULTILINE):
        assert promised in printed.splitlines()


def test_there_is_code_to_run():
    """The pattern that finds blocks finds those of the README and of the engine's page."""
    pages = {param.values[0].name for param in blocks()}
    assert {"README.md", "engine.md"} <= pages


# -- examples ----------------------------------------------------------------------------------------------------------


def run_example(name: str, env: dict[str, str], *args: str) -> list[str]:
    """The lines that an example prints, run as its docstring says."""
    done = subprocess.run(
        [sys.executable, str(ROOT / "examples" / name), *args],
        env=env,
        capture_output=True,
        text=True,
        encoding="utf-8",
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_triage_prints_twenty_tickets(surroundings):
    """examples/triage_20.py labels all twenty tickets, and sums up."""
    lines = run_example("triage_20.py", surroundings)
    assert [line.split()[0] for line in lines[:20]] == [f"T-10{n:02}" for n in range(1, 21)]
    labels = {"billing", "technical_support", "account_access", "shipping", "cancellation"}
    assert {line.split()[1] for line in lines[:20]} <= labels
    assert lines[20].startswith("20 tickets in ")
    assert len(lines) == 21


def test_streaming_example_prints_text_and_times(surroundings):
    """examples/stream.py prints the answer's words, then when the first and the last came."""
    *text, last = run_example("stream.py", surroundings, "Write 30 words about rain.")
    assert len(" ".join(text).split()) >= 20
    assert re.fullmatch(r"first word after [\d.]+ s, all of it after [\d.]+ s", last)


def test_sync_example_adds_a_column(surroundings):
    """examples/sync_csv.py gives every row of the file back, labelled, in order."""
    head, *rows = run_example("sync_csv.py", surroundings)
    assert head == "id,text,expected,label"
    assert [row.partition(",")[0] for row in rows] == [f"T-10{n:02}" for n in range(1, 21)]
    assert all(row.rpartition(",")[2] for row in rows)


def test_header_example_runs(surroundings):
    """examples/add_header.py reaches a provider through its wrapped network."""
    assert run_example("add_header.py", surroundings)[0].startswith("200 {")


def test_header_example_adds_the_header():
    """Every attempt carries the header, and nothing else changes: the example shows what it says."""
    spec = importlib.util.spec_from_file_location("add_header", ROOT / "examples" / "add_header.py")
    example = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(example)
    provider = FakeProvider([500, 200])

    async def main() -> None:
        handler = example.WithHeader(provider, "X-Mine", "1")
        async with headway.Engine(handler=handler, log="off", seed=1) as engine:
            await engine.send("/v1/responses", {"model": "gpt-5.4-mini", "input": "Hi"})

    virtual_run(main)
    assert [call.headers[-1] for call in provider.seen] == [("x-mine", "1")] * 2


# -- tables ------------------------------------------------------------------------------------------------------------


def test_every_setting_is_documented_with_its_true_default():
    """docs/settings.md has one row per field of `Settings`, in no table twice, with its default and variable."""
    text = (DOCS / "settings.md").read_text("utf-8")
    names = [match[1] for match in _ROW.finditer(text)]
    assert sorted(names) == sorted(Settings.__struct_fields__), "add or remove a row in docs/settings.md by hand"
    assert text == settings_page(text), f"docs/settings.md is not true any more; {WRITE}"


def test_the_example_settings_file_is_accepted(tmp_path):
    """The headway.toml of docs/settings.md loads, and says something else than the defaults."""
    block = re.search(r"^```toml\n(.*?)^```$", (DOCS / "settings.md").read_text("utf-8"), re.DOTALL | re.MULTILINE)
    file = tmp_path / "headway.toml"
    file.write_text(block[1], "utf-8")
    assert load_settings(file=file, environ={}) != Settings()


def test_the_command_lines_help_is_current():
    """docs/cli.md holds the help of every command as it is printed."""
    text = (DOCS / "cli.md").read_text("utf-8")
    assert [match[2] for match in _HELP.finditer(text)] == ["", *COMMANDS, *GROUPS]
    assert text == cli_page(text), f"docs/cli.md is not current; {WRITE}"


def test_every_command_has_its_section():
    """A command that is added to the app is missed in docs/cli.md."""
    assert tuple(command.callback.__name__ for command in app.registered_commands) == COMMANDS
    assert tuple(group.name for group in app.registered_groups) == GROUPS


# -- links and house rules ---------------------------------------------------------------------------------------------


def anchors_of(page: Path) -> set[str]:
    """The headings of a page, as links spell them."""
    heads = re.findall(r"^#+ (.*)$", page.read_text("utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", head.lower()).strip().replace(" ", "-") for head in heads}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_relative_links_resolve(page):
    """Every link to a file leads to one, and every anchor to a heading."""
    text = re.sub(r"^```.*?^```$", "", page.read_text("utf-8"), flags=re.DOTALL | re.MULTILINE)
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        file = (page.parent / path).resolve() if path else page
        assert file.exists(), f"{page.name} links to {target}, which does not exist"
        assert not anchor or anchor in anchors_of(file), f"{page.name} links to {target}: no such heading"


def tree() -> list[Path]:
    """The files that git knows, and those it would add."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    if not (ROOT / ".git").exists():
        pytest.skip("not a git checkout")
    names = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.split("\0")
    return [ROOT / name for name in names if name and (ROOT / name).is_file()]


def test_no_file_names_a_registry_or_a_machine():
    """No lock file, mirror address or home directory slips into the tree."""
    # Put together here, or this file would find itself.
    words = [".".join(parts) for parts in (("pypi", "org"), ("files", "pythonhosted", "org"), ("deb", "debian", "org"))]
    words += [".".join(("registry", "npmjs", "org")), "/" + "work/", "/" + "root/"]
    files = tree()
    assert len(files) > 100
    for file in files:
        data = file.read_bytes()
        for word in words:
            assert word.encode() not in data, f"{file.relative_to(ROOT)} holds {word}"


def test_the_contributing_guide_stays_short():
    """At most 250 lines: it is read, not searched."""
    assert len((ROOT / "CONTRIBUTING.md").read_text("utf-8").splitlines()) <= 250


def main() -> None:
    """Write what is generated."""
    for name, renew in (("settings.md", settings_page), ("cli.md", cli_page)):
        page = DOCS / name
        page.write_text(renew(page.read_text("utf-8")), "utf-8")
        sys.stdout.write(f"docs/{name} is up to date\n")


if __name__ == "__main__":
    if sys.argv[1:] != ["--write"]:
        sys.exit("usage: python tests/test_docs.py --write")
    main()

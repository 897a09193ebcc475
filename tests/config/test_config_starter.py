"""The file that `headway init` writes: true, complete, and true line by line."""

from __future__ import annotations

import re
import tomllib

import pytest

from headway.config import Settings, load_settings
from headway.config.meanings import meanings
from headway.config.starter import EXAMPLES, starter

LINES = re.findall(r"^#(\w+ = .*)$", starter(), re.MULTILINE)
"""Settings, the "#" taken away; those of tables among them."""
TABLES = re.findall(r"^(#\[.*\n(?:#\w.*\n)+)", starter(), re.MULTILINE)
TOP = LINES[: len(LINES) - sum(table.count("\n") - 1 for table in TABLES)]


def loaded(tmp_path, text):
    """The settings of a file that says `text`."""
    file = tmp_path / "headway.toml"
    file.write_text(text, "utf-8")
    return load_settings(file=file, environ={})


def test_as_it_stands_it_changes_nothing(tmp_path):
    """It loads, and everything is as by default."""
    assert loaded(tmp_path, starter()) == Settings()
    assert tomllib.loads(starter()) == {}


def test_every_setting_is_in_it_once():
    """All that a file may say, with its meaning."""
    names = [line.partition(" ")[0] for line in TOP]
    assert sorted([*names, "api_key", "upstreams", "rules", "caches"]) == sorted(Settings.__struct_fields__)
    assert [setting.name for setting in meanings() if not setting.meaning] == []
    for setting in meanings():
        assert setting.section, setting.name
        assert setting.name == "api_key" or setting.meaning.split()[0] in starter()


@pytest.mark.parametrize("line", TOP, ids=lambda line: line.partition(" ")[0])
def test_each_line_loads_uncommented(tmp_path, line):
    """A line without its "#" is what it says it is: the default, or an example where there is none."""
    name = line.partition(" ")[0]
    settings = loaded(tmp_path, starter().replace(f"#{line}\n", f"{line}\n"))
    assert (getattr(settings, name) != getattr(Settings(), name)) == (name in EXAMPLES)


@pytest.mark.parametrize("table", TABLES, ids=lambda table: table.partition("\n")[0])
def test_each_table_loads_uncommented(tmp_path, table):
    """The examples of tables are right as well."""
    settings = loaded(tmp_path, starter().replace(table, table.replace("\n#", "\n")[1:]))
    assert settings != Settings()


def test_all_of_it_loads_uncommented(tmp_path):
    """Tables come last, so that no setting falls into one."""
    text = re.sub(r"^#(?=\S)", "", starter(), flags=re.MULTILINE)
    settings = loaded(tmp_path, text)
    assert len(tomllib.loads(text)) == len(Settings.__struct_fields__) - 1  # all but api_key
    assert (len(settings.upstreams), len(settings.rules), len(settings.caches)) == (1, 1, 1)

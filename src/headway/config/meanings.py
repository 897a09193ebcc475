"""What each setting means, read out of the source of `Settings`: whoever shows meanings cannot lag behind it."""

from __future__ import annotations

import ast
import inspect
import re
from typing import Any, Final

import msgspec

from headway.config.settings import Settings

__all__ = ["Setting", "meanings"]

_HEADING: Final = re.compile(r"    # (.+)")


class Setting(msgspec.Struct, frozen=True, kw_only=True):
    """One setting."""

    name: str
    section: str
    """What it belongs to: "how long"."""
    meaning: str
    """Of one paragraph; "" where the source is not there to be read."""
    default: Any


def meanings() -> list[Setting]:
    """Every setting, in the order of `Settings`."""
    said = _said()
    defaults = zip(Settings.__struct_fields__, Settings.__struct_defaults__, strict=True)
    return [
        Setting(name=name, section=said.get(name, ("", ""))[0], meaning=said.get(name, ("", ""))[1], default=default)
        for name, default in defaults
    ]


def _said() -> dict[str, tuple[str, str]]:
    """Section and docstring by field: comments of their own line are headings, a text after a field is its meaning."""
    try:
        source = inspect.getsource(Settings)
    except OSError:
        return {}  # an installation without sources
    lines = source.splitlines()
    body = ast.parse(source).body[0]
    assert isinstance(body, ast.ClassDef)
    found: dict[str, tuple[str, str]] = {}
    section, at, name = "", 0, ""
    for node in body.body:
        for line in lines[at : node.lineno - 1]:
            if heading := _HEADING.fullmatch(line):
                section = heading[1].partition(":")[0]
        at = node.end_lineno or node.lineno
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            name = node.target.id
            found[name] = (section, "")
        elif name and isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            found[name] = (section, _plain(str(node.value.value)))
            name = ""
        else:
            name = ""
    return found


def _plain(docstring: str) -> str:
    """In one paragraph, without the names of modules that no user of the file looks into."""
    text = " ".join(docstring.split())
    return re.sub(r"(?:;)? see `[\w.]+`(?: and `[\w.]+`)*(?=\.)", "", text).replace("`", "")

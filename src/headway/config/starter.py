"""A headway.toml to start from: every setting with its meaning and its default, all of it commented out."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from headway.config.explain import toml_of
from headway.config.meanings import Setting, meanings

__all__ = ["EXAMPLES", "starter"]

_WIDTH: Final = 100
_HEAD: Final = """\
# Settings of Headway. Lines that begin with "#" and no space are settings as they are by default:
# take the "#" away and change the value. Sizes are in bytes, times in seconds, money in US dollars.
#
# What is set in the program wins over HEADWAY_* variables (HEADWAY_TIMEOUT_S=30), those over this
# file. `headway doctor --explain` shows what holds, and why.
#
# Keys of providers never stand here: they come from the environment. A file that is found in the
# working directory may not choose who is sent keys and prompts, nor which files are written; name
# it where it does: `--config headway.toml`, Engine(config="headway.toml").
"""
EXAMPLES: Final[Mapping[str, str]] = MappingProxyType(
    {
        "requests_per_min": "500",
        "tokens_per_min": "200_000",
        "redis_url": '"redis://127.0.0.1:6379/0"',
        "budget_usd": "20.0",
        "budget_tokens": "10_000_000",
        "seed": "1",
    }
)
"""Of what is none by default: a value that it could have."""
_TABLES: Final[Mapping[str, str]] = MappingProxyType(
    {
        "caches": """\
#[caches.faq]
#ttl_s = 604_800
""",
        "upstreams": """\
#[[upstream]]
#name = "local"
#preset = "ollama"                # or a base_url, and key_env = the variable that holds its key
#models = ["qwen3:8b"]
""",
        "rules": """\
#[[rule]]
#tier = "quality"
#has_code = true
""",
    }
)
"""Tables stand at the end of a TOML file: what follows a table's name belongs to it."""


def starter() -> str:
    """The file's text: TOML that sets nothing as it stands, and is true line by line once uncommented."""
    parts, section = [_HEAD], ""
    found = meanings()
    for setting in found:
        if setting.name in _TABLES or setting.name == "api_key":
            continue
        if setting.section != section:
            section = setting.section
            parts.append(f"\n# -- {section} --\n")
        parts.append("\n" + _comment(setting.meaning) + _line(setting))
    parts.append("\n# -- tables: below all else --\n")
    by_name = {setting.name: setting for setting in found}
    parts += ["\n" + _comment(by_name[name].meaning) + text for name, text in _TABLES.items()]
    return "".join(parts)


def _line(setting: Setting) -> str:
    if setting.default is None:
        return f"#{setting.name} = {EXAMPLES[setting.name]}  # an example; none by default\n"
    return f"#{setting.name} = {toml_of(setting.default)}\n"


def _comment(text: str) -> str:
    return "".join(f"# {line}\n" for line in textwrap.wrap(text, _WIDTH - 2))

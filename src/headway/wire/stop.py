"""Where a stop text may be sent: formats and models that are known to take it. When in doubt it is not.

Source: OpenAI API reference, "Create chat completion" (`stop` is not supported by the latest reasoning models: gpt-5
and the o series answer 400, ``unsupported_parameter``); the Responses API has no such field; Anthropic refuses texts
of white space alone ("each stop sequence must contain non-whitespace").
"""

from __future__ import annotations

import re
from typing import Final

__all__ = ["takes_stop"]

_TAKES: Final = re.compile(
    r"(?:.*/)?(?:chatgpt-4|codestral|command-|deepseek-chat|gemma|gpt-3\.5|gpt-4|llama|meta-llama|ministral|mistral|"
    r"mixtral|open-mistral|open-mixtral|phi-|qwen2)",
    re.IGNORECASE,
)
"""Families without thinking, by the beginning of their names; a vendor's prefix ("meta-llama/") may stand before it."""
_THINKS: Final = re.compile(r"reason|think|search|audio", re.IGNORECASE)


def takes_stop(path: str, model: str, text: str) -> bool:
    """Whether a request to `path` for `model` may ask that the answer stop before `text`."""
    path = path.partition("?")[0]
    if path.endswith("/v1/messages"):
        return bool(text.strip())
    return path.endswith("/chat/completions") and _TAKES.match(model) is not None and _THINKS.search(model) is None

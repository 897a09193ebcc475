"""An engine over a scripted provider."""

from __future__ import annotations

from typing import Any

from headway import Engine
from headway.testing import FakeProvider

BODY = {"model": "gpt-5.4-mini", "input": "Hello"}
CHAT = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "Hello"}]}
RESPONSES = "/v1/responses"
COMPLETIONS = "/v1/chat/completions"


def engine(provider: FakeProvider, **settings: Any) -> Engine:
    """Reproducible, and silent."""
    return Engine(handler=provider, **{"log": "off", "api_key": "sk-test", "seed": 7, "log_level": "off"} | settings)

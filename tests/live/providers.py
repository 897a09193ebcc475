"""The real providers: where they are, what they are asked, which variable holds the key; and what may be spent."""

from __future__ import annotations

import os
from pathlib import Path

import msgspec

from headway.wire.endpoints import PRESETS
from headway.wire.prices import Prices

ENV = dict(os.environ)
"""As it was when the tests were collected: single tests run without the user's keys."""
STARTED = ENV.get("HEADWAY_LIVE") == "1"
TOTAL_USD = 0.10
CHECK_USD = 0.005
"""What one check may spend; it spends a hundredth of that."""
TOKENS_MAX = 16
"""The least that the Responses API takes."""
ASSUMED_USD_PER_MTOK = 30.0
"""For models whose price nobody lists (a deployment's own name): more than any of these cost."""
NO_KEY = "HEADWAY_LIVE_NO_KEY"
"""A variable that is not set, for engines that must not add a credential of their own."""


class Provider(msgspec.Struct, frozen=True, kw_only=True):
    """One provider: "chat", "responses", "embeddings", "messages" -> the cheapest model that has it."""

    name: str
    key_env: str
    base_url: str
    models: dict[str, str]

    @property
    def key(self) -> str:
        """What the variable holds; "" where it is not set."""
        return ENV.get(self.key_env, "").strip()

    @property
    def missing(self) -> str:
        """Why it cannot be asked; "" where it can."""
        if not self.key:
            return f"{self.key_env} is not set"
        if not self.base_url:
            return "AZURE_OPENAI_ENDPOINT is not set"
        return "" if all(self.models.values()) else "AZURE_OPENAI_DEPLOYMENT is not set"


def _provider(name: str, base_url: str = "", key_env: str = "", **models: str) -> Provider:
    """With the address and the models that the environment names, HEADWAY_LIVE_GROQ_URL and HEADWAY_LIVE_GROQ_CHAT."""
    preset = PRESETS.get(name)
    url = base_url or (preset.base_url if preset is not None else "")
    return Provider(
        name=name,
        key_env=key_env or (preset.key_env if preset is not None else ""),
        base_url=ENV.get(f"HEADWAY_LIVE_{name.upper()}_URL", url),
        models={kind: ENV.get(f"HEADWAY_LIVE_{name.upper()}_{kind.upper()}", model) for kind, model in models.items()},
    )


def _azure_url() -> str:
    endpoint = ENV.get("AZURE_OPENAI_ENDPOINT", "").rstrip("/")
    return f"{endpoint}/openai/v1" if endpoint else ""


PROVIDERS = (
    _provider("openai", chat="gpt-4.1-nano", responses="gpt-4.1-nano", embeddings="text-embedding-3-small"),
    _provider("anthropic", "https://api.anthropic.com/v1", "ANTHROPIC_API_KEY", messages="claude-haiku-4-5"),
    _provider("azure", _azure_url(), chat=ENV.get("AZURE_OPENAI_DEPLOYMENT", "")),
    _provider("groq", chat="llama-3.1-8b-instant"),
    _provider("mistral", chat="mistral-small-latest", embeddings="mistral-embed"),
    _provider("gemini", chat="gemini-2.5-flash-lite", embeddings="gemini-embedding-001"),
)


class Row(msgspec.Struct, kw_only=True):
    """One check, as the table at the end shows it."""

    provider: str
    kind: str
    door: str
    model: str
    outcome: str = "failed"
    total_s: float = 0.0
    tokens: str = ""
    dollars: float | None = None


class Purse:
    """What is left of the dollars, over all checks."""

    def __init__(self, total_usd: float = TOTAL_USD) -> None:
        self.left_usd = total_usd
        self.rows: list[Row] = []

    def take(self) -> float:
        """What the next check may spend; it is gone until `back` says what it took."""
        cap = min(CHECK_USD, self.left_usd)
        self.left_usd -= cap
        return cap

    def back(self, cap: float, spent: float | None) -> None:
        """A check is over; what nobody can tell counts as all of it."""
        self.left_usd += cap - min(cap, cap if spent is None else spent)


PURSE = Purse()


def config_file(folder: Path, provider: Provider, model: str, cap: float) -> Path:
    """Settings for one check: its address, its key's variable, its cap, and a price where none is listed."""
    key_env = NO_KEY if "messages" in provider.models else provider.key_env
    lines = [f'base_url = "{provider.base_url}"', f'api_key_env = "{key_env}"', f"budget_usd = {cap}"]
    lines += ['log = "off"', 'log_level = "off"', "attempts_max = 2", "timeout_s = 60"]
    origin = provider.base_url.rpartition("/v1")[0] or provider.base_url
    if Prices().rates(model, origin) is None:
        price = f"input_usd = {ASSUMED_USD_PER_MTOK}\noutput_usd = {ASSUMED_USD_PER_MTOK}"
        lines += ["[[upstream]]", 'name = "priced"', f'base_url = "{provider.base_url}"', price]
    file = folder / f"{provider.name}.toml"
    file.write_text("\n".join(lines) + "\n", "utf-8")
    return file

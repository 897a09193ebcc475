"""The API's own description is true: whatever it allows is answered as it says, and what it does not is refused."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis.errors import Unsatisfiable
from schemathesis import Case, GenerationMode
from schemathesis.specs.openapi.checks import ignored_auth

from tests.gateway.admin_helpers import ask, get, made, served, when
from tests.gateway.helpers import within

EXAMPLES = 5
BOUNDED = settings(
    max_examples=EXAMPLES,
    deadline=None,
    derandomize=True,
    database=None,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)


def tried(url: str, headers: dict[str, str], mode: GenerationMode) -> int:
    """Ask what the description allows (or does not); how often. Raises where an answer is not as it says."""
    schema = schemathesis.openapi.from_url(f"{url}/api/openapi.json", headers=headers)
    schema.config.update(headers=headers)
    count = 0
    for found in schema.get_all_operations():
        operation = found.ok()
        if operation.path == "/api/live":
            continue  # it has no end; see test_admin_live

        @BOUNDED
        @given(case=operation.as_strategy(generation_mode=mode))
        def ask_for(case: Case) -> None:
            nonlocal count
            count += 1
            # A wrong cookie beside a right key is no way in, but this check takes it for one; see test_admin_access.
            case.call_and_validate(timeout=20, excluded_checks=[ignored_auth] if headers else [])

        try:
            ask_for()
        except Unsatisfiable:
            assert mode is GenerationMode.NEGATIVE  # there is nothing to be wrong with
    return count


@pytest.mark.parametrize("mode", [GenerationMode.POSITIVE, GenerationMode.NEGATIVE], ids=["as-described", "otherwise"])
@pytest.mark.parametrize("keyed", [False, True], ids=["without-keys", "with-an-admins-key"])
def test_every_answer_is_as_the_description_says(tmp_path: Path, mode: GenerationMode, keyed: bool) -> None:
    """No 500, nothing undocumented, every document of its schema; what is malformed is refused."""
    path = tmp_path / "keys"
    admin = made(path, "me", admin=True) if keyed else ""
    settings_: dict[str, Any] = {"keys": str(path)} if keyed else {}
    headers = {"Authorization": f"Bearer {admin}"} if keyed else {}

    async def main() -> None:
        async with served(tmp_path, **settings_) as client:
            await ask(client, key=admin)
            client.headers.update(headers)
            await when(client, "/api/overview", lambda found: found["totals"]["calls"] == 1)
            count = await asyncio.to_thread(tried, str(client.base_url), headers, mode)
            assert count >= 5 * EXAMPLES

    asyncio.run(asyncio.wait_for(main(), 120))


def test_the_description_names_all_there_is(tmp_path: Path) -> None:
    """Every path of it answers, and says who may ask."""

    async def main() -> None:
        async with served(tmp_path) as client:
            found = await get(client, "/api/openapi.json")
            assert found["openapi"] == "3.1.0"
            for path, methods in found["paths"].items():
                plain = path.replace("{id}", "x").replace("{name}", "x").replace("{run}", "x")
                for method in methods:
                    if plain != "/api/live":
                        reply = await client.request(method.upper(), plain)
                        assert reply.status_code != 405
                        assert str(reply.status_code) in methods[method]["responses"]
            assert "Overview" in found["components"]["schemas"]

    within(main())

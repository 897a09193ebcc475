"""The official packages for Node.js from npm, unchanged: their own tests, run by Node's runner."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.environments import node_version
from tests.gateway.clients.conftest import node

HERE = Path(__file__).parent

pytestmark = pytest.mark.skipif(node_version() < (20,), reason="there is no Node.js of 20 or newer with npm")


@pytest.mark.parametrize("name", ["openai", "anthropic"])
def test_the_package_for_node_js(name, house, packages, tmp_path):
    """Whole and streamed answers, lists, files, errors; what is left is ended at the provider."""
    said = node(packages, tmp_path, HERE / f"{name}.test.mjs", "--test", env=house.env())
    assert "# fail 0" in said
    assert "# skipped 0" in said
    if name == "openai":
        for model in ("gpt-4-turbo", "gpt-3.5-turbo"):
            assert house.booked(lambda row, model=model: row["model"] == model)["aborted"]

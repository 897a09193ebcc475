"""The house's own rules, beyond what the linters check."""

from __future__ import annotations

import ast
import re
from functools import lru_cache
from pathlib import Path

import pytest

SRC = Path(__file__).parents[1] / "src" / "headway"
MODULES = sorted(SRC.rglob("*.py"))
PURE = [path for path in MODULES if path.parent.name in ("policy", "types")]
IMPURE = {
    "asyncio",
    "time",
    "random",
    "socket",
    "ssl",
    "http",
    "httpx2",
    "httpx",
    "threading",
    "logging",
    "datetime",
}


def of_each(modules: list[Path]) -> pytest.MarkDecorator:
    """All tests of a module follow each other, which the scope is for: it is parsed once."""
    return pytest.mark.parametrize("module", modules, ids=lambda p: str(p.relative_to(SRC)), scope="module")


@lru_cache(maxsize=1)
def nodes_of(module: Path) -> tuple[ast.AST, ...]:
    """The module itself, and all nodes below it."""
    return tuple(ast.walk(ast.parse(module.read_text("utf-8"))))


@of_each(MODULES)
def test_a_module_is_small_and_says_what_it_is(module):
    """At most 300 lines, functions at most 75, and a docstring in front."""
    text = module.read_text("utf-8")
    assert len(text.splitlines()) <= 300
    nodes = nodes_of(module)
    assert ast.get_docstring(nodes[0]), "a module says what it is for"
    for node in nodes:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            assert node.end_lineno - node.lineno < 75, f"{node.name} is too long"


@of_each(MODULES)
def test_no_broad_except_no_global_no_todo(module):
    """Errors are caught by name, state has an owner, and nothing is left for later."""
    for node in nodes_of(module):
        assert not isinstance(node, ast.Global), f"line {node.lineno}: global"
        if isinstance(node, ast.ExceptHandler):
            names = [n.id for n in ast.walk(node.type) if isinstance(n, ast.Name)] if node.type else ["bare"]
            broad = {"bare", "Exception", "BaseException"} & set(names)
            reraises = any(isinstance(n, ast.Raise) and n.exc is None for n in ast.walk(node))
            assert not broad or reraises, f"line {node.lineno}: a broad except that swallows"
    assert not re.search(r"TODO|FIXME|XXX|raise NotImplementedError", module.read_text("utf-8"))


@of_each(PURE)
def test_policies_are_pure(module):
    """No clock, no dice, no network: `random` is imported for the type `Random` alone."""
    for node in nodes_of(module):
        if isinstance(node, ast.Import):
            assert not IMPURE & {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = {alias.name for alias in node.names}
            assert node.module.partition(".")[0] not in IMPURE or (node.module == "random" and names == {"Random"})
        if module.parent.name == "policy":
            assert not isinstance(node, ast.AsyncFunctionDef | ast.Await)


@of_each(MODULES)
def test_no_provider_branches_outside_wire(module):
    """No ``if provider == "openai"``: what differs between providers is a reader's business (or the simulator's)."""
    if module.relative_to(SRC).parts[0] in ("wire", "sim"):
        return
    names = {"openai", "anthropic", "azure", "groq", "mistral", "gemini", "google", "deepseek"}
    for node in nodes_of(module):
        if isinstance(node, ast.Compare):
            words = {
                n.value.lower() for n in ast.walk(node) if isinstance(n, ast.Constant) and isinstance(n.value, str)
            }
            assert not names & words, f"line {node.lineno}"

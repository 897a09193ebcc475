"""The API's own description, made of the very structs that are sent."""

from __future__ import annotations

from functools import cache
from typing import Any, Final

import msgspec

from headway.gateway.app.admin.keys import KeyLines
from headway.gateway.app.admin.queries import FILTERS, ID, NAME, PAGED, PARAMETERS
from headway.gateway.app.admin.said import Problem, Session, SignIn
from headway.insight.details import CallDetail, PipelineLines, RunDetail, RunLines
from headway.insight.documents import CallLines, Overview

__all__ = ["openapi"]

_SENT: Final = (
    Problem, Session, SignIn, Overview, CallLines, CallDetail, PipelineLines, RunLines, RunDetail, KeyLines
)  # fmt: skip
_REASONS: Final = {
    401: "nobody is signed in, or the key is wrong",
    403: "an origin or a key that may not",
    404: "there is none of that name",
    408: "the body did not come in time",
    413: "the body is too large",
    415: "the body is no JSON",
    421: "a host that is not this machine",
    422: "a parameter or the body is wrong",
    429: "too many wrong keys came from there",
    503: "not available at present",
}
_ALWAYS: Final = (401, 403, 421, 422, 429, 503)
_JSON: Final = "application/json"


@cache
def openapi(*, needs_key: bool) -> bytes:
    """OpenAPI 3.1, as JSON; with the keys that are needed, if they are."""
    from headway import __version__

    _, schemas = msgspec.json.schema_components(_SENT, ref_template="#/components/schemas/{name}")
    schemes = {
        "session": {"type": "apiKey", "in": "cookie", "name": "headway_session"},
        "key": {"type": "http", "scheme": "bearer"},
    }
    return msgspec.json.encode(
        {
            "openapi": "3.1.0",
            "info": {
                "title": "Headway's admin API",
                "version": __version__,
                "description": "What the dashboard shows. It reads; nothing but the session is changed here.",
            },
            "servers": [{"url": "/"}],
            "security": [{"session": []}, {"key": []}] if needs_key else [],
            "paths": _paths(),
            "components": {"schemas": schemas, "securitySchemes": schemes},
        }
    )


def _paths() -> dict[str, Any]:
    sign_in = {
        "required": True,
        "content": {_JSON: {"schema": _ref("SignIn")}},
    }
    return {
        "/api/session": {
            "get": _operation("Who is signed in.", "Session", free=True),
            "post": _operation("Sign in: sets a cookie.", "Session", more=(408, 413, 415), free=True, body=sign_in),
            "delete": _operation("Sign out.", "Session", free=True),
        },
        "/api/overview": {"get": _operation("The first view.", "Overview", FILTERS)},
        "/api/live": {
            "get": _operation(
                "The same again about once a second, as server-sent events named overview.",
                "", FILTERS, type_="text/event-stream",
            )
        },
        "/api/calls": {"get": _operation("Calls that have ended, the latest first.", "CallLines", PAGED)},
        "/api/calls/{id}": {"get": _operation("One call.", "CallDetail", path=("id", ID), more=(404,))},
        "/api/pipelines": {"get": _operation("Pipelines that ran.", "PipelineLines", ("window_s",))},
        "/api/pipelines/{name}/runs": {
            "get": _operation("A pipeline's runs, the latest first.", "RunLines", path=("name", NAME), more=(404,))
        },
        "/api/runs": {
            "get": _operation(
                "The same of a pipeline whose name is no plain word.", "RunLines", ("pipeline",), required=True
            )
        },
        "/api/runs/{run}": {"get": _operation("One run.", "RunDetail", path=("run", NAME), more=(404,))},
        "/api/keys": {"get": _operation("Keys, their limits, and what they spent.", "KeyLines")},
        "/api/keys/spend.csv": {
            "get": _operation("What each key spent in each month.", "", ("month",), type_="text/csv")
        },
        "/api/openapi.json": {"get": _operation("This.", "", schema={"type": "object"})},
    }  # fmt: skip


def _operation(
    summary: str,
    sent: str,
    parameters: tuple[str, ...] = (),
    *,
    type_: str = _JSON,
    schema: dict[str, Any] | None = None,
    path: tuple[str, str] | None = None,
    more: tuple[int, ...] = (),
    free: bool = False,
    required: bool = False,
    body: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """One operation; what it sends is a struct's name, or `schema`, or text."""
    content = schema or (_ref(sent) if sent else {"type": "string"})
    responses: dict[str, Any] = {"200": {"description": "as asked", "content": {type_: {"schema": content}}}}
    for status in sorted({*_ALWAYS, *more}):
        responses[str(status)] = {"description": _REASONS[status], "content": {_JSON: {"schema": _ref("Problem")}}}
    named: list[dict[str, Any]] = [
        {"name": name, "in": "query", "required": required, "schema": PARAMETERS[name]} for name in parameters
    ]
    if path is not None:
        schema_of = {"type": "string", "pattern": f"^{path[1]}$"}
        named.insert(0, {"name": path[0], "in": "path", "required": True, "schema": schema_of})
    found: dict[str, Any] = {"summary": summary, "parameters": named, "responses": responses}
    return found | ({"security": []} if free else {}) | ({"requestBody": body} if body is not None else {})


def _ref(name: str) -> dict[str, str]:
    return {"$ref": f"#/components/schemas/{name}"}

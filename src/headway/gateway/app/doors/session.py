"""Whose a browser's session is: what the admin API's cookie stands for."""

from __future__ import annotations

import time

from headway.gateway.app.admin.access import cookie_of, session_key
from headway.gateway.keys import Admitted
from headway.gateway.request import Refused, Request
from headway.gateway.serving import Serving
from headway.types import Headers

__all__ = ["has_session", "key_of_session"]


def has_session(headers: Headers) -> bool:
    """Whether such a cookie came along, good or not."""
    return bool(cookie_of(Request("GET", "/", headers)))


def key_of_session(serving: Serving, headers: Headers) -> Admitted | None:
    """The key that the request's session cookie was made with; None where there is none, or none that holds."""
    cookie = cookie_of(Request("GET", "/", headers))
    if not cookie or not serving.gate.keyed:
        return None
    try:
        key = session_key(serving.keys, cookie, time.time())
    except Refused:
        return None
    return serving.keys.admitted(key.id)

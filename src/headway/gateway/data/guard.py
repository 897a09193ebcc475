"""What a request's raw path, host and origin must be like, whoever sends it. Source: FACTS section 9.

Paths are judged as they were written, before anybody decodes or normalises them: what is not plain is refused.
"""

from __future__ import annotations

import re
from functools import lru_cache
from ipaddress import ip_address
from typing import Final
from urllib.parse import urlsplit

from headway.gateway.request import Refused, Request

__all__ = ["check_path", "is_data", "is_loopback", "is_own", "loopback_only"]

PATH_CHARS_MAX: Final = 2048
_SEGMENT: Final = r"(?!\.\.?(?:/|$))(?:[A-Za-z0-9._~@:!$&'()*+,;=-]|%3[Aa])+"
_PATH: Final = re.compile(rf"/v1(?:/{_SEGMENT})+")
"""Plain segments below /v1, none of them "." or ".."; the one escape that SDKs need is the colon's (model names)."""
_ODD: Final = re.compile(r"//|/\.|%|\\|;")


def is_data(target: str) -> bool:
    """Whether a raw target is the data plane's: all below /v1, and all that might mean it by another spelling."""
    path = target.partition("?")[0]
    return path == "/v1" or path.startswith("/v1/") or _ODD.search(path) is not None


def check_path(path: str) -> None:
    """Raises `Refused` unless the path, without its query, is a plain one below /v1."""
    if len(path) > PATH_CHARS_MAX or _PATH.fullmatch(path) is None:
        raise Refused(404, "there is nothing at this path; write it plainly, such as /v1/chat/completions", "not_found")


def loopback_only(request: Request) -> None:
    """Without keys: whoever asks must mean this machine.

    A web page that a browser on this machine shows can send requests here, under a name of its own that leads to the
    loopback, or from its own origin. Neither may spend the provider's key.

    Raises:
        Refused: The host is another's name, or another origin's page asks.
    """
    if "here" in request.notes:
        return
    host = origin = ""
    for name, value in request.headers:
        if name == "host":
            host = value
        elif name == "origin":
            origin = value
    if host and not is_loopback(host):
        raise Refused(421, "this gateway has no keys, so it answers to localhost only", "misdirected_request")
    if origin and origin != f"http://{host}":
        raise Refused(403, "this gateway has no keys, so web pages of other origins may not use it", "foreign_origin")
    request.notes["here"] = True


@lru_cache(maxsize=256)
def is_loopback(host: str) -> bool:
    """Whether a host, with or without a port, is this machine's own by its very name."""
    try:
        name = urlsplit(f"//{host}").hostname or ""
        return name == "localhost" or ip_address(name).is_loopback
    except ValueError:
        return False


def is_own(url: str, host: str) -> bool:
    """Whether an origin or a page's address is of this host; a proxy in front may have changed the scheme."""
    try:
        return bool(host) and urlsplit(url).netloc.lower() == host.lower()
    except ValueError:
        return False

"""Who may see the operator's pages: whoever has an admin key, or, where there are no keys, whoever is on this machine.

A browser gets a cookie for its key. It names the secret's public id and its own end, under a code made with the digest
that is kept of the secret: every worker can check it, nothing is kept of it, and with the key it ends.
"""

from __future__ import annotations

import hmac
import time
from collections import OrderedDict
from collections.abc import Callable
from hashlib import sha256
from typing import Final

from headway.gateway.app.admin.said import TooMany
from headway.gateway.data.guard import is_own, loopback_only
from headway.gateway.keys import Keys
from headway.gateway.keys.text import in_headers, split
from headway.gateway.request import Refused, Request
from headway.gateway.serving import Serving
from headway.policy.keys import Key, ends_wall_s

__all__ = ["COOKIE", "SESSION_S", "Access", "cookie_of", "session_key"]

COOKIE: Final = "headway_session"
SESSION_S: Final = 12 * 3600.0
FAILURES_MAX, FAILURES_S = 10, 60.0
"""Wrong keys from one address in so long; more of them are not told what is wrong."""
ADDRESSES_MAX: Final = 4_096
COOKIE_CHARS_MAX: Final = 256
_PURPOSE: Final = b"headway session 1"


class Access:
    """See the module.

    Args:
        serving: What the process runs on.
    """

    def __init__(self, serving: Serving) -> None:
        self._serving = serving
        self._failures: OrderedDict[str, list[float]] = OrderedDict()

    def needs_key(self) -> bool:
        """Whether one has to sign in."""
        return self._serving.gate.keyed

    def who(self, request: Request) -> str:
        """The name of whoever asks; "" where there are no keys. Raises `Refused` where he may not."""
        _same_origin(request)
        if not self.needs_key():
            loopback_only(request)
            return ""
        keys = self._serving.keys
        if in_headers(request.headers) == "" and (cookie := cookie_of(request)):
            return session_key(keys, cookie, time.time()).name
        if in_headers(request.headers) == "":
            raise Refused(401, "sign in with an admin key, or send one (Authorization: Bearer hw-...)", "signed_out")
        return keys.admin(request.headers).name

    def sign_in(self, request: Request, text: str, address: str) -> tuple[str, str]:
        """The name of a key, and the value of a cookie for it.

        Args:
            request: Its head.
            text: The key.
            address: Where it comes from: wrong keys are counted by that, in each process.

        Raises:
            Refused: It is no admin's key, or too many were wrong.
        """
        _same_origin(request, writes=True)
        if not self.needs_key():
            loopback_only(request)
            return "", ""
        keys = self._serving.keys
        key = self._counted(address, lambda: keys.admin_text(text))
        parts = split(text.strip())
        assert parts is not None  # or it would have been refused
        row = keys.known.secrets[parts[0]]
        end = int(min(time.time() + SESSION_S, row.until_wall_s, ends_wall_s(keys.known.chain(row.key))))
        return key.name, f"{row.id}.{end}.{_code(row.digest, row.id, end)}"

    def sign_out(self, request: Request) -> None:
        """Raises `Refused` where another page asks for it."""
        _same_origin(request, writes=True)
        if not self.needs_key():
            loopback_only(request)

    def _counted(self, address: str, look: Callable[[], Key]) -> Key:
        """Look at a key. Who sent too many wrong ones lately is only told to wait; the right one is let in always.

        Many may share an address (a proxy's), and none of them is to keep the operator out.
        """
        try:
            return look()
        except Refused:
            now_s = time.monotonic()
            wrong = [at_s for at_s in self._failures.get(address, ()) if now_s - at_s < FAILURES_S]
            if len(wrong) >= FAILURES_MAX:
                raise TooMany(wrong[0] + FAILURES_S - now_s) from None
            self._failures[address] = [*wrong, now_s]
            self._failures.move_to_end(address)
            if len(self._failures) > ADDRESSES_MAX:
                self._failures.popitem(last=False)
            raise


def cookie_of(request: Request) -> str:
    """The session's cookie; "" where there is none."""
    for name, value in request.headers:
        if name == "cookie":
            for part in value.split(";"):
                own, _, text = part.strip().partition("=")
                if own == COOKIE:
                    return text[:COOKIE_CHARS_MAX]
    return ""


def session_key(keys: Keys, cookie: str, now_wall_s: float) -> Key:
    """The admin's key that a cookie was made for. Raises `Refused` where it holds no more, or never did."""
    gone = Refused(401, "the session has ended; sign in again", "signed_out")
    id_, _, rest = cookie.partition(".")
    text, _, code = rest.partition(".")
    known = keys.known
    row = known.secrets.get(id_)
    if row is None or not (text.isascii() and text.isdigit() and len(text) <= 12) or not code.isascii():
        raise gone
    if not hmac.compare_digest(code, _code(row.digest, id_, int(text))):
        raise gone
    chain = known.chain(row.key)
    if not chain or min(int(text), row.until_wall_s, ends_wall_s(chain)) <= now_wall_s:
        raise gone
    if not all(key.admin for key in chain):
        raise gone
    return chain[0]


def _code(digest: bytes, id_: str, end: int) -> str:
    own = hmac.new(digest, _PURPOSE, sha256).digest()
    return hmac.new(own, f"{id_}.{end}".encode(), sha256).hexdigest()


def _same_origin(request: Request, *, writes: bool = False) -> None:
    """Pages of other origins may neither read nor write here.

    Browsers say where a request comes from (`Sec-Fetch-Site`), and older ones at least which origin writes.

    Raises:
        Refused: Another origin's page asks.
    """
    site, origin, host = (request.header(name) for name in ("sec-fetch-site", "origin", "host"))
    foreign = site not in ("", "same-origin", "none")
    if origin and (not site or (site == "none" and writes)):
        foreign = not is_own(origin, host)
    if foreign:
        raise Refused(403, "pages of other origins may not use this", "foreign_origin")

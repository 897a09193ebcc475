"""Who stands at a simple door, and whether a page of another origin has sent him.

A browser carries a signed-in operator's cookie, and what a gateway without keys trusts (this machine), to wherever any
page sends it. A question costs money, so it is taken from this gateway's own pages and from programs, from no other
page. Sources: W3C, "Fetch Metadata Request Headers"; FACTS section 9.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from headway.gateway.app.doors.session import has_session, key_of_session
from headway.gateway.data.guard import is_own
from headway.gateway.request import Refused, Request
from headway.gateway.serving import Serving
from headway.types import Headers
from headway.wire.realtime import KEY_PROTOCOLS

__all__ = ["Visitor"]

_CARRIED: Final = frozenset("authorization host openai-beta origin traceparent tracestate user-agent x-api-key".split())
_CONTROL: Final = "headway-"
_CREDENTIALS: Final = ("authorization", "x-api-key")
_KEY_NOTE: Final = "key"
_JSON: Final = (("accept", "text/event-stream"), ("content-type", "application/json"))


class Visitor:
    """See the module.

    Args:
        serving: Where he is.
        headers: As ASGI has them: names in lower case.
    """

    def __init__(self, serving: Serving, headers: Iterable[tuple[bytes, bytes]]) -> None:
        self._serving = serving
        self.headers: Headers = tuple((name.decode("latin-1"), value.decode("latin-1")) for name, value in headers)
        self._told: Headers = tuple(
            pair for pair in self.headers if pair[0] in _CARRIED or pair[0].startswith(_CONTROL)
        )

    def header(self, name: str) -> str:
        """The first header of that (lower-case) name; "" if there is none."""
        return next((value for own, value in self.headers if own == name), "")

    @property
    def shows_key(self) -> bool:
        """Whether he shows a key himself, good or not; his browser's cookie is another matter."""
        return any(name in _CREDENTIALS for name, _ in self._told)

    def bring(self, key: str) -> None:
        """He shows a key by another way than a header."""
        others = tuple(pair for pair in self._told if pair[0] not in _CREDENTIALS)
        self._told = (*others, ("authorization", f"Bearer {key}"))

    def protocols(self) -> tuple[str, str]:
        """What a browser's WebSocket says, which can send no headers: a subprotocol to agree on, and a key; or ""."""
        offered = [part.strip() for part in self.header("sec-websocket-protocol").split(",") if part.strip()]
        key, agreed = "", ""
        for name in offered:
            prefix = next((one for one in KEY_PROTOCOLS if name.startswith(one)), None)
            if prefix is not None:
                key = key or name[len(prefix) :]
            else:
                agreed = agreed or name
        return agreed, key

    def request(self, method: str, target: str, body: bytes = b"") -> Request:
        """A request of his to the data plane: what is written here is judged there, like any other."""
        made = Request(method, target, (*self._told, *_JSON), body)
        if not self.shows_key:
            admitted = key_of_session(self._serving, self.headers)
            if admitted is not None:
                made.notes[_KEY_NOTE] = admitted
        return made

    def check_key(self) -> None:
        """Raises `Refused` where his key is none, or he may not come in; what it may do, each question shows."""
        try:
            self._serving.check(self.request("POST", "/v1/chat/completions"))
        except Refused as refused:
            if refused.code != "path_not_allowed":
                raise

    def check_site(self) -> None:
        """Raises `Refused` where a page of another origin asks."""
        site, origin, host = self.header("sec-fetch-site"), self.header("origin"), self.header("host")
        foreign = site not in ("", "none", "same-origin") or (origin != "" and not is_own(origin, host))
        if not foreign and not site and not origin and not self.shows_key:
            # Perhaps a browser too old to say who sent it, or one on a plain address: then its page must be ours.
            # Programs name none, and need none where there are no keys.
            referer = self.header("referer")
            foreign = (referer != "" or has_session(self.headers)) and not is_own(referer, host)
        if foreign:
            raise Refused(403, "web pages of other origins may not ask here; serve yours from this gateway, or have "
                          "your own server ask /v1", "foreign_origin")  # fmt: skip

    def check_purpose(self) -> None:
        """Raises `Refused` where nobody has asked yet: what is fetched ahead would be paid for."""
        purpose = f"{self.header('sec-purpose')} {self.header('purpose')} {self.header('x-moz')}".lower()
        if "prefetch" in purpose or "prerender" in purpose or "preview" in purpose:
            raise Refused(503, "this is not fetched ahead, for it costs money", "prefetch")

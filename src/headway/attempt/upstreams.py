"""The configured upstreams: what each is, which of them may answer a call, and what it costs there.

An upstream is one key at one address, with models of one quality. It joins in only for calls to the origin that it
stands in for, and its credential goes to its own origin only. Source: FACTS section 9.
"""

from __future__ import annotations

from urllib.parse import urlsplit

import msgspec
from msgspec.structs import force_setattr, replace

from headway.policy.fingerprint import tenant_of
from headway.policy.limits import LimitSettings
from headway.types import Call, Usage
from headway.types.secret import Secret
from headway.wire import model_in_path
from headway.wire.endpoints import credential, endpoint_of
from headway.wire.prices import Prices, Rates, Tier, tier_ratio
from headway.wire.splice import with_model

__all__ = ["Upstream", "UpstreamPrices", "origin_of", "to_upstream"]

_CARRIED = frozenset(
    "accept anthropic-beta anthropic-version content-type openai-beta traceparent tracestate user-agent".split()
)
"""The client's headers that another origin may see: a list of what is known to hold no secret, all else stays here."""
_FLEX = b'"service_tier":"flex"'


class Upstream(msgspec.Struct, frozen=True, kw_only=True):
    """One `[[upstream]]` entry, checked."""

    name: str
    base_url: str
    key_env: str = ""
    """The variable that holds its key. Without one the client's own credential goes along where the origin is the
    request's own, and none anywhere else."""
    key: Secret | None = None
    """What that variable holds."""
    stands_in_for: str = ""
    """The origin whose calls it may answer; its own where none is named."""
    region: str = ""
    models: dict[str, str] = {}
    """What the client asks for -> what this upstream calls it. Empty: every model, under its own name."""
    tier: str = ""
    """Latency class of its models."""
    quality: float = 5.0
    """Of its models, 0-10."""
    input_usd: float | None = None
    output_usd: float | None = None
    """Dollars per million tokens, where they are not the price list's."""
    flex: bool = False
    """Whether it knows the flex service tier."""
    endpoints: tuple[str, ...] = ()
    """What can be posted to it ("/chat/completions"); empty: everything."""
    limits: LimitSettings | None = None
    quota: str = ""
    """What its key counts towards: entries of the same quota share one limit. Empty: the key stands for itself."""
    origin: str = ""
    """Scheme and host of `base_url`; derived."""
    prefix: str = ""
    """Path of `base_url`; derived."""
    tenant: str = ""
    """Digest of the key; derived."""

    def __post_init__(self) -> None:
        """Take the address apart once."""
        force_setattr(self, "origin", origin_of(self.base_url))
        force_setattr(self, "prefix", urlsplit(self.base_url).path.rstrip("/"))
        force_setattr(self, "tenant", tenant_of((("authorization", self.key.reveal()),)) if self.key else "")

    def serves(self, call: Call) -> bool:
        """Whether it stands in for the call's origin and has its endpoint."""
        if (self.stands_in_for or self.origin) != call.origin:
            return False
        endpoint = endpoint_of(call.path)
        return bool(endpoint) and (not self.endpoints or endpoint in self.endpoints)

    def model_for(self, model: str) -> str:
        """What it calls `model`; "" when it does not have it."""
        return self.models.get(model, "") if self.models else model

    @property
    def alias_model(self) -> str:
        """The model that answers for a latency class; "" when none is listed."""
        return next(iter(self.models.values()), "")

    def rates(self) -> Rates | None:
        """Its own price, when one is set."""
        if self.input_usd is None and self.output_usd is None:
            return None
        input_, output = (self.input_usd or 0.0) / 1e6, (self.output_usd or 0.0) / 1e6
        return Rates(base=Tier(input=input_, cached=input_, cache_write=input_, cache_write_1h=input_, output=output))


class UpstreamPrices(Prices):
    """The price list, with the upstreams' own prices in front of it."""

    __slots__ = ("_own",)

    def __init__(self, upstreams: tuple[Upstream, ...]) -> None:
        super().__init__()
        self._own: dict[tuple[str, str], Rates] = {}
        for upstream in upstreams:
            rates = upstream.rates()
            if rates is not None:
                for model in upstream.models.values() or ("",):
                    self._own[upstream.origin, model] = rates

    def _look_up(self, model: str, origin: str) -> Rates | None:
        own = self._own.get((origin, model)) or self._own.get((origin, ""))
        return own or super()._look_up(model, origin)

    def dollars(self, call: Call, usage: Usage) -> float | None:
        """What `usage` costs for a call as it was sent, its tier included; None when unknown."""
        rates = self.rates(call.view.model, call.origin)
        if rates is None:
            return None
        return rates.dollars(usage) * tier_ratio(call.body)


def origin_of(url: str) -> str:
    """Scheme, host and port of a URL, as calls carry them: lower case, without the scheme's own port."""
    parts = urlsplit(url.lower())
    default = ":443" if parts.scheme == "https" else ":80"
    return f"{parts.scheme}://{parts.netloc.removesuffix(default)}"


def to_upstream(call: Call, upstream: Upstream, model: str, *, flex: bool) -> Call:
    """The call as it goes to `upstream`: its address, its credential, its name for the model.

    Where the origin is the client's own and the upstream has no key of its own, headers and path stay as they are.
    """
    body, view = call.body, call.view
    stays = upstream.origin == call.origin and not upstream.key_env
    if model != view.model or (not stays and model_in_path(call.path)):
        body, view = with_model(body, model) or body, replace(view, model=model)
    if flex and b'"service_tier"' not in body:
        brace = body.index(b"{") + 1
        body = body[:brace] + _FLEX + b"," + body[brace:]
    if stays:
        return replace(call, body=body, view=view)
    endpoint = endpoint_of(call.path)
    headers = tuple([pair for pair in call.headers if pair[0] in _CARRIED])
    if upstream.key is not None:
        headers = (*headers, credential(endpoint, upstream.key.reveal()))
    return replace(
        call,
        origin=upstream.origin,
        path=upstream.prefix + endpoint,
        headers=headers,
        tenant=upstream.tenant,
        body=body,
        view=view,
    )

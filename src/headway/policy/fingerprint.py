"""Who asks, and what exactly is asked: the tenant's digest and the key of an answer.

Source: FACTS section 5 (exact key) and section 9 (keys carry the full credential's digest). Header names are
lower case, as everywhere in Headway.
"""

from __future__ import annotations

from hashlib import sha256

from headway.types import Headers

__all__ = ["fingerprint", "tenant_of", "version_headers_of"]

_CREDENTIALS = frozenset(
    "authorization x-api-key api-key x-goog-api-key openai-organization openai-project cookie".split()
)
_NO_MATTER = frozenset(
    """
    accept baggage b3 connection content-length content-type date expect forwarded host idempotency-key keep-alive
    origin referer sentry-trace te traceparent tracestate trailer transfer-encoding upgrade user-agent via
    x-amzn-trace-id x-client-request-id x-cloud-trace-context x-correlation-id x-forwarded-for x-forwarded-host
    x-forwarded-port x-forwarded-proto x-request-id
    """.split()
)
"""Transport, and the way a request came: headers that no provider answers by. Who asks is another matter: a gateway
may say so in x-forwarded-user or x-forwarded-access-token."""
_NO_MATTER_PREFIXES = (
    "accept-", "content-", "headway-", "proxy-", "sec-", "x-b3-", "x-datadog-", "x-stainless-",
)  # fmt: skip


def tenant_of(headers: Headers) -> str:
    """The whole credential's SHA-256 in 64 hex digits, organisation and project included; "" when there is none.

    Two credentials that differ in any byte are two tenants; the credential cannot be got back from the
    digest.
    """
    pairs = [pair for pair in headers if pair[0] in _CREDENTIALS]
    if not pairs:
        return ""
    return sha256(_encode(pairs)).hexdigest()


def version_headers_of(headers: Headers) -> Headers:
    """The headers that may change the answer, sorted by name (repeated ones keep their order).

    All but those known not to matter, as with a body's fields: a header nobody here has heard of may choose the API's
    version, a beta or another behaviour. Credentials are the tenant's.
    """
    pairs = [
        pair
        for pair in headers
        if pair[0] not in _NO_MATTER and pair[0] not in _CREDENTIALS and not pair[0].startswith(_NO_MATTER_PREFIXES)
    ]
    if len(pairs) > 1:
        pairs.sort(key=_name)
    return tuple(pairs)


def fingerprint(
    *, schema: int, tenant: str, endpoint: str, origin: str, version_headers: Headers, canonical: bytes
) -> bytes:
    """The 32-byte SHA-256 that an answer is stored and shared under.

    Every part but the last is prefixed with its length, so different parts never run together into the same
    bytes.

    Args:
        schema: Version of what the canonical body leaves out; changing that changes every key.
        tenant: What keeps tenants apart, from `tenant_of` or a virtual key's id.
        endpoint: The path asked for.
        origin: Scheme and host, or the route that stands for them.
        version_headers: From `version_headers_of`.
        canonical: The reader's canonical body.
    """
    parts = f"{schema}:{len(tenant)}:{tenant}{len(endpoint)}:{endpoint}{len(origin)}:{origin}"
    head = f"{parts}{len(version_headers)}:".encode("utf-8", "surrogatepass")
    if version_headers:
        head += _encode(version_headers)
    digest = sha256(head)
    digest.update(canonical)
    return digest.digest()


def _encode(pairs: Headers | list[tuple[str, str]]) -> bytes:
    """Name-value pairs, sorted by name, each part prefixed with its length in characters."""
    if len(pairs) > 1:
        pairs = sorted(pairs, key=_name)
    text = "".join([f"{len(name)}:{name}{len(value)}:{value}" for name, value in pairs])
    return text.encode("utf-8", "surrogatepass")


def _name(pair: tuple[str, str]) -> str:
    return pair[0]

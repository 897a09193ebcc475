"""Who asks, and what exactly is asked: the tenant's digest and the key of an answer.

Source: FACTS section 5 (exact key) and section 9 (keys carry the full credential's digest). Header names are
lower case, as everywhere in Headway.
"""

from __future__ import annotations

from hashlib import sha256

from headway.types import Headers

__all__ = ["fingerprint", "tenant_of", "version_headers_of"]

_CREDENTIALS = frozenset(
    ("authorization", "x-api-key", "api-key", "x-goog-api-key", "openai-organization", "openai-project")
)
_VERSIONS = frozenset(("anthropic-version", "anthropic-beta", "openai-beta", "openai-version", "api-version"))


def tenant_of(headers: Headers) -> str:
    """16 hex digits for the whole credential, organisation and project included; "" when there is none.

    Two credentials that differ in any byte are two tenants; the credential cannot be got back from the
    digest.
    """
    pairs = [pair for pair in headers if pair[0] in _CREDENTIALS]
    if not pairs:
        return ""
    return sha256(_encode(pairs)).hexdigest()[:16]


def version_headers_of(headers: Headers) -> Headers:
    """The headers that select the API's behaviour, sorted by name (repeated ones keep their order)."""
    pairs = [pair for pair in headers if pair[0] in _VERSIONS]
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

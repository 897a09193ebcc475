"""Whether a request's bound on output counts towards the limits before its answer is known."""

from __future__ import annotations

__all__ = ["charges_bound"]


def charges_bound(path: str) -> bool:
    """Whether a greater bound makes a request to `path` dearer in tokens a minute.

    Source: FACTS section 2 for OpenAI and those that follow it (max(max_tokens, estimate)); Anthropic, "Rate limits":
    ``max_tokens`` does not factor into output tokens a minute, which are counted as they are generated.
    """
    return not path.partition("?")[0].endswith("/v1/messages")

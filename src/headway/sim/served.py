"""What online answers and batch rows have in common: the model, its window, its vectors, its flex tier."""

from __future__ import annotations

from random import Random
from typing import Any

from headway.sim.ask import Ask
from headway.sim.bodies import Meta, embeddings_body
from headway.sim.embed import vector
from headway.sim.formats import FORMATS
from headway.sim.profiles import Profile, profile_for
from headway.sim.refusals import Refused, invalid, model_not_found

__all__ = ["check_context", "flex_scale", "lane_of", "model_for", "vectors_body"]


def model_for(ask: Ask) -> tuple[str, Profile]:
    """The model that is played, where its endpoint has it. Raises `Refused`."""
    found = profile_for(ask.model)
    seller = FORMATS[ask.api].origin
    if (
        found is None
        or bool(found[1].dimensions) != (ask.api == "embeddings")
        or seller not in ("", found[1].origin)
    ):  # fmt: skip
        raise model_not_found(ask.model)
    if (ask.dimensions or 0) > found[1].dimensions:
        raise invalid(f"Invalid value for 'dimensions': must be at most {found[1].dimensions}.", "dimensions")
    return found


def check_context(tokens: int, profile: Profile) -> None:
    """Raises `Refused` (400) where a prompt does not fit into the model's window."""
    if tokens > profile.context_tokens:
        raise invalid(
            f"This model's maximum context length is {profile.context_tokens} tokens. However, your messages"
            f" resulted in {tokens} tokens. Please reduce the length of the messages.",
            "messages", "context_length_exceeded",
        )  # fmt: skip


def lane_of(ask: Ask) -> str:
    """The lane of a request that is answered at once: flex where that tier is asked for, else online."""
    return "flex" if ask.api in ("responses", "chat") and ask.body.get("service_tier") == "flex" else "online"


def flex_scale(ask: Ask, profile: Profile, unavailable: float, rng: Random) -> float:
    """How much slower the flex tier is for this request, 2 to 4 times; 1 where it is not asked for.

    Args:
        ask: The request.
        profile: Its model.
        unavailable: The share that is refused for want of resources.
        rng: The request's dice.

    Raises:
        Refused: 400 where the model has no such tier, 429 where there are no resources.
    """
    if lane_of(ask) != "flex":
        return 1.0
    if not profile.flex:
        raise invalid(f"Invalid service_tier argument: flex is not available for {ask.model}.", "service_tier")
    if rng.random() < unavailable:
        text = "Resource unavailable: there is not enough capacity for this flex request. Please try again later."
        raise Refused(429, text, "resource_unavailable", "resource_unavailable", outcome="throttled")
    return rng.uniform(2, 4)


def vectors_body(ask: Ask, profile: Profile, meta: Meta, seed: int) -> dict[str, Any]:
    """The answer to an embeddings request."""
    size = ask.dimensions or profile.dimensions
    return embeddings_body([vector(text, size, seed) for text in ask.texts], ask, meta)

"""The provider's prompt cache: prefixes of 1,024 tokens and more, in steps of 128, for minutes.

Source: OpenAI, "Prompt caching", for models before GPT-5.6: writes are free, `prompt_cache_key` is part of the
routing, entries live 5 to 10 minutes after their last use. Cached tokens are read at the model's discount and need
no prefill; they still count toward the token limit.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from hashlib import blake2b
from typing import Final

from headway.sim.text import pieces

__all__ = ["PrefixCache"]

_TOKENS_MIN: Final = 1_024
_STEP: Final = 128
_STEPS_MAX: Final = 8_192
_ENTRIES_MAX: Final = 200_000


class PrefixCache:
    """What prefixes were seen, and when last. Holds 200,000 steps of 128 tokens, the last used ones.

    Args:
        ttl_s: Seconds an entry lives after its last use.
    """

    def __init__(self, ttl_s: float) -> None:
        self._ttl_s = ttl_s
        self._seen_s: OrderedDict[bytes, float] = OrderedDict()

    def use(self, scope: bytes, prompt: str, tokens: int, now_s: float) -> int:
        """How many of the prompt's tokens were cached; remembers the whole prompt.

        Args:
            scope: Digest of who may share: credential, model and `prompt_cache_key`.
            prompt: The prompt as one text.
            tokens: Its length in tokens, to tell short prompts without looking.
            now_s: Loop time.
        """
        if tokens < _TOKENS_MIN:
            return 0
        hit = 0
        still = True
        for index, step in enumerate(_steps(scope, prompt), 1):
            seen_s = self._seen_s.get(step)
            still = still and seen_s is not None and now_s - seen_s <= self._ttl_s
            if still:
                hit = index * _STEP
            self._seen_s[step] = now_s
            self._seen_s.move_to_end(step)
        while len(self._seen_s) > _ENTRIES_MAX:
            self._seen_s.popitem(last=False)
        hit = min(hit, tokens // _STEP * _STEP)
        return hit if hit >= _TOKENS_MIN else 0


def _steps(scope: bytes, prompt: str) -> Iterator[bytes]:
    """A digest per whole step of 128 tokens; each stands for everything up to it."""
    cut = pieces(prompt)
    chained = blake2b(scope, digest_size=12)
    for end in range(_STEP, min(len(cut), _STEP * _STEPS_MAX) + 1, _STEP):
        chained.update("".join(cut[end - _STEP : end]).encode("utf-8", "surrogatepass"))
        yield chained.digest()

"""What was said on one socket: questions and answers, no more of them than there is room for."""

from __future__ import annotations

from headway.gateway.request import Refused

__all__ = ["Conversation"]


class Conversation:
    """Pairs of a question and its answer. Where there are too many, or they are too long, the oldest pair goes.

    Args:
        turns_max: Questions and answers, the question that is asked included.
        bytes_max: The same in bytes of UTF-8.
    """

    def __init__(self, turns_max: int, bytes_max: int) -> None:
        self._turns_max = turns_max
        self._bytes_max = bytes_max
        self._pairs: list[tuple[str, str]] = []
        self._bytes = 0

    def __len__(self) -> int:
        """How many turns are remembered."""
        return 2 * len(self._pairs)

    def asked(self, text: str) -> list[dict[str, str]]:
        """The turns that put a question in its place; what there is no room for beside it is forgotten.

        Raises:
            Refused: It is empty, or has no room by itself.
        """
        size = len(text.encode("utf-8", "replace"))
        if not text:
            raise Refused(400, "there is nothing to answer: say something in text")
        if size > self._bytes_max:
            raise Refused(413, f"the text is larger than {self._bytes_max} bytes", "text_too_large")
        self._forget(1, size)
        turns = []
        for question, answer in self._pairs:
            turns.append({"role": "user", "content": question})
            turns.append({"role": "assistant", "content": answer})
        turns.append({"role": "user", "content": text})
        return turns

    def add(self, question: str, answer: str) -> None:
        """Remember what was answered, however far it came; a question without any answer is forgotten."""
        if answer:
            self._pairs.append((question, answer))
            self._bytes += _size(question, answer)
            self._forget(0, 0)

    def reset(self) -> None:
        """Forget all."""
        self._pairs.clear()
        self._bytes = 0

    def _forget(self, more_turns: int, more_bytes: int) -> None:
        pairs, gone = self._pairs, 0
        while gone < len(pairs) and (
            2 * (len(pairs) - gone) + more_turns > self._turns_max or self._bytes + more_bytes > self._bytes_max
        ):
            self._bytes -= _size(*pairs[gone])
            gone += 1
        del pairs[:gone]


def _size(question: str, answer: str) -> int:
    return len(question.encode("utf-8", "replace")) + len(answer.encode("utf-8", "replace"))

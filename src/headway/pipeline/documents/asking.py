"""How documents are asked about: one set of wishes for all of them, and each one's map-reduce."""

from __future__ import annotations

from typing import Any, Final, Literal

import msgspec

from headway.errors import ConfigError, InputError
from headway.jobs.record import Tokens
from headway.pipeline.documents.reading import Document
from headway.pipeline.documents.rows import Row
from headway.pipeline.documents.sharing import Share
from headway.pipeline.mapreduce import MapReduced, MapReduction, mapreduce
from headway.pipeline.mapreduce.result import Watch
from headway.prompts.output import Api
from headway.prompts.template import Template

__all__ = ["Wishes", "row_from"]

_PLACES: Final = {"map": "text", "reduce": "summaries"}

_ASK_WHOLE: Final = (
    "Answer the question from the text alone, in at most {words} words. Where the text does not say it, say so.\n\n"
    "Question: {question}\n\nText:\n{text}"
)
_ASK_PART: Final = (
    "Below is part {part} of {parts} of a long text. Write down what it says that helps to answer the question, in at "
    "most {words} words: names, numbers and dates as they stand there. If it says nothing of it, answer: Nothing.\n\n"
    "Question: {question}\n\nText:\n{text}"
)
_ASK_MERGED: Final = (
    "Below is what consecutive parts of one long text say on a question. Answer the question from that alone, in at "
    "most {words} words, without speaking of parts. Where they do not say it, say so.\n\n"
    "Question: {question}\n\nText:\n{summaries}"
)
_ASK_AGAIN: Final = (
    "Below are a question, its answer, and sentences of the text that was asked about. Write the answer anew in at "
    "most {words} words: correct what the sentences contradict, leave out what none of them supports, and add what "
    "they have and the answer lacks.\n\nQuestion: {question}\n\nThe answer:\n{summary}\n\nText:\n{sources}"
)


class Wishes(msgspec.Struct, frozen=True, kw_only=True):
    """What is wanted of each document. See `headway.mapreduce`; a prompt without a place for the text gets one.

    Raises:
        ConfigError: A number is too small, or a prompt wrong.
    """

    words: int
    model: str
    api: Api = "responses"
    reduce_model: str | None = None
    question: str | None = None
    map_prompt: str | None = None
    reduce_prompt: str | None = None
    refine: bool = False
    chunk_tokens: int | None = None
    window: int | None = None
    on_error: Literal["mark", "fail", "drop"] = "mark"
    sources: bool = False

    def __post_init__(self) -> None:
        """Raises `ConfigError`, in terms of the command line's options."""
        least = (("--words", self.words, 1), ("--chunk-tokens", self.chunk_tokens, 16), ("--window", self.window, 256))
        for option, value, low in least:
            if value is not None and value < low:
                raise ConfigError(f"{option} must be a number from {low}, not {value}")
        if self.question is not None and not self.question.strip():
            raise ConfigError("--question is empty; write what is to be answered")
        if self.question is not None and (self.map_prompt or self.reduce_prompt):
            raise ConfigError("--question is a pair of prompts already: leave --map-prompt and --reduce-prompt out")

    def reduction(self, text: str, share: Share, *, concurrency: int, progress: Watch | None = None) -> MapReduction:
        """The text's map-reduce.

        Raises:
            ConfigError: A prompt is wrong, or the window too small for it.
            InputError: The text cannot be asked about.
        """
        kinds: dict[str, Any] = {"refine": self.refine}
        if self.question is not None:
            kinds |= {"map": _ASK_PART, "whole": _ASK_WHOLE, "reduce": _ASK_MERGED}
            kinds["refine"] = _ASK_AGAIN if self.refine else False
        if self.map_prompt:
            kinds["map"] = _placed("map", self.map_prompt)
        if self.reduce_prompt:
            kinds["reduce"] = _placed("reduce", self.reduce_prompt)
        try:
            return mapreduce(
                text,
                model=self.model,
                api=self.api,
                reduce_model=self.reduce_model,
                words=self.words,
                values={"question": self.question} if self.question is not None else None,
                chunk_tokens_max=self.chunk_tokens,
                window_tokens=self.window,
                on_chunk_error=self.on_error,
                concurrency=concurrency,
                engine=share,
                progress=progress,
                **kinds,
            )
        except (ConfigError, InputError) as error:
            said = str(error).removeprefix("mapreduce: ").replace("give others in values, and write", "write")
            raise type(error)(said) from None  # in terms of the command line

    def told(self) -> dict[str, str]:
        """What summaries follow from, by the option's name, as a journal keeps it; what was not given is left out."""
        given = {
            "--words": self.words,
            "--model": self.model,
            "--api": self.api,
            "--reduce-model": self.reduce_model,
            "--question": self.question,
            "--map-prompt": self.map_prompt,
            "--reduce-prompt": self.reduce_prompt,
            "--refine": self.refine or None,
            "--chunk-tokens": self.chunk_tokens,
            "--window": self.window,
            "--on-error": self.on_error,
            "--sources": self.sources or None,
        }
        return {name: str(value) for name, value in given.items() if value is not None}


def row_from(document: Document, found: MapReduced, *, sources: bool) -> Row:
    """The line of output of a document that was summarized."""
    return Row(
        path=document.path,
        summary=found.text,
        words=len(found.text.split()),
        chunks=len(found.chunks),
        gaps=sum(gap.last - gap.first + 1 for gap in found.gaps),
        requests=found.attempts,
        tokens=Tokens(input=found.input_tokens, output=found.output_tokens),
        dollars=found.dollars,
        took_s=round(found.elapsed_s, 3),
        encoding=document.encoding if document.guessed else msgspec.UNSET,
        sources=[msgspec.to_builtins(one) for one in found.sources] if sources else msgspec.UNSET,
    )


def _placed(kind: str, prompt: str) -> str:
    """The prompt, with a place for what it is about at its end where it has none."""
    name = _PLACES[kind]
    has_place = name in Template(prompt, f"the {kind} prompt").columns
    return prompt if has_place else f"{prompt.rstrip()}\n\nText:\n{{{name}}}"

"""What a bench asks: the targets of its models, from a prompt or from a task over rows, and what that may cost."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from random import Random
from typing import Any, Final

import msgspec

from headway.attempt.route import target_of
from headway.attempt.upstreams import UpstreamPrices
from headway.config import Settings
from headway.engine import Engine
from headway.errors import ConfigError, ConnectFailed, InputError
from headway.jobs.source import open_source
from headway.measure.bench.arrivals import schedule_of
from headway.measure.bench.run_types import Load, Target
from headway.measure.probe import Probe
from headway.measure.probing import probe
from headway.prompts.output import Api
from headway.prompts.plain import plain_parts
from headway.prompts.task import Task
from headway.prompts.template import Template
from headway.wire import reader_for

__all__ = [
    "PROMPT",
    "PROMPT_TOKENS_MAX",
    "Question",
    "preflight",
    "question_of",
    "requests_of",
    "rows_of",
    "targets_of",
    "task_maker",
    "worst_case_usd",
]

PROMPT: Final = "Count from one to forty in words, separated by commas, and write nothing else."
"""Asked where nothing else is: its answer is of the same length, about 90 tokens, whatever the model."""
PROMPT_TOKENS_MAX: Final = 256
MESSAGES_TOKENS: Final = 4_096
"""The bound where none is given and the API wants one."""
ROWS_MAX: Final = 10_000
PROMPT_BYTES_MAX: Final = 16 * 1024 * 1024
_PATHS: Final = {"responses": "/v1/responses", "chat": "/v1/chat/completions", "messages": "/v1/messages"}
_BOUNDS: Final = {"responses": "max_output_tokens", "chat": "max_completion_tokens", "messages": "max_tokens"}
_OTHER_BOUND: Final = "max_tokens"
_FILE_NAME: Final = re.compile(r"\S+\.(txt|md|toml|prompt)|\S*[/\\]\S*", re.IGNORECASE)
_COLUMN: Final = re.compile(r"\w[\w .-]*")
"""What may be the name of a column, and is not a piece of JSON."""


class Question(msgspec.Struct, frozen=True, kw_only=True):
    """What is asked of every model: a prompt, or a task over rows.

    `task` makes the task of a model (a task file with another model in it); rows are asked in turn, over and over.
    """

    prompt: str = PROMPT
    task: Callable[[str], Task] | None = None
    rows: tuple[Mapping[str, Any], ...] = ()
    api: Api = "responses"
    output_tokens_max: int | None = None
    stream: bool = True


def question_of(
    prompt: str | None, task: Path | None, input_: str | None, api: Api | None, tokens_max: int | None, *, stream: bool
) -> Question:
    """What is asked, as the command line says it: the task, the prompt over rows, the prompt, or the built-in one.

    Args:
        prompt: A text, or the name of a file that holds one.
        task: A task file.
        input_: A file of rows.
        api: None: the task's own, else Responses.
        tokens_max: Bound of each answer, in tokens.
        stream: Whether answers are asked for as streams.

    Raises:
        ConfigError: It is said twice, or not at all.
        InputError: The rows or the prompt cannot be read.
    """
    if task is not None and prompt is not None:
        raise ConfigError("say what to ask with either --task FILE or --prompt")
    if task is not None and input_ is None:
        raise ConfigError("--task asks about rows; give them with --input FILE")
    if input_ is not None and task is None and prompt is None:
        raise ConfigError("--input holds rows to ask about; say what to ask with --task FILE or --prompt")
    text = None if prompt is None else _text(prompt)
    if input_ is not None:
        return Question(
            task=task_maker(task, text or "", api),
            rows=rows_of(input_),
            output_tokens_max=tokens_max,
            stream=stream,
        )
    if text is None and tokens_max is None:
        tokens_max = PROMPT_TOKENS_MAX
    text = None if text is None else _alone(text)
    return Question(prompt=text or PROMPT, api=api or "responses", output_tokens_max=tokens_max, stream=stream)


def _text(prompt: str) -> str:
    """The prompt: of the file of that name, or the text itself."""
    try:
        path = Path(prompt)
        if path.is_file():
            if path.stat().st_size > PROMPT_BYTES_MAX:
                raise InputError(
                    f"{path} holds more than {PROMPT_BYTES_MAX >> 20} MiB; no model takes so long a prompt"
                )
            prompt = path.read_text("utf-8", "replace")
        elif _FILE_NAME.fullmatch(prompt):
            raise ConfigError(f"--prompt {prompt!r} looks like a file, and there is none; mend the name")
    except (OSError, ValueError):  # too long for a path, or not readable: it is a text
        pass
    if not prompt.strip():
        raise InputError("--prompt is empty; write one, or name a file that holds one")
    return prompt


def _alone(text: str) -> str:
    """A prompt that is asked without rows, literal braces taken out of their pairs. Raises `ConfigError`."""
    try:
        template = Template(text, "--prompt")
    except ConfigError:  # braces that are no template's, as of JSON
        return text
    name = next((name for name in template.columns if _COLUMN.fullmatch(name)), None)
    if name is not None:
        before = text[: text.index(f"{{{name}}}")]
        at = f"{before.count(chr(10)) + 1}:{len(before) - before.rfind(chr(10))}"
        raise ConfigError(
            f"--prompt names the column {{{name}}} at {at}; give --input ROWS, or write {{{{{name}}}}} for literal "
            "braces"
        )
    return text if template.columns else template.fill({})


def rows_of(name: str) -> tuple[Mapping[str, Any], ...]:
    """The rows of a file that can be read, at most 10,000 of them.

    Raises:
        InputError: The file is missing or has no usable row.
    """
    with closing(open_source(name, rows_max=ROWS_MAX)) as source:
        rows = tuple(row.row for row in source.rows if not row.problem)
    if not rows:
        raise InputError(f"{name} holds no row that can be asked about; give a file with one row at least")
    return rows


def targets_of(question: Question, models: Sequence[str]) -> list[Target]:
    """A target for each model.

    Raises:
        ConfigError: A model stands twice, or its task is wrong.
        InputError: A row cannot be asked about.
    """
    return [_target(question, model) for model in models]


def _target(question: Question, model: str) -> Target:
    if question.task is None:
        body = _body(question, model)
        return Target(name=model, path=_PATHS[question.api], body=lambda _: body, model=model)
    task, rows = question.task(model), question.rows
    if not rows:
        raise ConfigError("a task asks about rows; give them with --input FILE")

    def ask(index: int) -> bytes:
        data = task.bounded_body(rows[index % len(rows)], tokens_max=question.output_tokens_max, stop=False)
        return b'{"stream":true,' + data[1:] if question.stream else data

    ask(0)  # a column that is missing is told before anything is sent
    return Target(name=model, path=task.path, body=ask, accept=task.accept, model=model)


def _body(question: Question, model: str) -> bytes:
    api, bound = question.api, question.output_tokens_max
    if bound is None and api == "messages":
        bound = MESSAGES_TOKENS
    fields: dict[str, Any] = {"model": model}
    if question.stream:
        fields["stream"] = True
    if bound is not None:
        fields[_BOUNDS[api]] = bound
    if api == "responses":
        fields |= {"store": False, "input": question.prompt}
    else:
        fields["messages"] = [{"role": "user", "content": question.prompt}]
    return msgspec.json.encode(fields)


async def preflight(engine: Engine, target: Target) -> tuple[Target, Probe]:
    """Ask once ahead: opens a connection, and finds out what would spoil every request.

    A compatible server that knows the bound on output by its older name is asked by that from then on. The request
    itself is returned as well: it tells what opening a connection takes.

    Raises:
        ConfigError: The key, the model or the request is refused.
        ConnectFailed: Nobody answers there.
    """
    for one in (target, _renamed(target)):
        found = await probe(
            one.engine or engine, one.path, one.body(0), intended_s=0.0, origin_s=0.0, headers=one.headers
        )
        refused = found.status in (400, 401, 403, 404, 422)
        if not refused or found.status not in (400, 422) or _BOUNDS["chat"] not in found.error:
            break
    if refused or found.outcome == ConnectFailed.code:
        raise (ConfigError if refused else ConnectFailed)(f"{target.name} cannot be measured: {found.error}")
    return one, found


def _renamed(target: Target) -> Target:
    """The same with the bound's other name; it stands before the prompt, so only the first one is meant."""
    old, new = f'"{_BOUNDS["chat"]}":'.encode(), f'"{_OTHER_BOUND}":'.encode()
    return msgspec.structs.replace(target, body=lambda index: target.body(index).replace(old, new, 1))


def requests_of(load: Load) -> int | None:
    """Requests to one target under a load, warm-up included; None where the clock decides."""
    if not load.closed:
        return len(schedule_of(load, Random(0)).offsets_s)
    if load.count is None or load.warmup_s > 0:
        return None
    return load.count + load.warmup_count


def worst_case_usd(targets: Sequence[Target], settings: Settings, *, rows: int = 1) -> list[float | None]:
    """What one request to each target may cost at most, in dollars; None where a price or a bound is unknown.

    Args:
        targets: Whom to ask.
        settings: For prices of their own, and where requests go.
        rows: How many different requests there are, from index 0.
    """
    prices = UpstreamPrices(settings.upstreams)
    origin = target_of(settings.base_url, "")[0]
    return [_worst_usd(target, prices, origin, rows) for target in targets]


def _worst_usd(target: Target, prices: UpstreamPrices, origin: str, rows: int) -> float | None:
    reader, rates = reader_for(target.path), prices.rates(target.model or target.name, origin)
    if reader is None or rates is None:
        return None
    most = 0.0
    for index in range(max(1, rows)):
        view = reader.read_request(target.body(index), ())
        if view.output_tokens_max is None:
            return None
        most = max(most, rates.worst_case(view.input_tokens, view.output_tokens_max))
    return most


def task_maker(file: Path | None, prompt: str, api: Api | None) -> Callable[[str], Task]:
    """What makes the task of a model: out of a task file, or out of a prompt with {column} names."""
    if file is not None:
        return lambda model: Task.load(file, model=model, api=api or "")
    system, template = plain_parts(prompt, "--prompt")
    return lambda model: Task(model=model, prompt=template, system=system, api=api or "responses", where="--prompt")

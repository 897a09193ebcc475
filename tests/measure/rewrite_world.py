"""What the tests of rewriting share: a task of the planted prompts, its rows, and a provider that also plays a writer."""

from __future__ import annotations

import csv
from pathlib import Path

from headway import Engine
from headway.measure.rewrite.taskedit import TaskText
from headway.prompts.toml_edit import encoded
from headway.sim import SimSettings, Simulator
from headway.testing import FakeProvider, Step

from .planted_edits import PROMPTS, Prompt

WRITER = b"You shorten the instructions in prompts."
LABELLED = tuple(prompt for prompt in PROMPTS if prompt.labels)
_OPENINGS = ("Hello,", "Hi there.", "Good morning:", "To whom it may concern:", "Dear team,", "Please help:", "Update:")
_ENDINGS = (
    "Thanks.",
    "It is urgent.",
    "Regards, Kim",
    "Please answer soon.",
    "",
    "This is my second message.",
    "Sent today.",
)


def prompt_named(name: str) -> Prompt:
    """One of the planted prompts."""
    return next(one for one in PROMPTS if one.name == name)


def task_text(prompt: Prompt, *, model: str = "gpt-5.4-mini", instruct: bool = True, more: str = "") -> TaskText:
    """A task file that asks the prompt."""
    lines = [
        f'model = "{model}"  # the model',
        f"system = {encoded(prompt.system)}",
        'prompt = "Message: {text}"',
        'expected = "expected"',
    ]
    if prompt.labels:
        lines += ["", "[output]", f"labels = {encoded(list(prompt.labels))}"]
        lines += [] if instruct else ["instruct = false"]
    return TaskText(path=Path(f"{prompt.name}.toml"), text="\n".join([*lines, more]) + "\n")


def rows_of(prompt: Prompt, count: int) -> list[dict[str, str]]:
    """Rows with their right answers, all different."""
    pairs = [(label, text) for label, texts in prompt.says.items() for text in texts]
    rows = []
    for number in range(count):
        label, text = pairs[number % len(pairs)]
        turn = number // len(pairs)
        opening, ending = _OPENINGS[turn % 7], _ENDINGS[turn // 7 % 7]
        rows.append({"id": str(number), "text": f"{opening} {text} ({number}). {ending}".strip(), "expected": label})
    return rows


def write_files(folder: Path, monkeypatch, prompt: Prompt, count: int) -> None:
    """A user's folder, to stand in: a key, task.toml that asks the prompt, and rows.csv."""
    monkeypatch.setenv("OPENAI_API_KEY", "sk-test")
    monkeypatch.setenv("HEADWAY_HOME", str(folder / "home"))
    monkeypatch.chdir(folder)
    Path("task.toml").write_text(task_text(prompt).text)
    with Path("rows.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, ["id", "text", "expected"])
        writer.writeheader()
        writer.writerows(rows_of(prompt, count))


class World:
    """Engines over one simulator; calls of a writer are answered from a script.

    Args:
        drafts: What the writer writes, in turn; the last is repeated.
        quality: Whether the simulator makes mistakes.
        settings: Of every engine.
    """

    def __init__(self, *drafts: str, quality: bool = False, settings: SimSettings | None = None) -> None:
        base = settings or SimSettings(seed=1)
        self.simulator = Simulator(base if quality else _without_quality(base))
        self.writer = FakeProvider([Step(text=one) for one in drafts] or [400])
        self.asked = 0

    async def handler(self, call):
        """Both providers as one."""
        if WRITER in call.body:
            return await self.writer(call)
        self.asked += 1
        return await self.simulator.handler(call)

    def engines(self, variant) -> Engine:
        """As `compare` wants it."""
        given = {"handler": self.handler, "cache": "off", "log": "off", "log_level": "off", "api_key": "k", "seed": 1}
        return Engine(**{**given, **variant.settings})


def _without_quality(settings: SimSettings) -> SimSettings:
    from msgspec.structs import replace

    return replace(settings, quality=None)

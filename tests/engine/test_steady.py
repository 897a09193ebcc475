"""Lines for somebody who may not read them: nobody waits, what has no room is counted, nothing steers a terminal."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys

from headway.engine.plain import plain_line, shown
from headway.engine.said import Said
from headway.engine.steady import HELD_CHARS_MAX, Steady

LINE = "x" * 999 + "\n"


def test_nobody_waits_for_a_pipe_that_is_not_read_and_what_is_left_out_is_counted():
    """Far more than a pipe holds is taken; what was taken comes whole and in order once somebody reads."""
    readable, writable = os.pipe()
    taken = 3 * HELD_CHARS_MAX // len(LINE)
    with os.fdopen(writable, "w") as stream, os.fdopen(readable) as reader:
        out = Steady(stream)
        for number in range(taken):
            out.write(f"{number:6}{LINE}")
        assert out.lost() == 0  # there is no room to say it
        numbers = []
        while not (lost := out.lost()):
            numbers.append(int(reader.readline()[:6]))
        out.write("the end\n")
        while (line := reader.readline()) != "the end\n":
            numbers.append(int(line[:6]))
    assert len(numbers) == taken - lost
    assert numbers == sorted(numbers)
    assert lost > taken // 3
    assert out.lost() == 0


def test_a_log_nobody_read_for_a_while_says_how_many_lines_it_left_out():
    """The line comes before the next one."""
    readable, writable = os.pipe()
    with os.fdopen(writable, "w") as stream, os.fdopen(readable) as reader:
        said = Said("warning", "json", stream)
        for _ in range(2 * HELD_CHARS_MAX // len(LINE)):
            said.say("warning", "flood", text=LINE)
        found = ""
        while found != "lines left out":
            reader.readline()
            said.say("warning", "after")
            if said._out is not None and not said._out._lost:
                found = "lines left out"
        while (line := json.loads(reader.readline()))["event"] == "flood":
            pass
        while line["event"] == "after":
            line = json.loads(reader.readline())
    assert line["event"] == "lines left out"
    assert line["lines"] > 0


def test_what_was_said_last_is_written_before_the_process_ends():
    """The thread that writes is no reason to lose the last words."""
    code = "from headway.engine.said import Said; Said('info', 'json').tell('end', 'it has ended')"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert json.loads(done.stderr)["event"] == "end"


def test_whoever_reads_may_have_gone():
    """Neither a closed pipe nor a closed stream fails the one who writes."""
    readable, writable = os.pipe()
    os.close(readable)
    with os.fdopen(writable, "w") as stream:
        out = Steady(stream)
        out.write("nobody\n")
        out._settle()
    memory = io.StringIO()
    gone = Steady(memory)
    memory.close()
    gone.write("nobody\n")


def test_a_line_for_a_human_begins_with_what_happened_and_cannot_steer_a_terminal():
    """Escapes, line ends and marks that turn the direction of text are written out."""
    out = io.StringIO()
    said = Said("info", "console", out)
    said.say(
        "warning", "call throttled", id="a1", wait_s=0.0, upstream="openai", model="m\x1b]0;t\x07\n\u202e", status=429
    )
    line = out.getvalue()
    assert line[8:] == "Z warning call throttled model=m\\x1b]0;t\\x07\\n\\u202e upstream=openai status=429 id=a1\n"
    said.tell("reload", "a word of\x1b[2J the file")
    assert out.getvalue().endswith("headway serve: a word of\\x1b[2J the file\n")
    assert plain_line({"event": "refused", "message": "why", "n": 3, "of": "a b"}, coloured=False).endswith(
        'refused - why n=3 of="a b"'
    )
    assert "\x1b[33mwarning" in plain_line({"event": "x", "level": "warning"}, coloured=True)
    assert shown("Grüße 你好") == "Grüße 你好"

"""The process beside the gateway: questions come in as lines of JSON, answers go out as lines, the log is followed.

A process of its own, and a nice one, for the interpreter has one lock: what is folded here holds up no request there.

    python -m headway.insight PATH          (the call log's; "" where none is written)

Each line in is a number, a space and an `Ask`; each line out the same number, a status and a document. The end of its
input is its own end.
"""

from __future__ import annotations

import gc
import os
import sys
from queue import Empty, SimpleQueue
from threading import Thread

import msgspec

from headway.insight.desk import Ask, Desk

IDLE_S = 0.2
NICE = 5


def main(path: str) -> None:
    """Until the end of the input."""
    if hasattr(os, "nice"):
        os.nice(NICE)
    gc.freeze()
    gc.set_threshold(100_000, 20, 50)  # rows come and go by thousands, and hold nothing that holds them
    lines: SimpleQueue[bytes] = SimpleQueue()
    Thread(target=_read, args=(lines,), daemon=True).start()
    desk, decode, out = Desk(path), msgspec.json.Decoder(Ask).decode, sys.stdout.buffer
    more = True
    while True:
        try:
            line = lines.get(timeout=0.0005 if more else IDLE_S)
        except Empty:
            more = desk.follow()
            continue
        if not line:
            return
        number, _, text = line.partition(b" ")
        status, document = desk.answer(decode(text))
        out.write(b"%s %d %s\n" % (number, status, document))
        out.flush()


def _read(lines: SimpleQueue[bytes]) -> None:
    held = b""
    while more := os.read(0, 65_536):
        *whole, held = (held + more).split(b"\n")
        for line in whole:
            lines.put(line)
    lines.put(b"")


if __name__ == "__main__":
    try:
        main(sys.argv[1] if len(sys.argv) > 1 else "")
    except (KeyboardInterrupt, BrokenPipeError):
        os._exit(0)  # the gateway has gone, or goes

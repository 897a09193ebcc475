"""What a serving process does so that it does not grow."""

from __future__ import annotations

import subprocess
import sys

RUBBISH = """
import gc, weakref
from headway.gateway import memory

given_back = []
memory._trimmer = lambda: given_back.append
memory.settle()
memory.settle()

class One: pass

alive = weakref.WeakSet()
held, most = [], 0
full = gc.get_stats()[2]["collections"]
for number in range(300_000):
    one = One()
    one.itself = one
    held.append(one)  # outlives a look at the youngest, like what is under way, and is rubbish after that
    if len(held) > 500:
        held.clear()
    if number % 100 == 0:
        alive.add(one)
        most = max(most, len(alive))
print(most * 100, len(given_back), gc.get_stats()[2]["collections"] - full, gc.callbacks.count(memory._give_back))
"""


def test_rubbish_is_bounded_and_its_pages_are_given_back():
    """Cycles that outlived a look do not wait for hours, and each longer look gives pages back once."""
    ran = subprocess.run([sys.executable, "-c", RUBBISH], capture_output=True, text=True, timeout=60, check=True)
    most, given_back, full, callbacks = map(int, ran.stdout.split())
    assert most < 50_000
    assert given_back >= 2
    assert full >= 1
    assert callbacks == 1


def test_without_the_gnu_c_library_nothing_is_given_back():
    """Another C library has no such call, and that is no error."""
    code = """
import ctypes, gc
ctypes.CDLL = lambda name: object()
from headway.gateway import memory
memory.settle()
gc.collect()
"""
    assert subprocess.run([sys.executable, "-c", code], timeout=60, check=True).returncode == 0

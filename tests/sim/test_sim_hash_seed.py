"""The same seed gives the same answers in every process, whatever order its sets have."""

from __future__ import annotations

import os
import subprocess
import sys

CODE = """
from headway.sim.labels import LabelIndex
names = ["card_arrival", "card_not_working", "cash_withdrawal_charge", "exchange_rate", "transfer_fee_charged"]
index = LabelIndex(names)
words = "card cash withdrawal charge fee exchange rate transfer arrival working money wrong not".split()
texts = [" ".join(words[(i * k) % 13] for k in range(1, 9)) for i in range(1, 200)]
print([index.rank(text) for text in texts], {w: p for w, p in sorted(index._postings.items())})
"""


def test_answers_do_not_depend_on_the_interpreters_hash_seed():
    """Labels with equal evidence are told apart by fixed rules: weights are summed in a fixed order."""
    outputs = {
        subprocess.run(
            [sys.executable, "-c", CODE], env=os.environ | {"PYTHONHASHSEED": seed}, capture_output=True, check=True
        ).stdout
        for seed in ("0", "1", "2", "3")
    }
    assert len(outputs) == 1

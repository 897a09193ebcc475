"""A program without asyncio: read a CSV, label every row, write the CSV with one more column.

Run it as it stands with OPENAI_API_KEY set; or against the simulator: start `headway sim` in another terminal, and
set OPENAI_BASE_URL=http://127.0.0.1:8181/v1 OPENAI_API_KEY=sim.

    python examples/sync_csv.py [INPUT.csv] > labelled.csv
"""

import csv
import sys
from pathlib import Path

import headway

TASK = headway.Task(
    model="gpt-5.4-mini",
    prompt="Ticket: {text}",
    labels=["billing", "technical_support", "account_access", "shipping", "cancellation"],
)


def main(path: Path) -> int:
    """Label the rows of `path`; the exit code."""
    failed = 0
    with path.open(encoding="utf-8", newline="") as file, headway.SyncEngine(cache=True) as engine:
        rows = csv.DictReader(file)  # read as it goes: at most 256 rows are held
        writer = csv.DictWriter(sys.stdout, [*(rows.fieldnames or ()), "label"])
        writer.writeheader()
        for result in engine.map(rows, TASK):
            failed += bool(result.error)
            if result.error:
                print(f"row {result.index + 1}: {result.error}", file=sys.stderr)
            writer.writerow({**result.row, "label": result.value})
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).with_name("tickets.csv")))

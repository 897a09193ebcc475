"""A program without asyncio: read a CSV, label every row, write the CSV with one more column.

Run it as it stands with OPENAI_API_KEY set; or against the simulator: start `headway sim` in another terminal, and
set OPENAI_BASE_URL=http://127.0.0.1:8181/v1 OPENAI_API_KEY=sim.

    python examples/sync_csv.py [INPUT.csv] > labelled.csv
"""

import csv
import sys
from pathlib import Path

import headway

HERE = Path(__file__).parent


def main(path: Path) -> int:
    """Label the rows of `path`; the exit code."""
    task, failed = headway.Task.load(HERE / "concise.toml"), 0
    with path.open(encoding="utf-8", newline="") as file, headway.SyncEngine(cache=True) as engine:
        rows = csv.DictReader(file)  # read as it goes: at most 512 rows are held
        writer = csv.DictWriter(sys.stdout, [*(rows.fieldnames or ()), "label"])
        writer.writeheader()
        for result in engine.map(rows, task):
            failed += bool(result.error)
            if result.error:
                print(f"row {result.index + 1}: {result.error}", file=sys.stderr)
            writer.writerow({**result.row, "label": result.value})
    return 1 if failed else 0


if __name__ == "__main__":
    try:
        sys.exit(main(Path(sys.argv[1]) if len(sys.argv) > 1 else HERE / "tickets.csv"))
    except (headway.HeadwayError, OSError) as error:
        sys.exit(f"{error}")

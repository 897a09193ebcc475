"""One worker of `headway serve --workers N`; see `gateway.workers`."""

from __future__ import annotations

import sys

from headway.errors import HeadwayError
from headway.gateway.workers import work, worker_of

if __name__ == "__main__":
    try:
        work(worker_of(sys.argv))
    except HeadwayError as error:
        sys.stderr.write(f"headway serve: {error}\n")
        sys.exit(2)

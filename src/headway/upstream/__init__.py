"""The terminal handler: a call goes out over a pooled connection, a reply comes in.

`Upstream` speaks HTTP/1.1 itself, over the running loop's `create_connection` (`client`, `pool`, `connection`,
`incoming`, `body`); what that does not cover (proxies, unusual addresses) goes over httpx2's transport (`fallback`).
`InProcess` hands calls to any other `Handler` in the network's place. All keep the same books: when a call was sent,
when the first byte came, who is at fault when it fails.
"""

from headway.types import Timeouts
from headway.upstream.client import Upstream
from headway.upstream.headers import end_to_end
from headway.upstream.inprocess import InProcess

__all__ = ["InProcess", "Timeouts", "Upstream", "end_to_end"]

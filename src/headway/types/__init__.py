"""The nouns that every layer shares: `Call`, `Reply`, `Usage`, `Trace`, `Handler`, and what a wire reader reads.

No layer, policy or store is imported here. All `*_s` fields are seconds; fields named `*_at_s` are readings of the
event loop's clock (`loop.time()`), fields named `*_wall_s` are calendar time (Unix seconds). Token counts follow one
convention whatever the provider's own: `input_tokens` holds everything in the prompt, `cached_tokens` and
`cache_write_tokens` are parts of it; `output_tokens` holds everything generated, `reasoning_tokens` is part of it.
"""

from headway.types.call import Allowance, Call, Handler, Reply, Timeouts
from headway.types.rows import Result, TaskLike
from headway.types.scope import SCOPE, Scope
from headway.types.steps import Edge, StepRow
from headway.types.trace import Trace
from headway.types.views import Answer, ErrorView, Headers, Outcome, RequestView, Tags, Usage

__all__ = [
    "SCOPE",
    "Allowance",
    "Answer",
    "Call",
    "Edge",
    "ErrorView",
    "Handler",
    "Headers",
    "Outcome",
    "Reply",
    "RequestView",
    "Result",
    "Scope",
    "StepRow",
    "Tags",
    "TaskLike",
    "Timeouts",
    "Trace",
    "Usage",
]

"""Steps fetched before anybody asks for them: judged, budgeted, and shown."""

from headway.pipeline.speculation.ahead import asked, prefetch
from headway.pipeline.speculation.book import Speculation, speculation
from headway.pipeline.speculation.fetched import Figures, Prefetch
from headway.pipeline.speculation.follows import Follows, Likely
from headway.pipeline.speculation.speculator import Speculator
from headway.pipeline.speculation.use import Use
from headway.policy.speculation import SpeculationSettings

__all__ = [
    "Figures",
    "Follows",
    "Likely",
    "Prefetch",
    "Speculation",
    "SpeculationSettings",
    "Speculator",
    "Use",
    "asked",
    "prefetch",
    "speculation",
]

"""The provider simulator: an OpenAI-compatible stand-in for when there is no key, with books of its own.

It says what it is: every answer carries `x-headway-simulator: 1`. See docs/simulator.md.
"""

from headway.sim.batch_settings import BatchFault, BatchSettings, parse_batch_fault
from headway.sim.faults import Fault, parse_fault
from headway.sim.loop import VirtualDeadlock, VirtualLoop, run_virtual
from headway.sim.network import Network
from headway.sim.network_faults import NetworkFault
from headway.sim.quality import Quality
from headway.sim.server import serve_forever, serve_on, serving
from headway.sim.settings import SimSettings
from headway.sim.simulator import Simulator

__all__ = [
    "BatchFault",
    "BatchSettings",
    "Fault",
    "Network",
    "NetworkFault",
    "Quality",
    "SimSettings",
    "Simulator",
    "VirtualDeadlock",
    "VirtualLoop",
    "parse_batch_fault",
    "parse_fault",
    "run_virtual",
    "serve_forever",
    "serve_on",
    "serving",
]

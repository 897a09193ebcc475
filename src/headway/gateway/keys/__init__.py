"""Virtual keys: who may use the gateway, for what, how fast, and for how much."""

from headway.gateway.keys.door import Admitted, Keys
from headway.gateway.keys.records import default_path
from headway.gateway.keys.store import KeyStore

__all__ = ["Admitted", "KeyStore", "Keys", "default_path"]

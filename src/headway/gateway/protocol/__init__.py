"""The connection protocol: HTTP/1.1 by bytes, with the data plane in front and the ASGI application behind it."""

from headway.gateway.protocol.connection import Connection
from headway.gateway.protocol.site import Handle, Site

__all__ = ["Connection", "Handle", "Site"]

"""The ASGI application: health, the page, and the data plane for those who mount it elsewhere."""

from headway.gateway.app.application import application

__all__ = ["application"]

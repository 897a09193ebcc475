"""The data plane: what is done with a request below ``/v1``."""

from headway.gateway.data.door import Door

__all__ = ["Door"]

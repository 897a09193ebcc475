"""Who may come in: with keys, whoever has one; without, this machine only.

Once a key was made, keys are needed: a file whose last key has ended, or that is gone, does not open the door again.
"""

from __future__ import annotations

from headway.gateway.data.guard import loopback_only
from headway.gateway.keys import Admitted, Keys
from headway.gateway.request import Request
from headway.types import RequestView

__all__ = ["Gate"]


class Gate:
    """See the module.

    Args:
        keys: Those of the file.
        always: Keys are needed even where none was made.
    """

    def __init__(self, keys: Keys, *, always: bool) -> None:
        self._keys = keys
        self._keyed = always

    @property
    def keyed(self) -> bool:
        """Whether a request needs a key."""
        self._keyed = self._keyed or self._keys.any_made
        return self._keyed

    def guard(self, request: Request) -> None:
        """Look at a request's head. Raises `Refused` where it may not come in."""
        if self.keyed:
            self._keys.guard(request)
        else:
            loopback_only(request)

    def admit(self, request: Request, view: RequestView) -> Admitted | None:
        """Let in a request whose body was read; None where there are no keys. Raises `Refused` where it may not."""
        return self._keys.admit(request, view) if self.keyed else None

"""What a step is, apart from its calls."""

from __future__ import annotations

from headway.pipeline.function import Function
from headway.pipeline.kept import Kept
from headway.pipeline.options import StepOptions

__all__ = ["Spec"]


class Spec:
    """A step's function, name and options; shared by all of its calls."""

    __slots__ = ("function", "kept", "name", "options")

    def __init__(self, function: Function, name: str, options: StepOptions) -> None:
        self.function = function
        self.name = name
        self.options = options
        self.kept = None if options.cache_s is None else Kept(function, name, options.cache_s, options.cache_version)

"""Map-reduce: long texts in equal chunks, read side by side, merged as a tree whose groups wait for their own alone."""

from headway.pipeline.mapreduce.api import MapReduction, mapreduce
from headway.pipeline.mapreduce.prompts import MapPrompt
from headway.pipeline.mapreduce.result import Chunk, Gap, MapReduced, Merge, Progress, Source

__all__ = ["Chunk", "Gap", "MapPrompt", "MapReduced", "MapReduction", "Merge", "Progress", "Source", "mapreduce"]

"""Prompts: tasks, templates, and what an answer has to be."""

from headway.prompts.labels import Labels
from headway.prompts.output import Bullets, Json, Output, Sentence, Text
from headway.prompts.task import Task
from headway.prompts.template import Template

__all__ = ["Bullets", "Json", "Labels", "Output", "Sentence", "Task", "Template", "Text"]

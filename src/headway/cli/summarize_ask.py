"""What `headway summarize` was asked for, beside its input; the engine that follows from it; and plans, shown."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from headway.pipeline.documents.asking import Wishes

if TYPE_CHECKING:
    from headway.engine import Engine
    from headway.pipeline.documents.plan import Plan

__all__ = ["Ask", "tell_plan"]


class Ask(msgspec.Struct, frozen=True, kw_only=True):
    """The command's options that hold for every document."""

    wishes: Wishes
    concurrency: int = 128
    budget_usd: float | None = None
    base_url: str | None = None
    config: Path | None = None
    cache: bool = True
    json: bool = False
    quiet: bool = False

    @property
    def reduce_model(self) -> str:
        """Who merges."""
        return self.wishes.reduce_model or self.wishes.model

    def engine(self) -> Engine:
        """As for jobs: answers are kept on the disk, and calls wait for limits as long as it takes."""
        from headway.jobs.library import job_engine
        from headway.wire.prices import load

        load()  # now, or importing the price list would count into the first answer's time
        given = {"base_url": self.base_url, "budget_usd": self.budget_usd}
        return job_engine(given, api=self.wishes.api, cache=None if self.cache else "off", config=self.config)


def tell_plan(plan: Plan, name: str, ask: Ask, *, batch: bool = False) -> None:
    """The plan on stdout: for people, or as JSON."""
    from headway.cli.ending import print_json, reader_may_leave
    from headway.report import format as fmt

    with reader_may_leave():
        if ask.json:
            print_json(plan)
            return
        out, n = sys.stdout.write, fmt.count
        models = dict.fromkeys((ask.wishes.model, ask.reduce_model))
        out(f"{fmt.printable(name)}  {', '.join(models)}  plan\n")
        if plan.documents + plan.unreadable + plan.done > 1 or plan.unreadable or plan.done:
            parts = [f"{n(plan.documents)} to do"]
            parts += [f"{n(plan.done)} done before"] * bool(plan.done)
            parts += [f"{n(plan.unreadable)} cannot be read"] * bool(plan.unreadable)
            out(f"Documents  {', '.join(parts)}\n")
        out(f"Chunks     {n(plan.chunks)}, merged in {n(plan.levels)} {'level' if plan.levels == 1 else 'levels'}\n")
        kept = f", {n(plan.kept)} of them answered from the cache" if plan.kept else ""
        out(f"Calls      {n(plan.calls)}{kept}\n")
        out(f"Tokens     about {n(plan.input_tokens)} in, {n(plan.output_tokens)} out\n")
        lane = ", chunks by batches at half the price" if batch else ""
        most = fmt.dollars(plan.dollars_max)
        at_most = f"at most {most} with every answer cut and asked again"
        out(f"Dollars    about {fmt.dollars(plan.dollars)}, {at_most}{lane}\n")
        if plan.guessed:
            documents = "1 document is" if plan.guessed == 1 else f"{n(plan.guessed)} documents are"
            out(f"Encoding   {documents} no UTF-8, and read by a guess; save them as UTF-8 to be sure\n")
        if ask.budget_usd is not None and plan.dollars_max is not None and plan.dollars_max > ask.budget_usd:
            out(f"           --budget {fmt.dollars(ask.budget_usd)} may stop it before the end\n")

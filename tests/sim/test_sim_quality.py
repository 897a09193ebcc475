"""How wrong it is, and why."""

from __future__ import annotations

import msgspec
import pytest

from headway.errors import ConfigError
from headway.sim import Quality, SimSettings, Simulator, run_virtual
from headway.sim.quality import PromptFacts
from headway.sim.reading import read_plan
from tests.sim.helpers import LABELS, call, json

GOOD = PromptFacts(labels=3, guided=True)
TEXTS = {
    "billing": "an invoice was charged twice",
    "technical_support": "the app crashes",
    "shipping": "parcel not delivered",
}


@pytest.mark.parametrize(
    ("facts", "adds"),
    [
        (PromptFacts(labels=0, guided=True), 0.30),
        (PromptFacts(labels=3, guided=True, ambiguous_share=0.5), 0.04),
        (PromptFacts(labels=3, guided=False), 0.03),
        (PromptFacts(labels=3, guided=True, idle_tokens=1_150), 0.04),
        (PromptFacts(labels=3, guided=True, prompt_tokens=6_000), 0.02),
        (PromptFacts(labels=3, guided=True, items=6), 0.10),
    ],
)
def test_each_cause_adds_what_the_table_says(facts, adds):
    """One cause at a time, as documented."""
    quality = Quality()
    for tier, base in quality.error_by_tier.items():
        assert quality.error(tier, GOOD) == pytest.approx(base)
        assert quality.error(tier, facts) == pytest.approx(base + adds)


def test_errors_are_capped_and_smaller_tiers_are_worse():
    """Nothing makes it worse than the cap; large, medium, small, nano is the order of both rates."""
    quality = Quality()
    worst = PromptFacts(items=40, prompt_tokens=100_000, idle_tokens=50_000)
    assert quality.error("nano", worst) == quality.error_max
    for rates in (quality.error_by_tier, quality.violation_by_tier):
        assert list(rates.values()) == sorted(rates.values())


def test_rates_are_checked_by_name():
    """A wrong rate is an error that names its key."""
    with pytest.raises(ConfigError, match=r"quality\.error_per_item: expected a rate from 0 to 1"):
        Quality(error_per_item=2)
    with pytest.raises(ConfigError, match=r"quality\.error_by_tier: the tier 'nano'"):
        Quality(error_by_tier={"large": 0, "medium": 0, "small": 0})


def test_what_a_prompt_costs_is_read_from_it():
    """Rules, idle talk and look-alike labels are told apart."""
    label_line = f"Return only the label, one of: {', '.join(LABELS)}."
    plain = read_plan(label_line).facts
    assert (plain.labels, plain.guided, plain.idle_tokens) == (3, False, 0)
    assert read_plan(label_line + " If the customer was charged, choose billing.").facts.guided
    assert (
        read_plan("You have worked for many happy years in a lovely office. " * 20 + label_line).facts.idle_tokens > 200
    )
    alike = read_plan("Return only the label, one of: card payment fee, card payment fees, shipping.").facts
    assert alike.ambiguous_share == pytest.approx(2 / 3)


def accuracy(quality: Quality | None, model: str, rounds: int = 150) -> tuple[float, float]:
    """Share of right labels, and of answers that are exactly a label."""

    async def main() -> tuple[float, float]:
        simulator = Simulator(SimSettings(quality=quality, latency_scale=0, rpm=None, tpm=None))
        right = formed = total = 0
        for number in range(rounds):
            for label, text in TEXTS.items():
                body = {
                    "model": model,
                    "instructions": f"Return only the label, one of: {', '.join(LABELS)}.",
                    "input": f"{text}, case {number}",
                }
                answer = json(await simulator.handler(call("/v1/responses", body)))["output"][0]["content"][0]["text"]
                right, formed, total = right + (label in answer.lower()), formed + (answer in LABELS), total + 1
        return right / total, formed / total

    return run_virtual(main)


def test_error_and_violation_rates_are_those_of_the_tier():
    """Over 450 seeded answers a nano model errs and breaks the form near its rates; a large one much less."""
    quality = Quality()
    nano, large = accuracy(quality, "gpt-4.1-nano"), accuracy(quality, "gpt-4.1")
    assert 1 - nano[0] == pytest.approx(quality.error("nano", PromptFacts(labels=3)), abs=0.05)
    assert 1 - large[0] == pytest.approx(quality.error("large", PromptFacts(labels=3)), abs=0.025)
    assert 1 - nano[1] == pytest.approx(quality.violation_by_tier["nano"], abs=0.025)
    assert nano < large


def test_without_quality_it_is_never_wrong():
    """quality=None: the evidence decides and the form holds."""
    assert accuracy(None, "gpt-4.1-nano", rounds=30) == (1.0, 1.0)


def test_violations_reach_json_and_bullets():
    """Cut JSON and one bullet too many, where violations are certain."""
    always = Quality(violation_by_tier=dict.fromkeys(("large", "medium", "small", "nano"), 1.0))

    async def main() -> tuple[str, str]:
        simulator = Simulator(SimSettings(quality=always, latency_scale=0))
        schema = {"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"]}
        cut = {"model": "gpt-4o", "input": "One. Two.", "text": {"format": {"type": "json_schema", "schema": schema}}}
        many = {"model": "gpt-4o", "input": "Answer with exactly 2 bullets. Text: One is. Two is. Three is."}
        replies = [json(await simulator.handler(call("/v1/responses", body))) for body in (cut, many)]
        return tuple(reply["output"][0]["content"][0]["text"] for reply in replies)

    cut, many = run_virtual(main)
    with pytest.raises(msgspec.DecodeError):
        msgspec.json.decode(cut)
    assert len(many.split("\n")) == 3

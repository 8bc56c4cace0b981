"""The arithmetic of money: one rule, so that the price in an answer equals its settlement.

Amounts are integers of 10^-9 of a currency unit; unit prices are such integers per 1,000 tokens.
"""

from __future__ import annotations

from typing import NamedTuple

from shared.contracts.freehold.platform.v1 import outcome_pb2 as outcome

PER = 1_000
"""Tokens that a unit price is for."""

_EARLY = (outcome.TERMINAL_STATE_CANCELLED, outcome.TERMINAL_STATE_EXPIRED)


class Prices(NamedTuple):
    """Unit prices by kind of token."""

    prompt: int
    cached: int
    output: int


class Charge(NamedTuple):
    """What a request is billed, line by line."""

    prompt: int
    """Prompt tokens that were not in the prefix cache."""
    cached: int
    output: int

    @property
    def total(self) -> int:
        return self.prompt + self.cached + self.output


def line(tokens: int, unit_price: int) -> int:
    """The price of `tokens`, rounded half up once."""
    return (tokens * unit_price + PER // 2) // PER


def worst_case(prompt_bound: int, max_output: int, choices: int, prices: Prices) -> int:
    """What is reserved: no `charge` of a request within these bounds is above it.

    A prompt is billed as two lines, and two roundings add up to at most one unit more than none.
    """
    dearest = max(prices.prompt, prices.cached)
    prompt = prompt_bound * dearest // PER + 1 if prompt_bound and dearest else 0
    return prompt + line(max_output * choices, prices.output)


def prompt_is_billed(state: outcome.TerminalState, accepted: bool) -> bool:
    """Whether the prompt is billed, once; `accepted` = a worker took an attempt of the request."""
    if state == outcome.TERMINAL_STATE_COMPLETED:
        return True
    return accepted and (state == outcome.TERMINAL_STATE_REFUSED or state in _EARLY)


def billed_output(
    state: outcome.TerminalState, accepted: bool, chain: int, delivered: int, usage_missing: bool
) -> int:
    """Output tokens that are billed.

    `chain` and `delivered` are sums over choices; `usage_missing` = the last attempt's usage never came,
    so that `chain` is not known. A request refused before any attempt was refused on input.
    """
    if not prompt_is_billed(state, accepted):
        return 0
    return chain if state in _EARLY and not usage_missing else delivered


def charge(prices: Prices, prompt: int, cached: int, output: int, reserved: int) -> Charge:
    """The lines of billed tokens; `cached` is a part of `prompt`. Never above `reserved` in all.

    Within the bounds that were reserved nothing is cut; outside them the output line gives way first.
    """
    lines = Charge(
        line(prompt - cached, prices.prompt), line(cached, prices.cached), line(output, prices.output)
    )
    if lines.total <= reserved:
        return lines
    kept_prompt = min(lines.prompt, reserved)
    kept_cached = min(lines.cached, reserved - kept_prompt)
    return Charge(kept_prompt, kept_cached, min(lines.output, reserved - kept_prompt - kept_cached))

"""The gRPC servicer of billing: translation and scope only."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from functools import partial
from typing import Any, TypeAlias

import grpc

from services.billing.books.reports import (
    MOST_FACTS,
    balance,
    entries,
    facts_between,
    unlimited_balance,
    usage,
)
from services.billing.books.verify import verify
from services.billing.pricing import AmountTooLarge, reservation
from services.billing.publishing import Facts
from services.billing.scopes import Target, price_for, readable, target
from services.billing.terms import LEVELS, claim
from shared.bus.ports import BusError
from shared.configuration import Configuration
from shared.contracts.freehold.billing.v1 import billing_pb2 as pb
from shared.contracts.freehold.billing.v1 import billing_pb2_grpc
from shared.contracts.freehold.billing.v1.events_pb2 import UnitPrices
from shared.contracts.freehold.control.v1.config_pb2 import Period
from shared.errors import FreeholdError, Kind
from shared.money import Prices
from shared.rpc.auth import caller
from shared.rpc.server import translated
from shared.storage.database import Database

Context: TypeAlias = grpc.aio.ServicerContext


class BillingServicer(billing_pb2_grpc.BillingServicer):
    """`freehold.billing.v1.Billing`."""

    def __init__(
        self, configuration: Configuration, database: Database, facts: Facts, now_ms: Callable[[], int]
    ) -> None:
        self._configuration = configuration
        self._database = database
        self._facts = facts
        self._now_ms = now_ms

    @translated
    async def Quote(self, request: pb.QuoteRequest, _: Context) -> pb.QuoteResponse:
        price = price_for(self._configuration, caller(), request.model)
        prices = Prices(price.prompt, price.cached, price.output)
        try:
            amount = reservation(prices, request.prompt, request.max_output, max(1, request.choices))
        except AmountTooLarge as error:
            raise FreeholdError(Kind.BAD_REQUEST, "the price of these sizes cannot be counted") from error
        return pb.QuoteResponse(
            amount=amount,
            currency=price.currency,
            price_version=price.version,
            prices=UnitPrices(prompt=price.prompt, cached=price.cached, output=price.output),
        )

    @translated
    async def GetBalance(self, request: pb.GetBalanceRequest, _: Context) -> pb.GetBalanceResponse:
        asked = target(self._configuration, caller(), request.organisation, request.project, request.key)
        return pb.GetBalanceResponse(balances=[await self._balance(asked, level) for level in asked.levels])

    @translated
    async def ListEntries(self, request: pb.ListEntriesRequest, _: Context) -> pb.ListEntriesResponse:
        scope = readable(self._configuration, caller(), request.organisation, "")
        found = await self._database.read(
            lambda connection: entries(connection, scope, request.request, request.limit, request.before)
        )
        return pb.ListEntriesResponse(entries=found)

    @translated
    async def GetUsage(self, request: pb.GetUsageRequest, _: Context) -> pb.GetUsageResponse:
        who = caller()
        organisation = request.organisation or who.organisation
        scope = readable(self._configuration, who, organisation, request.project)
        if not scope.organisation:
            raise FreeholdError(Kind.BAD_REQUEST, "name an organisation", param="organisation")
        first, last = _day(request.from_day, "from_day"), _day(request.to_day, "to_day")
        rows = await self._database.read(
            lambda connection: usage(connection, scope, request.model, first, last)
        )
        return pb.GetUsageResponse(rows=rows)

    @translated
    async def VerifyLedger(self, request: pb.VerifyLedgerRequest, _: Context) -> pb.VerifyLedgerResponse:
        caller().require("admin")
        scope = readable(self._configuration, caller(), request.organisation, "")
        checks = await self._database.read(lambda connection: verify(connection, scope.organisation))
        return pb.VerifyLedgerResponse(
            checks=[
                pb.LedgerCheck(
                    name=check.name,
                    passed=check.passed,
                    examined=check.examined,
                    violations=check.violations,
                )
                for check in checks
            ]
        )

    @translated
    async def RepublishFacts(
        self, request: pb.RepublishFactsRequest, _: Context
    ) -> pb.RepublishFactsResponse:
        if not caller().operator:
            raise FreeholdError(Kind.FORBIDDEN, "only an operator may call this")
        published, first = 0, request.from_seq
        while first <= request.to_seq:
            facts = await self._database.read(
                partial(facts_between, organisation=request.organisation, first=first, last=request.to_seq)
            )
            try:
                published += await self._facts.republish(facts)
            except BusError as error:
                raise FreeholdError(Kind.NOT_READY, "the bus did not take the facts") from error
            if len(facts) < MOST_FACTS:
                break
            first = facts[-1].seq + 1
        return pb.RepublishFactsResponse(published=published)

    async def _balance(self, asked: Target, level: int) -> pb.Balance:
        identifier = (asked.organisation, asked.project, asked.key)[level - 1]
        organisation = self._configuration.organisations[asked.organisation]
        found = pb.Balance(
            level=LEVELS[level - 1], id=identifier, currency=organisation.currency, period="none"
        )
        known = claim(self._configuration, level, identifier, organisation.time_zone, self._now_ms())
        if known is None:
            names = (asked.organisation, asked.project if level > 1 else "", asked.key if level > 2 else "")
            found.spent, found.reserved = await self._database.read(
                lambda connection: unlimited_balance(connection, *names)
            )
            return found
        budget = self._configuration.budget_of(LEVELS[level - 1], identifier)
        found.limit = known.limit
        if budget is not None:
            found.period = Period.Name(budget.period).removeprefix("PERIOD_").lower()
        found.spent, found.reserved = await self._database.read(
            lambda connection: balance(connection, known.budget)
        )
        return found


def _day(text: str, name: str) -> str:
    """An ISO 8601 day, or empty. Raises `FreeholdError` BAD_REQUEST."""
    if not text:
        return ""
    try:
        return date.fromisoformat(text).isoformat()
    except ValueError as error:
        raise FreeholdError(
            Kind.BAD_REQUEST, f"{name} is not a day such as 2026-11-23", param=name
        ) from error


def register(server: Any, servicer: BillingServicer) -> list[str]:
    """Add the servicer to a server; its full name."""
    billing_pb2_grpc.add_BillingServicer_to_server(servicer, server)
    return [pb.DESCRIPTOR.services_by_name["Billing"].full_name]

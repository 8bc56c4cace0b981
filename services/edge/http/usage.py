"""`GET /v1/usage`: what the key's project has used, by day and model."""

from __future__ import annotations

from datetime import date

from services.edge.credentials import Asker
from services.edge.http.schema import UsageAnswer, UsageList
from services.edge.sources import UsageSource
from shared.contracts.freehold.billing.v1 import billing_pb2 as pb
from shared.errors import FreeholdError, Kind

MAX_DAYS = 366
DEFAULT_DAYS = 30
_NANOS = 1_000_000_000


class Usage:
    """Translates between the API's words and billing's."""

    def __init__(self, source: UsageSource) -> None:
        self._source = source

    async def list_rows(
        self, asker: Asker, today: date, first: date | None, last: date | None, model: str
    ) -> UsageList:
        """Rows of the caller's own project; days are UTC and both inclusive. Raises `FreeholdError`."""
        asker.caller.require("usage", "admin")
        end = last or max(today, first or today)
        begin = first or date.fromordinal(max(1, end.toordinal() - DEFAULT_DAYS + 1))
        if begin > end or (end - begin).days >= MAX_DAYS:
            raise FreeholdError(Kind.BAD_REQUEST, f"the period must hold 1 to {MAX_DAYS} days", param="from")
        query = pb.GetUsageRequest(
            organisation=asker.caller.organisation,
            project=asker.caller.project,
            from_day=begin.isoformat(),
            to_day=end.isoformat(),
            model=model,
        )
        found = await self._source.usage(asker.secret, query)
        return UsageList(project=asker.caller.project, data=[_row(row) for row in found.rows])


def _row(row: pb.UsageRow) -> UsageAnswer:
    return UsageAnswer(
        day=row.day,
        model=row.model,
        requests=row.requests,
        prompt_tokens=row.prompt,
        cached_tokens=row.cached,
        generated_tokens=row.generated,
        delivered_tokens=row.delivered,
        billed_tokens=row.billed,
        total_nanos=row.total,
        total=f"{row.total // _NANOS}.{row.total % _NANOS:09d}",
        currency=row.currency,
    )

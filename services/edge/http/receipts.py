"""`GET /v1/receipts/{request_id}`: the evidence that the log holds a request's account."""

from __future__ import annotations

import orjson

from services.edge.credentials import Asker
from services.edge.sources import ReceiptSource
from shared import ids
from shared.errors import FreeholdError, Kind

PENDING = 202
COMPLETE = 200


class Receipts:
    """Translates between the API's words and audit's."""

    def __init__(self, source: ReceiptSource) -> None:
        self._source = source

    async def find(self, asker: Asker, request: str) -> tuple[int, bytes]:
        """Status and body. Raises `FreeholdError` NOT_FOUND for what is not the caller's project's."""
        asker.caller.require("complete", "usage", "admin")
        try:
            name = ids.unpack(ids.pack(request))
        except ValueError:
            raise FreeholdError(Kind.NOT_FOUND, "there is no such request") from None
        found = await self._source.receipt(asker.secret, name)
        if found.pending:
            return PENDING, orjson.dumps({"request_id": name, "status": "pending"})
        body = {
            "request_id": name,
            "status": "complete",
            # The entry is canonical JSON and stays as it is: a verifier hashes these bytes.
            "entry": orjson.Fragment(found.entry),
            "index": found.leaf_index,
            "proof": [octets.hex() for octets in found.proof],
            "checkpoint": found.checkpoint,
        }
        return COMPLETE, orjson.dumps(body)

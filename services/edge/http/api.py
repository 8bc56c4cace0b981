"""Everything but the hot route: models, usage, receipts, health and metrics, as a FastAPI application."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Annotated, Any, Literal

import orjson
from fastapi import Depends, FastAPI, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from pydantic import BaseModel
from starlette.exceptions import HTTPException
from starlette.responses import PlainTextResponse

from services.edge.credentials import Asker, Credentials
from services.edge.http.body import shown
from services.edge.http.errors import error_headers, error_value
from services.edge.http.exchange import FAILED, Exchange
from services.edge.http.receipts import Receipts
from services.edge.http.schema import (
    KEYS,
    OPEN,
    ErrorAnswer,
    ModelAnswer,
    ModelEvidence,
    ModelList,
    PriceAnswer,
    ReceiptAnswer,
    State,
    UsageList,
    add_chat,
)
from services.edge.http.usage import Usage
from services.edge.models import Models, Offer
from shared.clock import Clock
from shared.errors import FreeholdError, Kind
from shared.lifecycle import Readiness
from shared.statuses import HTTP

_LOOPBACK = ("127.", "::1", "::ffff:127.")


@dataclass(frozen=True)
class Api:
    """What the routes stand on."""

    credentials: Credentials
    models: Models
    usage: Usage
    receipts: Receipts
    readiness: Callable[[], Readiness]
    registry: CollectorRegistry
    clock: Clock
    metrics_for: Literal["loopback", "operator", "all"]


async def _identify(request: Request) -> Asker:
    api: Api = request.app.state.api
    return api.credentials.identify(request.scope["headers"])


Asked = Annotated[Asker, Depends(_identify)]


def build_api(api: Api, version: str) -> FastAPI:
    """The application. `/openapi.json` is its only page: the usual ones load scripts from the internet."""
    app = FastAPI(
        title="Freehold",
        version=version,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        responses={"default": {"model": ErrorAnswer, "description": "An error"}},
    )
    app.state.api = api
    _add_errors(app)
    _add_tenant_routes(app, api)
    _add_operator_routes(app, api)
    made = app.openapi
    app.openapi = lambda: app.openapi_schema or add_chat(made())  # type: ignore[method-assign]
    return app


def _add_tenant_routes(app: FastAPI, api: Api) -> None:
    @app.get("/v1/models", responses={200: {"model": ModelList}}, openapi_extra=KEYS)
    async def list_models(asker: Asked) -> Response:
        """The models that this key may use."""
        offers = api.models.offers(asker.caller.organisation, asker.caller.key)
        return _json(ModelList(data=[_model(offer) for offer in offers]))

    @app.get("/v1/models/{model:path}", responses={200: {"model": ModelAnswer}}, openapi_extra=KEYS)
    async def retrieve_model(asker: Asked, model: str) -> Response:
        """One model."""
        return _json(_model(api.models.offer(model, asker.caller.organisation, asker.caller.key)))

    @app.get("/v1/usage", responses={200: {"model": UsageList}}, openapi_extra=KEYS)
    async def list_usage(
        asker: Asked,
        first: Annotated[date | None, Query(alias="from")] = None,
        last: Annotated[date | None, Query(alias="to")] = None,
        model: Annotated[str, Query(max_length=128)] = "",
    ) -> Response:
        """What this key's project has used: days are UTC, the last 30 where none are given."""
        today = datetime.fromtimestamp(api.clock.time_ns() / 1e9, UTC).date()
        return _json(await api.usage.list_rows(asker, today, first, last, model))

    @app.get(
        "/v1/receipts/{request_id}",
        responses={200: {"model": ReceiptAnswer}, 202: {"model": ReceiptAnswer, "description": "Pending"}},
        openapi_extra=KEYS,
    )
    async def retrieve_receipt(asker: Asked, request_id: str) -> Response:
        """The evidence of a settled request of this key's project."""
        status, body = await api.receipts.find(asker, request_id)
        return Response(body, status, media_type="application/json")


def _add_operator_routes(app: FastAPI, api: Api) -> None:
    @app.get("/livez", responses={200: {"model": State}}, openapi_extra=OPEN)
    async def alive() -> Response:
        """The process runs."""
        return _json_value({"status": "ok"})

    @app.get("/readyz", responses={200: {"model": State}, 503: {"model": State}}, openapi_extra=OPEN)
    async def ready() -> Response:
        """Whether requests are taken; 503 and the reason where not."""
        found = api.readiness()
        value = {"status": "ready"} if found.ready else {"status": "not ready", "reason": found.reason}
        return _json_value(value, 200 if found.ready else 503)

    @app.get(
        "/metrics",
        response_class=PlainTextResponse,
        responses={200: {"content": {"text/plain": {"schema": {"type": "string"}}}}},
        openapi_extra={"security": [{}, *KEYS["security"]]},
    )
    async def metrics(request: Request) -> Response:
        """Prometheus's text format."""
        host = request.client.host if request.client else ""
        near = api.metrics_for == "loopback" and host.startswith(_LOOPBACK)
        if api.metrics_for != "all" and not near:
            api.credentials.identify(request.scope["headers"]).caller.require("operator")
        return Response(generate_latest(api.registry), media_type=CONTENT_TYPE_LATEST)


def _add_errors(app: FastAPI) -> None:
    @app.exception_handler(FreeholdError)
    async def refused(request: Request, error: FreeholdError) -> Response:
        return _error(request, error)

    @app.exception_handler(RequestValidationError)
    async def invalid(request: Request, error: RequestValidationError) -> Response:
        first = error.errors()[0]
        name = shown(str(first["loc"][-1]))
        return _error(request, FreeholdError(Kind.BAD_REQUEST, f"{name}: {first['msg']}", param=name))

    @app.exception_handler(HTTPException)
    async def unmatched(request: Request, error: HTTPException) -> Response:
        if error.status_code != 405:
            return _error(request, FreeholdError(Kind.NOT_FOUND, "there is nothing at this path"))
        wrong = FreeholdError(Kind.BAD_REQUEST, "this path takes another method", code="method_not_allowed")
        answer = _error(request, wrong, 405)
        answer.headers["allow"] = (error.headers or {}).get("Allow", "GET")
        return answer

    @app.exception_handler(Exception)
    async def failed(request: Request, _: Exception) -> Response:
        # Starlette raises it again behind this answer; the front logs it.
        return _error(request, FAILED)


def _error(request: Request, error: FreeholdError, status: int = 0) -> Response:
    exchange: Exchange = request.scope["freehold.exchange"]
    exchange.error = error.code
    body = orjson.dumps(error_value(error, exchange.request))
    answer = Response(body, status or HTTP[error.kind].status)
    answer.raw_headers = error_headers(error, exchange.request, body)
    return answer


def _json(value: BaseModel) -> Response:
    return Response(value.model_dump_json(), media_type="application/json")


def _json_value(value: dict[str, Any], status: int = 200) -> Response:
    return Response(orjson.dumps(value), status, media_type="application/json")


def _model(offer: Offer) -> ModelAnswer:
    model, price = offer.model, offer.price
    return ModelAnswer(
        id=model.name,
        created=model.created_s,
        owned_by="freehold",
        freehold=ModelEvidence(
            context=model.context,
            cells=offer.cells,
            live=offer.live,
            weights_digest=model.weights_digest,
            tokenizer_digest=model.tokenizer_digest,
            template_digest=model.template_digest,
            licence=model.licence,
            price=None
            if price is None
            else PriceAnswer(
                prompt=price.prompt,
                cached=price.cached,
                output=price.output,
                currency=price.currency,
                version=price.version,
            ),
        ),
    )

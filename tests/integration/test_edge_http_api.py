"""Every route but the hot one, over a real socket."""

from __future__ import annotations

import json
from typing import Any

import pytest
from fastapi.routing import APIRoute

from services.edge.http.front import Front
from shared.contracts.freehold.audit.v1 import audit_pb2 as audit
from shared.contracts.freehold.billing.v1 import billing_pb2 as billing
from shared.lifecycle import Readiness
from tests.integration.edge_front import KEY, MODEL, OPERATOR_KEY, OTHER_KEY, Edge, add_key, running_edge
from tests.integration.edge_wire import Reply, ask, head

REQUEST = "01a205fe-3446-7161-93f7-38fad175f22d"
OPEN = {"/livez", "/readyz", "/metrics", "/openapi.json"}
"""Routes that need no key; `/metrics` has a rule of its own."""


async def get(edge: Edge, target: str, key: str | None = KEY) -> Reply:
    """One GET."""
    reply, closed = await ask(edge, head("GET", target, key=key))
    assert not closed
    assert reply.headers["x-request-id"]
    return reply


async def test_models_are_listed_with_what_stands_behind_them() -> None:
    async with running_edge() as edge:
        value = json.loads((await get(edge, "/v1/models")).body)
        (model,) = value["data"]
        assert (value["object"], model["id"], model["object"]) == ("list", MODEL, "model")
        assert model["freehold"] == {
            "context": 2048,
            "cells": 0,
            "live": False,
            "weights_digest": "ab" * 32,
            "tokenizer_digest": "cd" * 32,
            "template_digest": "ef" * 32,
            "licence": "Apache-2.0",
            "price": {"prompt": 1, "cached": 0, "output": 2, "currency": "EUR", "version": "7"},
        }
        assert json.loads((await get(edge, f"/v1/models/{MODEL}")).body) == model


async def test_unknown_and_forbidden_models_are_not_found() -> None:
    async with running_edge() as edge:
        assert (await get(edge, "/v1/models/other/model")).error["code"] == "model_not_found"
        edge.configuration.keys[f"key-{KEY}"].models.append("another")
        assert (await get(edge, f"/v1/models/{MODEL}")).status == 404
        assert json.loads((await get(edge, "/v1/models")).body)["data"] == []


@pytest.mark.attack(7)
async def test_usage_is_asked_for_the_keys_own_project() -> None:
    async with running_edge() as edge:
        edge.sources.rows = [
            billing.UsageRow(
                day="2026-01-02",
                model=MODEL,
                currency="EUR",
                requests=2,
                prompt=9,
                delivered=4,
                billed=4,
                total=15,
            )
        ]
        reply = await get(edge, "/v1/usage?from=2026-01-01&to=2026-01-31&model=m&project=two-project")
        value = json.loads(reply.body)
        assert value["project"] == "one-project"
        assert value["data"][0]["total"] == "0.000000015"
        assert value["data"][0]["billed_tokens"] == 4
        ((secret, query),) = edge.sources.asked
        assert secret == KEY
        assert query == billing.GetUsageRequest(
            organisation="one", project="one-project", from_day="2026-01-01", to_day="2026-01-31", model="m"
        )


@pytest.mark.parametrize(
    ("query", "param"),
    [
        ("from=yesterday", "from"),
        ("to=2026-13-01", "to"),
        ("from=2026-02-01&to=2026-01-01", "from"),
        ("from=2020-01-01&to=2026-01-01", "from"),
        (f"model={'x' * 200}", "model"),
    ],
)
async def test_a_bad_period_is_refused_by_name(query: str, param: str) -> None:
    async with running_edge() as edge:
        reply = await get(edge, f"/v1/usage?{query}")
        assert (reply.status, reply.error["param"]) == (400, param)


async def test_without_days_usage_is_of_the_last_thirty() -> None:
    async with running_edge() as edge:
        for target in ("/v1/usage?to=2026-01-30", "/v1/usage?to=0001-01-05", "/v1/usage"):
            assert (await get(edge, target)).status == 200
        days = [(query.from_day, query.to_day) for _, query in edge.sources.asked]
        assert days[:2] == [("2026-01-01", "2026-01-30"), ("0001-01-01", "0001-01-05")]


async def test_usage_needs_its_right() -> None:
    async with running_edge() as edge:
        add_key(edge.configuration, "fh-complete-only", "one", ["complete"])
        assert (await get(edge, "/v1/usage", "fh-complete-only")).status == 403


@pytest.mark.attack(7)
async def test_a_receipt_is_pending_then_whole_and_only_its_projects() -> None:
    async with running_edge() as edge:
        edge.sources.receipts[KEY, REQUEST] = audit.GetReceiptResponse(pending=True)
        reply = await get(edge, f"/v1/receipts/{REQUEST}")
        assert (reply.status, json.loads(reply.body)["status"]) == (202, "pending")
        edge.sources.receipts[KEY, REQUEST] = audit.GetReceiptResponse(
            entry=b'{"a":9007199254740993,"kind":"RequestSettled"}',
            leaf_index=3,
            proof=[b"\x01" * 32],
            checkpoint="note\n",
        )
        reply = await get(edge, f"/v1/receipts/{REQUEST.upper()}")
        assert reply.status == 200
        assert b'"entry":{"a":9007199254740993,"kind":"RequestSettled"}' in reply.body
        value = json.loads(reply.body)
        assert (value["index"], value["proof"], value["checkpoint"]) == (3, ["01" * 32], "note\n")
        for key, name in [(OTHER_KEY, REQUEST), (KEY, "x"), (KEY, "%00"), (KEY, "1" * 3000)]:
            assert (await get(edge, f"/v1/receipts/{name}", key)).status == 404


async def test_readiness_is_the_owners() -> None:
    async with running_edge() as edge:
        assert (await get(edge, "/readyz", None)).status == 200
        edge.owner.state = Readiness(False, "no lanes")
        reply = await get(edge, "/readyz", None)
        assert (reply.status, json.loads(reply.body)["reason"]) == (503, "no lanes")
        assert (await get(edge, "/livez", None)).status == 200


@pytest.mark.attack(6)
@pytest.mark.parametrize(
    ("rule", "key", "status"),
    [
        ("loopback", None, 200),
        ("all", None, 200),
        ("operator", None, 401),
        ("operator", KEY, 403),
        ("operator", OPERATOR_KEY, 200),
    ],
)
async def test_metrics_are_for_whom_the_setting_says(rule: str, key: str | None, status: int) -> None:
    async with running_edge(metrics_for=rule) as edge:
        reply = await get(edge, "/metrics", key)
        assert reply.status == status
        if status == 200:
            assert b"freehold_edge_http_requests_total" in reply.body


@pytest.mark.attack(6)
async def test_no_route_answers_without_a_key_unless_it_is_listed_as_open() -> None:
    """The table of routes itself is the list of cases."""
    async with running_edge() as edge:
        front = edge.service._http._config.app
        assert isinstance(front, Front)
        paths = {route.path for route in front._api.routes}  # type: ignore[attr-defined]
        assert paths >= OPEN
        for path in [*sorted(paths - OPEN), "/v1/chat/completions"]:
            target = path.replace("{request_id}", REQUEST).replace("{model:path}", MODEL)
            method = "POST" if path.endswith("completions") else "GET"
            for key in (None, "wrong", ""):
                reply, _ = await ask(edge, head(method, target, "Content-Length: 0", key=key))
                assert (reply.status, reply.error["code"]) == (401, "invalid_api_key"), path


@pytest.mark.parametrize(
    ("method", "target", "status", "allow"),
    [
        ("GET", "/", 404, None),
        ("GET", "/v1/chat/completions/", 404, None),
        ("GET", "/docs", 404, None),
        ("GET", "/v1/models/", 404, None),
        ("GET", "/v1/chat/completions", 405, "POST"),
        ("DELETE", "/v1/models", 405, "GET"),
        ("OPTIONS", "/v1/usage", 405, "GET"),
        ("BREW", "/v1/models", 400, None),
    ],
)
async def test_what_is_not_there_is_told_in_openais_shape(
    method: str, target: str, status: int, allow: str | None
) -> None:
    async with running_edge() as edge:
        reply, _ = await ask(edge, head(method, target))
        assert reply.status == status
        assert set(reply.error) == {"message", "type", "param", "code", "request_id"}
        assert reply.headers.get("allow") == allow


async def test_the_schema_tells_the_whole_api() -> None:
    async with running_edge() as edge:
        schema: dict[str, Any] = json.loads((await get(edge, "/openapi.json", None)).body)
        front: Any = edge.service._http._config.app
        served = {route.path_format for route in front._api.routes if isinstance(route, APIRoute)}
        assert set(schema["paths"]) == served | {"/v1/chat/completions"}
        body = schema["components"]["schemas"]["ChatBody"]
        assert body["required"] == ["model", "messages"]
        assert body["additionalProperties"] is False
        assert body["properties"]["n"]["enum"] == [1, None]
        refs = [part.split('"')[0] for part in json.dumps(schema).split('"$ref": "#/components/schemas/')[1:]]
        assert set(refs) <= set(schema["components"]["schemas"])

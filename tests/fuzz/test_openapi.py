"""What the edge serves is what `/openapi.json` says: requests that fit it are answered, others are refused in
the documented shape, and nothing is ever a 5xx.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx
import pytest
import requests
import schemathesis
from hypothesis import given
from hypothesis import strategies as st
from schemathesis import GenerationMode, Response
from schemathesis.checks import not_a_server_error
from schemathesis.schemas import BaseSchema
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from tests.fuzz.conftest import worlds
from tests.fuzz.served import PATIENCE_S, Served
from tests.integration.edge_front import KEY, MODEL

CHAT = ("/v1/chat/completions", "POST")
OPERATIONS = [
    ("/v1/models", "GET"),
    ("/v1/models/{model}", "GET"),
    ("/v1/usage", "GET"),
    ("/v1/receipts/{request_id}", "GET"),
    ("/livez", "GET"),
    ("/readyz", "GET"),
    ("/metrics", "GET"),
    CHAT,
]
TAKES_ANYTHING = {"/livez", "/readyz", "/metrics"}
"""Nothing that a client may say to these does not fit."""
CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
]
TOGETHER = {"stream_options", "max_tokens"}
"""Fields that are right by themselves and may be wrong beside another; the document says so in words."""


@pytest.fixture(scope="module")
def served() -> Iterator[Served]:
    made = Served()
    yield made
    made.close()


@pytest.fixture(scope="module")
def schema(served: Served) -> BaseSchema:
    return schemathesis.openapi.from_dict(httpx.get(f"{served.base}/openapi.json").json())


def ask(
    served: Served, schema: BaseSchema, operation: tuple[str, str], mode: GenerationMode, draw: Any
) -> Any:
    """One drawn case, its answer, and the document's checks of it."""
    path, method = operation
    case = draw(schema[path][method].as_strategy(mode))
    for name in ("authorization", "x-api-key"):
        (case.headers or {}).pop(name, None)  # it makes keys up, and there is a right one
    if isinstance(case.body, dict) and mode is GenerationMode.POSITIVE:
        case.body["model"] = MODEL
    with requests.Session() as session:
        answer = case.call(
            base_url=served.base,
            session=session,
            headers={"Authorization": f"Bearer {KEY}"},
            timeout=PATIENCE_S,
        )
    case.validate_response(answer, checks=CHECKS)
    return case, answer


def in_shape(answer: Response) -> None:
    """Fail unless a refusal has OpenAI's shape and says that a repetition is of no use."""
    error = answer.json()["error"]
    assert set(error) >= {"message", "type", "param", "code", "request_id"}
    assert error["message"]
    assert error["message"].isprintable()
    assert answer.headers["x-should-retry"] == ["false"]


def test_every_operation_of_the_document_is_fuzzed(schema: BaseSchema) -> None:
    found = {(one.ok().path, one.ok().method.upper()) for one in schema.get_all_operations()}
    assert found == set(OPERATIONS)


@pytest.mark.attack(17, 20, 21)
@pytest.mark.parametrize("operation", OPERATIONS, ids=str)
@worlds(25)
@given(data=st.data())
def test_what_fits_the_document_is_answered(
    served: Served, schema: BaseSchema, operation: tuple[str, str], data: st.DataObject
) -> None:
    case, answer = ask(served, schema, operation, GenerationMode.POSITIVE, data.draw)
    if answer.status_code >= httpx.codes.BAD_REQUEST:
        in_shape(answer)
    if operation == CHAT and answer.status_code != httpx.codes.OK:
        param = answer.json()["error"]["param"]
        # JSON Schema takes 1.0 for an integer, and the edge does not.
        assert param in TOGETHER or isinstance(case.body[param], float), answer.text


@pytest.mark.attack(14, 15, 16, 17, 18, 19, 20, 21)
@pytest.mark.parametrize("operation", [one for one in OPERATIONS if one[0] not in TAKES_ANYTHING], ids=str)
@worlds(25)
@given(data=st.data())
def test_what_does_not_fit_is_refused_in_shape(
    served: Served, schema: BaseSchema, operation: tuple[str, str], data: st.DataObject
) -> None:
    _, answer = ask(served, schema, operation, GenerationMode.NEGATIVE, data.draw)
    if answer.status_code >= httpx.codes.BAD_REQUEST:
        in_shape(answer)

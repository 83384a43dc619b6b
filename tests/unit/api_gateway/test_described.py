"""What OpenAPI says about refusals."""

from __future__ import annotations

from typing import Any

from millrace.contracts.api import PROBLEM
from services.api_gateway.described import with_refusals

REFERENCE = {"$ref": "#/components/schemas/Problem"}


def responses(operation: dict[str, Any]) -> dict[str, Any]:
    document = with_refusals({"paths": {"/x": {"get": operation}}})
    assert "Problem" in document["components"]["schemas"]
    found: dict[str, Any] = document["paths"]["/x"]["get"]["responses"]
    return found


def test_what_nobody_signs_in_for_and_takes_nothing_has_few_refusals() -> None:
    assert set(responses({"responses": {"200": {}}})) == {"200", "400", "403", "503"}


def test_what_needs_a_sign_in_a_parameter_and_a_body_says_how_each_is_refused() -> None:
    told = responses({"responses": {"202": {}}, "security": [{}], "requestBody": {}})
    assert set(told) == {"202", "400", "401", "403", "408", "413", "422", "429", "503"}
    assert all(
        answer["content"] == {PROBLEM: {"schema": REFERENCE}} for status, answer in told.items() if status > "3"
    )


def test_the_words_of_a_route_stay_and_its_refusal_becomes_a_problem() -> None:
    own = {"description": "No such share", "content": {"application/json": {"schema": REFERENCE}}}
    told = responses({"responses": {"404": own, "400": {**own, "description": "Not a cursor"}}})
    assert told["404"] == {"description": "No such share", "content": {PROBLEM: {"schema": REFERENCE}}}
    assert told["400"]["description"] == "Not a cursor"


def test_what_a_route_answers_besides_refusals_stays_as_it_is() -> None:
    readiness = {"description": "not ready", "content": {"application/json": {"schema": {"type": "object"}}}}
    assert responses({"responses": {"503": readiness}})["503"] == readiness


def test_fastapis_own_form_of_a_refusal_is_not_told() -> None:
    theirs = {"content": {"application/json": {"schema": {"$ref": "#/components/schemas/HTTPValidationError"}}}}
    told = responses({"responses": {"422": theirs}, "parameters": [{}]})
    assert told["422"]["content"] == {PROBLEM: {"schema": REFERENCE}}

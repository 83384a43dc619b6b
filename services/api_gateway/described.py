"""What /docs and /openapi.json say about refusals: which there are, and that they are problem documents. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from millrace.contracts.api import PROBLEM, Problem

_REFERENCE: Final = {"$ref": f"#/components/schemas/{Problem.__name__}"}
_CONTENT: Final = {PROBLEM: {"schema": _REFERENCE}}
_METHODS: Final = frozenset({"get", "put", "post", "delete", "head", "patch"})
_ALL: Final = {
    "400": "The request cannot be read, or is addressed to a host name that is not the gateway's",
    "403": "Not for this role or account, or sent by a page of another site",
    "503": "A part that this needs is away, or there is too much to do; asking again is safe",
}
_SIGNED_IN: Final = {"401": "No token, or none that is valid", "429": "More requests than the limit"}
_INPUT: Final = {"422": "A parameter or the body is not valid"}
_BODY: Final = {"408": "The body did not come in time", "413": "The body is too large"}


def with_refusals(document: Mapping[str, Any]) -> dict[str, Any]:
    """An OpenAPI document with every refusal that an operation may answer with; what routes say themselves stays.

    FastAPI describes problem documents as plain JSON, and refusals of parameters by a form of its own.
    """
    paths = {path: _operations(operations) for path, operations in document["paths"].items()}
    components = document.get("components", {})
    schemas = {
        name: schema
        for name, schema in components.get("schemas", {}).items()
        if name not in {"HTTPValidationError", "ValidationError"}
    }
    schemas[Problem.__name__] = Problem.model_json_schema()
    return {**document, "paths": paths, "components": {**components, "schemas": schemas}}


def _operations(operations: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: {**operation, "responses": _responses(operation)} if name in _METHODS else operation
        for name, operation in operations.items()
    }


def _responses(operation: Mapping[str, Any]) -> dict[str, Any]:
    told: dict[str, Any] = operation["responses"]
    has_body = "requestBody" in operation
    refusals = {
        **_ALL,
        **(_SIGNED_IN if "security" in operation else {}),
        **(_INPUT if has_body or "parameters" in operation else {}),
        **(_BODY if has_body else {}),
    }
    own = {status: answer["description"] for status, answer in told.items() if _is_refusal(answer)}
    answers = {status: answer for status, answer in told.items() if status not in own and status != "422"}
    described = {**refusals, **own}
    return answers | {
        status: {"description": described[status], "content": _CONTENT}
        for status in sorted(described)
        if status not in answers
    }


def _is_refusal(answer: Mapping[str, Any]) -> bool:
    return any(form.get("schema") == _REFERENCE for form in answer.get("content", {}).values())

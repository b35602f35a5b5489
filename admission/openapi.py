"""OpenAPI: the plain routes described, with the JSON Schemas of the catalog.

FastAPI cannot see into plain routes, so the description is written here; a contract test holds its
paths and methods to the routes of the app.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from admission.overview import Overview
from schemas.reservations import (
    ErrorBody,
    Misdirected,
    RefusalBody,
    Renewal,
    RenewBody,
    Reservation,
    ReserveBody,
    SettleBody,
    SettlementResult,
)

BODIES: Final = (
    ErrorBody,
    Misdirected,
    Overview,
    RefusalBody,
    RenewBody,
    Renewal,
    Reservation,
    ReserveBody,
    SettleBody,
    SettlementResult,
)
Answers = dict[int, tuple[str, type[msgspec.Struct]]]
_REF: Final = "#/components/schemas/{name}"
_REFUSAL_HEADERS: Final = {
    "Retry-After": "whole seconds, rounded up",
    "retry-after-ms": "milliseconds",
    "X-Refusal-Reason": "the reason",
    "x-tokenpools-ticket": "send it back with the retry",
    "x-tokenpools-home": "retry there once",
}


def description(*, title: str, version: str) -> dict[str, Any]:
    """Return the OpenAPI document of the admission API."""
    _, components = msgspec.json.schema_components(BODIES, ref_template=_REF)
    return {
        "openapi": "3.1.0",
        "info": {"title": title, "version": version},
        "paths": _paths(),
        "components": {
            "schemas": components,
            "securitySchemes": {"key": {"type": "http", "scheme": "bearer"}},
        },
        "security": [{"key": []}, {}],
    }


def _paths() -> dict[str, Any]:
    ended: Answers = {200: ("It ended, now or before", SettlementResult)}
    reservation = "/v1/reservations/{id}"
    return {
        "/v1/reservations": {"post": _reserve()},
        f"{reservation}/renewal": {
            "post": _call("Keep a reservation alive", RenewBody, {200: ("Go on, or stop", Renewal)})
        },
        f"{reservation}/settlement": {
            "post": _call("End a reservation with what it used", SettleBody, ended)
        },
        reservation: {"delete": _call("End a reservation that used nothing", None, ended)},
        "/v1/pools": {"get": _operation("Shares and usage here", {200: ("Pools", Overview)})},
        "/healthz": {"get": _operation("The process answers", {200: ("It does", ErrorBody)})},
        "/readyz": {
            "get": _operation(
                "Requests can be served",
                {200: ("They can", ErrorBody), 503: ("What is missing", ErrorBody)},
            )
        },
        "/metrics": {"get": {"summary": "Prometheus", "responses": {"200": _text()}}},
    }


def _reserve() -> dict[str, Any]:
    operation = _operation(
        "Ask whether a request may start",
        {
            201: ("It may start", Reservation),
            400: ("It can never fit, or is not JSON", RefusalBody),
            401: ("No key", ErrorBody),
            403: ("Another entitlement's key", ErrorBody),
            404: ("No such pool or entitlement", ErrorBody),
            413: ("The body is too large", ErrorBody),
            422: ("A field is wrong", ErrorBody),
            429: ("It may not start", RefusalBody),
            503: ("No state of the pool yet", RefusalBody),
        },
    )
    operation["requestBody"] = _content(ReserveBody)
    operation["parameters"] = [
        {"name": "Idempotency-Key", "in": "header", "schema": {"type": "string"}}
    ]
    for status in ("429", "503"):
        operation["responses"][status]["headers"] = {
            name: {"description": text, "schema": {"type": "string"}}
            for name, text in _REFUSAL_HEADERS.items()
        }
    return operation


def _call(summary: str, body: type[msgspec.Struct] | None, answers: Answers) -> dict[str, Any]:
    operation = _operation(
        summary,
        answers
        | {
            401: ("No key", ErrorBody),
            403: ("Another entitlement's reservation", ErrorBody),
            404: ("No such reservation", ErrorBody),
            421: ("Another admitter answers for it", Misdirected),
            503: ("No state that is new enough", ErrorBody),
        },
    )
    operation["parameters"] = [
        {"name": "id", "in": "path", "required": True, "schema": {"type": "string"}}
    ]
    if body is not None:
        operation["requestBody"] = _content(body)
    return operation


def _operation(summary: str, answers: Answers) -> dict[str, Any]:
    responses = {
        str(status): {"description": text, **_content(kind)}
        for status, (text, kind) in answers.items()
    }
    return {"summary": summary, "responses": responses}


def _content(kind: type[msgspec.Struct]) -> dict[str, Any]:
    schema = {"$ref": _REF.format(name=kind.__name__)}
    return {"content": {"application/json": {"schema": schema}}}


def _text() -> dict[str, Any]:
    return {"description": "Metrics", "content": {"text/plain": {"schema": {"type": "string"}}}}

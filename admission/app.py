"""The app: the admission API as an ASGI application, over an admitter that somebody else feeds."""

from __future__ import annotations

from typing import Any, Final

from fastapi import FastAPI

from admission.admitter import Admitter
from admission.metrics import exposition_of
from admission.openapi import description
from admission.routes import Routes

TITLE: Final = "tokenpools admission"
VERSION: Final = "1"


class AdmissionApp(FastAPI):
    """FastAPI with the description of the plain routes."""

    def openapi(self) -> dict[str, Any]:
        """Return the OpenAPI document."""
        if self.openapi_schema is None:
            self.openapi_schema = description(title=TITLE, version=VERSION)
        return self.openapi_schema


def build_app(admitter: Admitter, *, body_bytes_max: int) -> FastAPI:
    """Return the app; it has no start-up of its own."""
    app = AdmissionApp(title=TITLE, version=VERSION, docs_url=None, redoc_url=None)
    routes = Routes(admitter, body_bytes_max, exposition_of(admitter))
    reservation = "/v1/reservations/{id}"
    app.add_route("/v1/reservations", routes.reserve, ["POST"])
    app.add_route(f"{reservation}/renewal", routes.renew, ["POST"])
    app.add_route(f"{reservation}/settlement", routes.settle, ["POST"])
    app.add_route(reservation, routes.release, ["DELETE"])
    app.add_route("/v1/pools", routes.pools, ["GET"])
    app.add_route("/healthz", routes.healthz, ["GET"])
    app.add_route("/readyz", routes.readyz, ["GET"])
    app.add_route("/metrics", routes.metrics, ["GET"])
    return app

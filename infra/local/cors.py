"""Adds the headers that API Gateway adds to responses to cross-origin requests (infra/cors.py has the values)."""

from __future__ import annotations

from infra import cors
from infra.local.wsgi import Answer, Environ


def with_headers(environ: Environ, answer: Answer) -> Answer:
    """The response with the headers of CORS, if a browser sent the request from a page of another origin."""
    if "HTTP_ORIGIN" not in environ:
        return answer
    headers = {"Access-Control-Allow-Origin": ",".join(cors.ORIGINS)}
    if environ["REQUEST_METHOD"] == "OPTIONS" and "HTTP_ACCESS_CONTROL_REQUEST_METHOD" in environ:
        headers["Access-Control-Allow-Methods"] = ",".join(cors.METHODS)
        headers["Access-Control-Allow-Headers"] = ",".join(cors.REQUEST_HEADERS).lower()
        headers["Access-Control-Max-Age"] = str(cors.MAX_AGE)
    else:
        headers["Access-Control-Expose-Headers"] = ",".join(cors.ANSWER_HEADERS).lower()
    return Answer(answer.status, {**answer.headers, **headers}, answer.body)

"""Large responses: ETags and gzip. Never for secrets, as the compressed length reveals them (BREACH)."""

import gzip
from typing import Any, TypeVar

from django.http import HttpResponseBase, HttpResponseNotModified
from django.utils.cache import patch_vary_headers
from django.utils.http import parse_etags
from rest_framework.request import Request
from rest_framework.response import Response

# Measured on 16 MB: 1.0 MB in 36 ms of CPU; level 6: 0.8 MB in 86 ms.
GZIP_LEVEL = 1
MIN_GZIP_BYTES = 1024
Answer = TypeVar("Answer", bound=HttpResponseBase)


def not_modified(request: Request, version: str) -> HttpResponseNotModified | None:
    """A 304 with the caching headers if the client's If-None-Match has this version, else None."""
    etags = parse_etags(request.headers.get("If-None-Match", ""))
    if etags != ["*"] and _etag(version) not in {f"W/{etag.removeprefix('W/')}" for etag in etags}:
        return None
    return _revalidated(HttpResponseNotModified(), version)


def respond(request: Request, data: Any, version: str | None = None) -> Response:
    """A response that is compressed for clients that accept gzip. With a `version` it has an ETag and the client may
    keep it, but must revalidate it before use."""
    response = Response(data) if version is None else _revalidated(Response(data), version)
    patch_vary_headers(response, ["Accept-Encoding"])
    if _accepts_gzip(request.headers.get("Accept-Encoding", "")):
        response.add_post_render_callback(_compress)
    return response


def _etag(version: str) -> str:
    """Weak, as it is the same for the compressed and the plain response."""
    return f'W/"{version}"'


def _revalidated(response: Answer, version: str) -> Answer:
    response["ETag"] = _etag(version)
    response["Cache-Control"] = "private, no-cache"
    patch_vary_headers(response, ["Accept-Encoding"])
    return response


def _compress(response: Any) -> None:
    if len(response.content) > MIN_GZIP_BYTES:
        response.content = gzip.compress(response.content, GZIP_LEVEL, mtime=0)
        response["Content-Encoding"] = "gzip"


def _accepts_gzip(header: str) -> bool:
    """Whether an `Accept-Encoding` header accepts gzip: a weight of 0 refuses, "*" covers codings not named."""
    weights = dict(_coding(part) for part in header.lower().replace(" ", "").split(","))
    return weights.get("gzip", weights.get("*", 0)) > 0


def _coding(text: str) -> tuple[str, float]:
    name, _, weight = text.partition(";q=")
    try:
        return name, float(weight or 1)
    except ValueError:
        return name, 0

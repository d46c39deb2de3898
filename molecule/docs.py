"""The API documentation page, rendered from the OpenAPI description without any script."""

from typing import Any

from django.http import HttpResponse
from django.shortcuts import render
from drf_spectacular.generators import SchemaGenerator
from rest_framework.request import Request

from activity.endpoints import Endpoint

METHODS = ("get", "post", "put", "patch", "delete")


class Docs(Endpoint):
    schema = None

    def get(self, request: Request) -> HttpResponse:
        schema = _openapi()
        groups: dict[str, list[dict[str, Any]]] = {}
        for path, methods in schema["paths"].items():
            for method in (name for name in METHODS if name in methods):
                described = _described(path, method, methods[method], schema["components"]["schemas"])
                groups.setdefault(path.split("/")[1], []).append(described)
        context = {"title": schema["info"]["title"], "groups": sorted(groups.items())}
        return render(request._request, "docs/page.html", context)


def _openapi() -> dict[str, Any]:
    schema: dict[str, Any] = SchemaGenerator().get_schema(request=None, public=True)  # type: ignore[no-untyped-call]
    return schema


def _described(path: str, method: str, operation: dict[str, Any], components: dict[str, Any]) -> dict[str, Any]:
    body = operation.get("requestBody", {}).get("content", {}).get("application/json", {}).get("schema")
    return {
        "id": operation["operationId"],
        "path": path,
        "method": method.upper(),
        "summary": operation.get("summary", ""),
        "parameters": operation.get("parameters", []),
        "body": _fields(body, components) if body else [],
        "answers": [
            {
                "status": status,
                "description": answer.get("description", ""),
                "fields": _fields(_schema_of(answer), components),
            }
            for status, answer in sorted(operation["responses"].items())
        ],
    }


def _schema_of(answer: dict[str, Any]) -> dict[str, Any]:
    schema: dict[str, Any] = answer.get("content", {}).get("application/json", {}).get("schema", {})
    return schema


def _fields(schema: dict[str, Any], components: dict[str, Any]) -> list[dict[str, Any]]:
    """The fields of an object schema, or of an array of objects; empty for other schemas."""
    schema = _resolve(schema, components)
    if schema.get("type") == "array":
        schema = _resolve(schema["items"], components)
    required = schema.get("required", [])
    return [
        {"name": name, "type": _type(field, components), "required": name in required, **_notes(field)}
        for name, field in schema.get("properties", {}).items()
    ]


def _resolve(schema: dict[str, Any], components: dict[str, Any]) -> dict[str, Any]:
    if "allOf" in schema:
        schema = schema["allOf"][0]
    reference = schema.get("$ref", "").rpartition("/")[2]
    resolved: dict[str, Any] = components[reference] if reference else schema
    return resolved


def _type(field: dict[str, Any], components: dict[str, Any]) -> str:
    resolved = _resolve(field, components)
    if "enum" in resolved:
        return " | ".join(str(value) for value in resolved["enum"])
    name = resolved.get("format") or resolved.get("type", "any")
    return f"{name}, or null" if field.get("nullable") else str(name)


def _notes(field: dict[str, Any]) -> dict[str, Any]:
    bounds = [f"{word} {field[name]}" for name, word in BOUNDS if name in field]
    return {"description": field.get("description", ""), "bounds": ", ".join(bounds), "default": field.get("default")}


BOUNDS = (("minimum", "≥"), ("maximum", "≤"), ("minLength", "at least"), ("maxLength", "at most"))

"""How an agent that runs elsewhere connects: addresses, and commands to paste into a shell or a Python file."""

import json
import shlex
from typing import Any

from django.http import HttpRequest
from django.urls import reverse
from rest_framework import serializers

from registry.models import Workspace

# The agent of a command that is pasted unchanged cannot be called, but is online.
PLACEHOLDER_URL = "remote://no-inbound"
# Where no token is issued.
PLACEHOLDER_TOKEN = "ENROLMENT_TOKEN"  # noqa: S105


class Connection(serializers.Serializer[Any]):
    """What an agent needs to connect. It has an enrolment token, and so is shown once."""

    auth_token = serializers.CharField(help_text="The enrolment token: lets one agent register once.")
    platform_url = serializers.CharField()
    registry_endpoint = serializers.CharField(help_text="Where the agent registers, once.")
    heartbeat_endpoint = serializers.CharField(
        help_text="Where it sends heartbeats, with the token of its registration."
    )
    curl_register_template = serializers.CharField(help_text="A shell command that registers it.")
    python_snippet = serializers.CharField(help_text="A program that registers it and sends heartbeats.")


def instructions(request: HttpRequest, workspace: Workspace, enrolment_token: str) -> dict[str, str]:
    """The fields of Connection, at the address that this request came to."""
    register, heartbeat = (request.build_absolute_uri(reverse(route)) for route in ("register", "heartbeat"))
    registration = {"id": str(workspace.id), "url": PLACEHOLDER_URL, "agent_card": {"name": workspace.name}}
    return {
        "auth_token": enrolment_token,
        "platform_url": register.removesuffix("/registry/register"),
        "registry_endpoint": register,
        "heartbeat_endpoint": heartbeat,
        "curl_register_template": _curl(register, registration, enrolment_token),
        "python_snippet": PYTHON.format(
            register=register, heartbeat=heartbeat, registration=registration, token=enrolment_token
        ),
    }


def _curl(address: str, body: dict[str, Any], token: str) -> str:
    headers = (f"Authorization: Bearer {token}", "Content-Type: application/json")
    lines = [f"curl -sS {shlex.quote(address)}", *(f"-H {shlex.quote(header)}" for header in headers)]
    return " \\\n  ".join([*lines, f"-d {shlex.quote(json.dumps(body))}"])


PYTHON = """\
import json
import time
import urllib.request

REGISTRATION = {registration!r}


def post(address, body, token):
    headers = {{"Authorization": "Bearer " + token, "Content-Type": "application/json"}}
    request = urllib.request.Request(address, json.dumps(body).encode(), headers)
    with urllib.request.urlopen(request) as response:
        return json.load(response)


# Keep the token: it is shown once, and the enrolment token below works once.
token = post({register!r}, REGISTRATION, {token!r})["auth_token"]
while True:
    post({heartbeat!r}, {{"workspace_id": REGISTRATION["id"], "active_tasks": 0}}, token)
    time.sleep(20)
"""

"""What a browser loads for a page of the admin the first time, compressed: HTML, styles, scripts with their imports."""

import gzip
import re
from pathlib import Path, PurePath
from typing import Any
from uuid import UUID

import pytest
from django.contrib import admin
from django.contrib.staticfiles import finders
from django.test import Client
from django.urls import reverse

from activity import log
from activity.log import Entry
from molecule.staticfiles import OWN
from registry.models import Workspace
from tests.registry.admin.pages import Make, change_url, url_of
from tests.scripts import sizes

LOADED = re.compile(r'<(?:link rel="(?:stylesheet|icon)"[^>]* href|script[^>]* src|img src)="/static/([^"]+)"')
MAX_BYTES = 46_000
# Where a workspace is chosen from many: Django's select2, with jQuery.
MAX_BYTES_WITH_SELECT = 95_000
ROWS = 50
LISTS = sorted(model._meta.label_lower.replace(".", "_") for model in admin.site._registry)


def parts(answer: Any) -> dict[str, int]:
    """The bytes of each file, and of the page itself as ""."""
    assert answer.status_code == 200
    found = {"": len(gzip.compress(answer.content))}
    for name in LOADED.findall(answer.content.decode()):
        is_own = name.endswith(".js") and PurePath(name).parts[0] in OWN
        found |= sizes(name) if is_own else {name: len(gzip.compress(read(name)))}
    return found


def read(name: str) -> bytes:
    """In production jQuery is the smaller file."""
    return Path(str(finders.find(re.sub(r"(jquery|select2\.full)\.(js|css)$", r"\1.min.\2", name)))).read_bytes()


@pytest.fixture
def lead(make_workspace: Make) -> Workspace:
    lead = make_workspace("Lead", role="Reads invoices", model="m")
    for number in range(ROWS):
        make_workspace(f"Member {number} of the team", parent_id=lead.id, role="Reconciles invoices")
    members = Workspace.objects.filter(parent_id=lead.id).values_list("id", flat=True)
    log.write(lead.id, [_call(number, member) for number, member in enumerate(members)])
    return lead


def _call(number: int, member: UUID) -> Entry:
    return Entry(
        activity_type="a2a_receive", method="message/send", source_id=member, duration_ms=number,
        summary=f"Asked for the figures of quarter {number}",
    )  # fmt: skip


def test_the_login_is_light(client: Client, db: None) -> None:
    found = parts(client.get(reverse("admin:login")))
    assert sum(found.values()) <= MAX_BYTES, found


@pytest.mark.parametrize("name", ["index", "system", *(f"{name}_changelist" for name in LISTS)])
def test_lists_and_overviews_are_light(root: Client, lead: Workspace, name: str) -> None:
    found = parts(root.get(reverse(f"admin:{name}")))
    assert sum(found.values()) <= MAX_BYTES, found
    assert not [file for file in found if "jquery" in file]


@pytest.mark.parametrize("tab", ["", "activity", "events", "secrets", "access", "team", "connect"])
def test_the_page_of_a_workspace_is_light(root: Client, lead: Workspace, tab: str) -> None:
    found = parts(root.get(url_of(tab, lead) if tab else change_url(lead)))
    assert sum(found.values()) <= MAX_BYTES, found
    assert not [file for file in found if "jquery" in file]


@pytest.mark.parametrize("name", ["settings", "agent"])
def test_forms_that_choose_a_workspace_load_what_they_need(root: Client, lead: Workspace, name: str) -> None:
    found = parts(root.get(url_of(name, lead)))
    assert sum(found.values()) <= MAX_BYTES_WITH_SELECT, found

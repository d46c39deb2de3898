"""Clients of users with different permissions, and a row for every list."""

import pytest
from django.contrib.auth.models import User
from django.test import Client

from activity import log
from activity.log import Entry
from registry.identity import tokens
from registry.models import Workspace
from registry.secrets import store
from registry.supervision import jobs
from tests.registry.admin.pages import CANARY, Make, client_with


@pytest.fixture
def root(client: Client, django_user_model: type[User]) -> Client:
    client.force_login(django_user_model.objects.create_superuser("ada", "", "x"))
    return client


@pytest.fixture
def viewer(db: None, django_user_model: type[User]) -> Client:
    return client_with(django_user_model, codename__startswith="view_")


@pytest.fixture
def operator(db: None, django_user_model: type[User]) -> Client:
    return client_with(django_user_model, codename__in=["view_workspace", "change_workspace"])


@pytest.fixture
def furnished(make_workspace: Make, django_user_model: type[User]) -> Workspace:
    """A workspace with something in every table."""
    workspace = make_workspace("Furnished", model="claude", role="Everything")
    user = django_user_model.objects.create_user("token-holder")
    tokens.issue_workspace_token(workspace.id)
    tokens.issue_operator_token(user)
    store.set_for_workspace(workspace.id, "API_KEY", CANARY, actor="test")
    store.set_for_all("API_KEY", CANARY, actor="test")
    log.write(workspace.id, [Entry(activity_type="agent_log", summary="Did it", request_body={"deep": [1]})])
    jobs.tick(jobs.SUPERVISOR)
    return workspace

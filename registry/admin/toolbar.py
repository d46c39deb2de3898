"""The verbs on top of a workspace's page: those that can be said to it as it is."""

from dataclasses import dataclass

from django.urls import reverse

from registry.admin import verbs
from registry.admin.verbs import Verb
from registry.models import Status, Workspace


@dataclass(frozen=True, kw_only=True)
class Button:
    """`posts`: acts at once unless it would touch others; else a link to a page that asks."""

    title: str
    url: str
    posts: bool
    destroys: bool = False


def buttons(workspace: Workspace) -> list[Button]:
    if workspace.status == Status.REMOVED:
        return []
    has_team = Workspace.objects.living().filter(parent_id=workspace.id).exists()
    said = [_said(verb, asks=has_team and verb.team) for verb in _liveliness(workspace)]
    said.append(Button(title="Add members…", url=_url("expand", workspace), posts=False))
    said.append(Button(title="New enrolment token", url=_url("enrol", workspace), posts=True))
    if has_team:
        said.append(_asked("Collapse team…", verbs.COLLAPSE, workspace))
    return [*said, _asked("Remove…", verbs.REMOVE, workspace)]


def _liveliness(workspace: Workspace) -> tuple[Verb, ...]:
    return tuple(verb for verb in (verbs.PAUSE, verbs.RESUME, verbs.RESTART) if verb.applies(workspace))


def _said(verb: Verb, *, asks: bool) -> Button:
    return Button(title=f"{verb.title} team…" if asks else verb.title, url=verb.url, posts=True)


def _asked(title: str, verb: Verb, workspace: Workspace) -> Button:
    return Button(title=title, url=f"{verb.url}?id={workspace.id}", posts=False, destroys=True)


def _url(name: str, workspace: Workspace) -> str:
    return reverse(f"admin:registry_workspace_{name}", args=[workspace.id])

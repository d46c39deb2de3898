"""The buttons on top of a workspace's page: the verbs that apply to it in its present state."""

from dataclasses import dataclass

from django.urls import reverse
from django.utils.text import Truncator

from registry.admin import columns, verbs
from registry.admin.verbs import Verb
from registry.identity import tokens
from registry.models import Status, Workspace
from registry.organisation import workspaces


@dataclass(frozen=True, kw_only=True)
class Button:
    """`is_post`: posts, and acts at once unless it affects a team; otherwise it links to a page.

    `is_primary`: what the workspace needs now.
    """

    title: str
    url: str
    is_post: bool
    destructive: bool = False
    is_primary: bool = False


def buttons(workspace: Workspace, *, may_reveal: bool) -> list[Button]:
    """Returns the buttons in order; none for a removed workspace. `may_reveal`: the user may reveal secret values."""
    if workspace.status == Status.REMOVED:
        return []
    has_team = Workspace.objects.active().filter(parent_id=workspace.id).exists()
    result = [
        _post_button(verb, needs_confirmation=has_team and verb.includes_team) for verb in _state_verbs(workspace)
    ]
    result.append(Button(title="Add members…", url=_url("expand", workspace), is_post=False))
    if columns.has_expired(workspace):
        result.insert(0, _enrolment_button(workspace, is_primary=True))
    else:
        result.append(_enrolment_button(workspace, is_primary=False))
    if card_name := workspaces.differing_card_name(workspace):
        title = f"Rename to “{Truncator(card_name).chars(40)}”"
        result.append(Button(title=title, url=_url("rename", workspace), is_post=True))
    if may_reveal and tokens.has_token_that_may_not_reveal(workspace.id):
        result.append(Button(title="Let it read secrets", url=_url("reveal", workspace), is_post=True))
    if has_team:
        result.append(_link_button("Remove team…", verbs.COLLAPSE, workspace))
    return [*result, _link_button("Remove…", verbs.REMOVE, workspace)]


def _state_verbs(workspace: Workspace) -> tuple[Verb, ...]:
    return tuple(verb for verb in (verbs.PAUSE, verbs.RESUME, verbs.RESTART) if verb.applies(workspace))


def _post_button(verb: Verb, *, needs_confirmation: bool) -> Button:
    return Button(title=f"{verb.title} team…" if needs_confirmation else verb.title, url=verb.url, is_post=True)


def _link_button(title: str, verb: Verb, workspace: Workspace) -> Button:
    return Button(title=title, url=f"{verb.url}?id={workspace.id}", is_post=False, destructive=True)


def _enrolment_button(workspace: Workspace, *, is_primary: bool) -> Button:
    return Button(title="New enrolment token", url=_url("enrol", workspace), is_post=True, is_primary=is_primary)


def _url(name: str, workspace: Workspace) -> str:
    return reverse(f"admin:registry_workspace_{name}", args=[workspace.id])

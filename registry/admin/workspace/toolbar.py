"""The buttons on top of a workspace's page: the verbs that apply to it in its present state."""

from dataclasses import dataclass, replace

from django.utils.text import Truncator

from registry.admin.actions.urls import verb_url
from registry.admin.workspace.visit import Visit
from registry.identity import tokens
from registry.models import ALIVE, Status
from registry.organisation import verbs, workspaces
from registry.organisation.verbs import Verb

NAME_LENGTH = 40


@dataclass(frozen=True, kw_only=True)
class Button:
    """`is_post`: posts, and acts at once unless it affects a team; otherwise it links to a page.

    `name`: what a renaming button posts, the name that the user saw.
    """

    title: str
    url: str
    is_post: bool = False
    destructive: bool = False
    name: str = ""


@dataclass(frozen=True, kw_only=True)
class Toolbar:
    """`primary`: what the workspace needs now. `shown` stand beside it, the others in the menu "More"."""

    primary: Button | None = None
    shown: tuple[Button, ...] = ()
    menu: tuple[Button, ...] = ()

    @property
    def buttons(self) -> list[Button]:
        """All of them, in order."""
        return [*([self.primary] if self.primary else []), *self.shown, *self.menu]


def toolbar(visit: Visit) -> Toolbar:
    """The verbs that this user may use now."""
    if visit.is_removed:
        forward = Button(title="Forward…", url=visit.url("forward"))
        return Toolbar(shown=(forward,) if visit.may_act else ())
    if not visit.may_act:
        return Toolbar(shown=(_export(visit),))
    connect = Button(title="Connect its agent", url=visit.url("connect"))
    buttons = _state_buttons(visit)
    if _awaits_agent(visit):
        return Toolbar(primary=connect, shown=buttons, menu=_menu(visit))
    *shown, last = buttons
    if visit.workspace.status == Status.PAUSED or (visit.workspace.status not in ALIVE and shown):
        return Toolbar(primary=last, shown=tuple(shown), menu=_menu(visit, connect))
    return Toolbar(shown=buttons, menu=_menu(visit, connect))


def _awaits_agent(visit: Visit) -> bool:
    """Whether only a new credential helps: no agent has registered yet, or its own is refused."""
    workspace = visit.workspace
    return workspace.status == Status.PROVISIONING or (
        workspace.status == Status.OFFLINE and workspace.refused_at is not None
    )


def _state_buttons(visit: Visit) -> tuple[Button, ...]:
    """Pause or resume; then restart, where this platform runs the agent."""
    applicable = [verb for verb in (verbs.PAUSE, verbs.RESUME, verbs.RESTART) if verb.applies(visit.workspace)]
    return tuple(_post_button(visit, verb) for verb in applicable)


def _menu(visit: Visit, *first: Button) -> tuple[Button, ...]:
    result = [*first, Button(title="Add members…", url=visit.url("expand"))]
    result.append(_with_page(visit, "Move…", verbs.MOVE))
    result += [Button(title="Duplicate…", url=visit.url("duplicate")), _export(visit)]
    if card_name := workspaces.differing_card_name(visit.workspace):
        title = f"Rename to “{Truncator(card_name).chars(NAME_LENGTH)}”"
        result.append(Button(title=title, url=visit.url("rename"), is_post=True, name=card_name))
    if visit.may_reveal and tokens.has_token_that_may_not_reveal(visit.workspace.id):
        result.append(Button(title="Let it read secrets", url=visit.url("reveal"), is_post=True))
    if visit.has_team:
        result.append(_with_page(visit, "Remove team…", verbs.COLLAPSE))
    return (*result, _with_page(visit, "Remove…", verbs.REMOVE))


def _export(visit: Visit) -> Button:
    return Button(title="Export bundle", url=visit.url("bundle"))


def _post_button(visit: Visit, verb: Verb) -> Button:
    button = Button(title=verb.title, url=verb_url(verb), is_post=True)
    return replace(button, title=f"{verb.title} team…") if visit.has_team and verb.includes_team else button


def _with_page(visit: Visit, title: str, verb: Verb) -> Button:
    """A verb that always asks, on a page of its own."""
    return Button(title=title, url=f"{verb_url(verb)}?id={visit.workspace.id}", destructive=verb.destructive)

"""The canvas page."""

from django.conf import settings
from django.contrib import admin
from django.contrib.auth.decorators import login_required
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.csrf import ensure_csrf_cookie
from django.views.decorators.http import require_safe

from activity.principals import Level
from registry.identity.tokens import principal_for_user
from registry.liveness import flapping
from registry.organisation.verbs import VERBS

NO_PERMISSIONS = (
    "Your account has no permissions yet. Ask an administrator to put it into one of the groups viewers, operators or "
    "administrators."
)


@require_safe
@login_required
@ensure_csrf_cookie
def page(request: HttpRequest) -> HttpResponse:
    """The canvas. A user without permission to act gets it read-only."""
    principal = principal_for_user(request.user)
    if principal.level < Level.VIEW:
        raise PermissionDenied(NO_PERMISSIONS)
    may_act = principal.level >= Level.ACT
    context = {
        "may_act": may_act,
        "verbs": [verb.as_data() for verb in VERBS] if may_act else [],
        "may_administer": principal.level >= Level.ADMINISTER,
        "flapping": flapping.rule(),
        "navigation": admin.site.each_context(request)["navigation"] if admin.site.has_permission(request) else [],
        "csrf_cookie": settings.CSRF_COOKIE_NAME,
    }
    return render(request, "canvas/page.html", context)

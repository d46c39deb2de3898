"""Every route. Its name is its row in molecule/policy.py."""

from django.conf import settings
from django.contrib import admin
from django.urls import URLPattern, URLResolver, path, re_path
from django.views.generic import RedirectView
from drf_spectacular.views import SpectacularJSONAPIView

from activity import api as activity
from canvas import api as canvas
from canvas import views
from molecule import health, metrics
from molecule.docs import Docs
from molecule.endpoints import NotFound, Nothing
from registry.api import bundles, files, life, overview, search, secrets, teams, templates, topology

urlpatterns: list[URLPattern | URLResolver] = [
    path("", views.page, name="canvas"),
    path("favicon.ico", RedirectView.as_view(url=f"{settings.STATIC_URL}canvas/icon.svg"), name="favicon"),
    path("health", health.Health.as_view(), name="health"),
    path("health/ready", health.Ready.as_view(), name="health-ready"),
    path("metrics", metrics.Metrics.as_view(), name="metrics"),
    path("api/schema", SpectacularJSONAPIView.as_view(), name="schema"),
    path("api/docs", Docs.as_view(), name="docs"),
    path("templates", templates.Templates.as_view(), name="templates"),
    path("templates/import", templates.ImportTemplate.as_view(), name="import-template"),
    path("templates/<str:template>", templates.OneTemplate.as_view(), name="template"),
    path("bundles/export/<str:workspace_id>", bundles.ExportBundle.as_view(), name="export-bundle"),
    path("bundles/import", bundles.ImportBundle.as_view(), name="import-bundle"),
    path("org/templates", bundles.OrgTemplates.as_view(), name="org-templates"),
    path("org/import", bundles.ImportOrganisation.as_view(), name="import-organisation"),
    path("workspaces/<str:workspace_id>/duplicate", bundles.Duplicate.as_view(), name="duplicate"),
    path("approvals/pending", Nothing.as_view(), name="approvals-pending"),
    path("workspaces", canvas.Workspaces.as_view(), name="workspaces"),
    path("workspaces/<str:workspace_id>", canvas.OneWorkspace.as_view(), name="workspace"),
    path("workspaces/<str:workspace_id>/availability", overview.WorkspaceAvailability.as_view(), name="availability"),
    path("workspaces/<str:workspace_id>/state", life.State.as_view(), name="workspace-state"),
    path("workspaces/<str:workspace_id>/activity", life.WorkspaceActivity.as_view(), name="workspace-activity"),
    path("workspaces/<str:workspace_id>/notify", life.Notify.as_view(), name="workspace-notify"),
    path("workspaces/<str:workspace_id>/enrolment", teams.Enrolment.as_view(), name="enrolment"),
    path("workspaces/<str:workspace_id>/connection", teams.Connection.as_view(), name="connection"),
    path("workspaces/<str:workspace_id>/undo", teams.Undo.as_view(), name="undo"),
    path("workspaces/<str:workspace_id>/pause", teams.Pause.as_view(), name="pause"),
    path("workspaces/<str:workspace_id>/resume", teams.Resume.as_view(), name="resume"),
    path("workspaces/<str:workspace_id>/restart", teams.Restart.as_view(), name="restart"),
    path("workspaces/<str:workspace_id>/expand", teams.Expand.as_view(), name="expand"),
    path("workspaces/<str:workspace_id>/collapse", teams.RemoveTeam.as_view(), name="collapse"),
    path("workspaces/<str:workspace_id>/agent", teams.ActiveAgent.as_view(), name="agent"),
    path("workspaces/<str:workspace_id>/agent/move", teams.MoveAgent.as_view(), name="agent-move"),
    path("workspaces/<str:workspace_id>/agents", teams.Agents.as_view(), name="agents"),
    path("workspaces/<str:workspace_id>/secrets", secrets.WorkspaceSecrets.as_view(), name="workspace-secrets"),
    path("workspaces/<str:workspace_id>/secrets/values", secrets.SecretValues.as_view(), name="secret-values"),
    path("workspaces/<str:workspace_id>/secrets/<str:key>", secrets.WorkspaceSecret.as_view(), name="workspace-secret"),
    path("workspaces/<str:workspace_id>/files", files.WorkspaceFiles.as_view(), name="files"),
    path("workspaces/<str:workspace_id>/files/<path:path>", files.WorkspaceFile.as_view(), name="file"),
    path("workspaces/<str:workspace_id>/file-revisions", files.Revisions.as_view(), name="file-revisions"),
    path("workspaces/<str:workspace_id>/file-revisions/<str:revision>", files.Revision.as_view(), name="file-revision"),
    path(
        "workspaces/<str:workspace_id>/file-revisions/<str:revision>/restore",
        files.RestoreRevision.as_view(),
        name="restore-file",
    ),
    path("workspaces/<str:workspace_id>/shared-context", files.SharedContext.as_view(), name="shared-context"),
    path("workspaces/<str:workspace_id>/config", files.Settings.as_view(), name="agent-settings"),
    path("workspaces/<str:workspace_id>/reveal-secrets", secrets.RevealSecrets.as_view(), name="reveal-secrets"),
    path("workspaces/<str:workspace_id>/model", secrets.Model.as_view(), name="model"),
    path("workspaces/<str:workspace_id>/tokens", secrets.Tokens.as_view(), name="tokens"),
    path("workspaces/<str:workspace_id>/tokens/<str:token_id>", secrets.Token.as_view(), name="token"),
    path("settings/secrets", secrets.GlobalSecrets.as_view(), name="global-secrets"),
    path("settings/secrets/<str:key>", secrets.GlobalSecret.as_view(), name="global-secret"),
    path("admin/secrets", secrets.GlobalSecrets.as_view(), name="global-secrets"),
    path("admin/secrets/<str:key>", secrets.GlobalSecret.as_view(), name="global-secret"),
    path("registry/register", life.Register.as_view(), name="register"),
    path("registry/heartbeat", life.Heartbeat.as_view(), name="heartbeat"),
    path("registry/heartbeats", life.Heartbeats.as_view(), name="heartbeats"),
    path("registry/update-card", life.UpdateCard.as_view(), name="update-card"),
    path("registry/discover/<str:workspace_id>", topology.Discover.as_view(), name="discover"),
    path("registry/check-access", topology.CheckAccess.as_view(), name="check-access"),
    path("registry/explain", topology.Explain.as_view(), name="explain"),
    path("registry/<str:workspace_id>/peers", topology.Peers.as_view(), name="peers"),
    path("search", search.Search.as_view(), name="search"),
    path("attention", overview.AttentionCounts.as_view(), name="attention"),
    path("overview", overview.Overview.as_view(), name="overview"),
    path("activity", activity.Activity.as_view(), name="activity"),
    path("events", activity.Events.as_view(), name="events"),
    path("events/diff", topology.Diff.as_view(), name="events-diff"),
    path("events/<str:workspace_id>", activity.WorkspaceEvents.as_view(), name="workspace-events"),
    path("canvas/snapshot", canvas.Snapshot.as_view(), name="snapshot"),
    path("canvas/viewport", canvas.Viewport.as_view(), name="viewport"),
    path("admin/workspaces/<str:workspace_id>/test-token", life.TestToken.as_view(), name="test-token"),
    path("admin", RedirectView.as_view(pattern_name="admin:index")),
    path("admin/", admin.site.urls),
    # A route of its own, so that API clients get JSON with DEBUG on too.
    re_path("", NotFound.as_view(), name="not-found"),
]

handler400 = "molecule.error_pages.bad_request"
handler403 = "molecule.error_pages.forbidden"
handler404 = "molecule.error_pages.not_found"
handler500 = "molecule.error_pages.server_error"

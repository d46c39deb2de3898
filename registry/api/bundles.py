"""REST for bundles, copies of workspaces, and org templates."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from rest_framework.response import Response

from activity.endpoints import Endpoint, documented
from registry.api.config_serializers import (
    CopyBody,
    CreatedTree,
    DryRunQuery,
    ImportQuery,
    OrgBody,
    OrgCreated,
    OrgTemplateRow,
    Preview,
)
from registry.config import bundles, org_templates
from registry.config.blueprints import Blueprint, Created
from registry.exceptions import Problem

ANY_OBJECT = {"application/json": {"type": "object", "additionalProperties": True}}


def _tree(one: Created) -> dict[str, Any]:
    children = [_tree(child) for child in one.children]
    return {"workspace_id": one.workspace_id, "name": one.name, "status": one.status, "children": children}


def _preview(roots: Sequence[Blueprint], problems: Sequence[Problem]) -> dict[str, Any]:
    return {
        "dry_run": True,
        "count": sum(root.size for root in roots),
        "workspaces": [_planned(root) for root in roots],
        "problems": [vars(problem) for problem in problems],
    }


def _planned(one: Blueprint) -> dict[str, Any]:
    return {
        "name": one.name,
        "role": one.role,
        "tier": one.tier,
        "runtime": one.runtime,
        "model": one.model,
        "template": one.template,
        "files": len(one.files),
        "children": [_planned(child) for child in one.children],
    }


class ExportBundle(Endpoint):
    """`GET /bundles/export/{id}`"""

    @documented("A workspace and its team as a bundle", answers={200: dict}, errors=(404, 409, 410, 413))
    def get(self, request: Any, workspace_id: UUID) -> Response:
        """409 if one of its files contains a secret."""
        bundle = bundles.export(workspace_id, actor=self.principal.actor)
        disposition = f'attachment; filename="{bundles.file_name(bundle)}"'
        return Response(bundle, headers={"Content-Disposition": disposition})


class ImportBundle(Endpoint):
    """`POST /bundles/import`"""

    max_json_values = bundles.MAX_VALUES

    @documented(
        "Create the workspaces of a bundle",
        request=ANY_OBJECT,
        query=ImportQuery,
        answers={200: Preview, 201: CreatedTree},
    )
    def post(self, request: Any) -> Response:
        """With `dry_run` what it would create, and all problems. Otherwise all or nothing; 400 has all `problems`."""
        query = self.query(ImportQuery)
        if query["dry_run"]:
            root, problems = bundles.plan(request.data, parent_id=query["parent_id"])
            return Response(_preview([root], problems))
        created = bundles.import_bundle(request.data, parent_id=query["parent_id"], actor=self.principal.actor)
        return Response(_tree(created), status=201)


class Duplicate(Endpoint):
    """`POST /workspaces/{id}/duplicate`"""

    @documented(
        "Copy a workspace and its team, without secrets",
        request=CopyBody,
        answers={201: CreatedTree},
        errors=(404, 409, 410, 413),
    )
    def post(self, request: Any, workspace_id: UUID) -> Response:
        created = bundles.duplicate(workspace_id, actor=self.principal.actor, **self.body(CopyBody))
        return Response(_tree(created), status=201)


class OrgTemplates(Endpoint):
    """`GET /org/templates`"""

    @documented("The org templates", answers={200: OrgTemplateRow(many=True)})
    def get(self, request: Any) -> Response:
        return Response(org_templates.listing())


class ImportOrganisation(Endpoint):
    """`POST /org/import`"""

    @documented("Create an organisation", request=OrgBody, query=DryRunQuery, answers={200: Preview, 201: OrgCreated})
    def post(self, request: Any) -> Response:
        """All or nothing; 400 has all `problems`. Keys that mean nothing here are `ignored`, with their places."""
        body = self.body(OrgBody)
        dry_run = self.query(DryRunQuery)["dry_run"]
        wanted = org_templates.of_folder(body["dir"]) if "dir" in body else org_templates.read(body["template"])
        if dry_run:
            return Response(_preview(wanted.workspaces, wanted.problems) | {"ignored": wanted.ignored})
        created = org_templates.create(wanted, actor=self.principal.actor)
        listed = [{"id": one.workspace_id, "name": one.name} for one in created]
        answer = {"org": wanted.name, "workspaces": listed, "count": len(listed)}
        return Response(answer | ({"ignored": wanted.ignored} if wanted.ignored else {}), status=201)

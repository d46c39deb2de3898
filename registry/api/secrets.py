"""REST for secrets, their values (for the workspace only), and workspace tokens."""

from typing import Any
from uuid import UUID

from rest_framework.response import Response

from activity.endpoints import Endpoint, documented
from registry.api.serializers import (
    ModelAssignment,
    RevealAllowed,
    SecretBody,
    SecretRow,
    StatusResponse,
    TokenBody,
    TokenIssued,
    TokenList,
    TokenRow,
)
from registry.identity import enrolment, tokens
from registry.organisation import agents
from registry.secrets import masking, revealing, store
from registry.structure import rows

MODEL_SECRETS = ("MODEL_PROVIDER", "MODEL")


class WorkspaceSecrets(Endpoint):
    """`GET`, `POST` and `PUT /workspaces/{id}/secrets`"""

    @documented(
        "The secrets that a workspace can read, without values", answers={200: SecretRow(many=True)}, errors=(404, 410)
    )
    def get(self, request: Any, workspace_id: UUID) -> Response:
        rows.find(workspace_id)
        return Response(store.listing(workspace_id))

    @documented("Set a secret of a workspace", request=SecretBody, answers={200: StatusResponse}, errors=(404, 410))
    def post(self, request: Any, workspace_id: UUID) -> Response:
        body = self.body(SecretBody)
        store.set_for_workspace(workspace_id, body["key"], body["value"], actor=self.principal.actor)
        return Response({"status": "saved", "key": body["key"]})

    put = post


class WorkspaceSecret(Endpoint):
    """`DELETE /workspaces/{id}/secrets/{key}`"""

    @documented("Delete a secret of a workspace", answers={200: StatusResponse}, errors=(404,))
    def delete(self, request: Any, workspace_id: UUID, key: str) -> Response:
        store.delete_for_workspace(workspace_id, key, actor=self.principal.actor)
        return Response({"status": "deleted", "key": key})


class SecretValues(Endpoint):
    """`GET /workspaces/{id}/secrets/values`"""

    @documented(
        "The values of all secrets, for the workspace itself", answers={200: dict, 500: dict}, errors=(404, 410)
    )
    def get(self, request: Any, workspace_id: UUID) -> Response:
        values = store.environment_for(workspace_id, actor=self.principal.actor)
        return Response(values, headers={"Cache-Control": "no-store"})


class RevealSecrets(Endpoint):
    """`POST /workspaces/{id}/reveal-secrets`"""

    @documented("Let a workspace read the values of its secrets", answers={200: RevealAllowed}, errors=(404, 409, 410))
    def post(self, request: Any, workspace_id: UUID) -> Response:
        count = revealing.allow(workspace_id, actor=self.principal.actor)
        return Response({"status": "allowed", "tokens": count})


class GlobalSecrets(Endpoint):
    """`GET`, `POST` and `PUT /settings/secrets`"""

    @documented("The global secrets, without values", answers={200: SecretRow(many=True)})
    def get(self, request: Any) -> Response:
        return Response(store.listing(None))

    @documented("Set a global secret", request=SecretBody, answers={200: StatusResponse})
    def post(self, request: Any) -> Response:
        body = self.body(SecretBody)
        store.set_for_all(body["key"], body["value"], actor=self.principal.actor)
        return Response({"status": "saved", "key": body["key"], "scope": "global"})

    put = post


class GlobalSecret(Endpoint):
    """`DELETE /settings/secrets/{key}`"""

    @documented("Delete a global secret", answers={200: StatusResponse}, errors=(404,))
    def delete(self, request: Any, key: str) -> Response:
        store.delete_for_all(key, actor=self.principal.actor)
        return Response({"status": "deleted", "key": key, "scope": "global"})


class Model(Endpoint):
    """`GET` and `PUT /workspaces/{id}/model`"""

    @documented("The model that a workspace uses", answers={200: dict}, errors=(404, 410))
    def get(self, request: Any, workspace_id: UUID) -> Response:
        """If a secret sets the model, the response has its source, not its value."""
        rows.find(workspace_id)
        agent = agents.active(workspace_id)
        if agent is not None:
            return Response({"model": agent.model, "source": "agent"})
        keys = {entry["key"] for entry in store.listing(workspace_id)}
        return Response({"model": "", "source": "workspace_secrets" if keys & set(MODEL_SECRETS) else "default"})

    @documented("Assign a model", request=ModelAssignment, answers={200: StatusResponse}, errors=(404, 410))
    def put(self, request: Any, workspace_id: UUID) -> Response:
        model = self.body(ModelAssignment)["model"]
        agents.set_model(workspace_id, model, actor=self.principal.actor)
        return Response({"status": "saved", "model": model})


class Tokens(Endpoint):
    """`GET` and `POST /workspaces/{id}/tokens`"""

    @documented(
        "The tokens of a workspace, without revoked and expired ones",
        answers={200: TokenList},
        errors=(404, 410),
    )
    def get(self, request: Any, workspace_id: UUID) -> Response:
        rows.find(workspace_id)
        listed = TokenRow(tokens.live(workspace_id), many=True).data
        return Response({"count": len(listed), "tokens": listed})

    @documented(
        "Issue another token; existing ones stay valid",
        request=TokenBody,
        answers={201: TokenIssued},
        errors=(404, 410),
    )
    def post(self, request: Any, workspace_id: UUID) -> Response:
        body = self.body(TokenBody)
        label = masking.mask_for(workspace_id).text(body.pop("label"))
        issued = tokens.issue_workspace_token(workspace_id, label=label, may_reveal=self.principal.may_reveal, **body)
        return Response({"id": issued.id, "auth_token": issued.text, "prefix": issued.prefix}, status=201)


class Token(Endpoint):
    """`DELETE /workspaces/{id}/tokens/{token_id}`"""

    @documented("Revoke a token", answers={200: StatusResponse}, errors=(404,))
    def delete(self, request: Any, workspace_id: UUID, token_id: UUID) -> Response:
        enrolment.revoke_token(workspace_id, token_id)
        return Response({"status": "revoked", "id": token_id})

"""REST for templates."""

from typing import Any

from rest_framework.response import Response

from activity.endpoints import Endpoint, documented
from registry.api.config_serializers import TemplateBody, TemplateImported, TemplateRow
from registry.api.serializers import StatusResponse
from registry.config import templates
from registry.config.contents import as_json, from_json
from registry.exceptions import Invalid, NotFound


class Templates(Endpoint):
    """`GET /templates`"""

    @documented("The templates of agents", answers={200: TemplateRow(many=True)})
    def get(self, request: Any) -> Response:
        return Response(templates.listing())


class ImportTemplate(Endpoint):
    """`POST /templates/import`"""

    @documented("Import a template", request=TemplateBody, answers={201: TemplateImported}, errors=(409,))
    def post(self, request: Any) -> Response:
        body = self.body(TemplateBody)
        files = {path: from_json(path, value) for path, value in body["files"].items()}
        template_id = templates.import_files(body["name"], files, actor=self.principal.actor)
        return Response({"id": template_id, "name": body["name"], "status": "imported"}, status=201)


class OneTemplate(Endpoint):
    """`GET` and `DELETE /templates/{template}`"""

    @documented("The files of a template", answers={200: dict}, errors=(404,))
    def get(self, request: Any, template: str) -> Response:
        try:
            files = templates.read(template)
        except Invalid as error:
            raise NotFound(error.message) from None
        return Response({"id": template, "files": [{"path": path, **as_json(one)} for path, one in files.items()]})

    @documented("Delete an imported template", answers={200: StatusResponse}, errors=(404, 409))
    def delete(self, request: Any, template: str) -> Response:
        templates.delete(template, actor=self.principal.actor)
        return Response({"status": "deleted", "id": template})

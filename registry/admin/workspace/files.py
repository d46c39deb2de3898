"""The tab of a workspace's files: the list, an editor that shows what differs, uploads, and earlier contents."""

import difflib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.http import HttpResponse, HttpResponseRedirect
from django.template.defaultfilters import filesizeformat
from django.utils.http import content_disposition_header, urlencode
from django.utils.text import slugify

from registry.admin import formats
from registry.admin.bases import actor_of, why
from registry.admin.events.event_summaries import actor_label
from registry.admin.file_lists import by_folder
from registry.admin.workspace.visit import Visit
from registry.config import files, revisions
from registry.config.contents import Content
from registry.config.files import Entry
from registry.exceptions import NotFound, PreconditionFailed, RegistryError

MOST_COMPARED = 200_000
"""Characters: a comparison of longer texts would take too long."""
CHANGED = (
    "Somebody else saved this file after you opened it. Below is what differs from theirs: save again to replace it."
)
DELETED = "Somebody else deleted this file after you opened it: save again to write it anew."


@dataclass(frozen=True, kw_only=True)
class Draft:
    """A text that is not saved: what the editor had, and the hash of the content that it began with."""

    text: str
    begun_with: str
    is_executable: bool
    problem: str = ""
    is_compared: bool = True


def context(visit: Visit, draft: Draft | None = None) -> dict[str, Any] | HttpResponse:
    """The files, and the one of `path` in an editor, for a draft also after it was deleted; with `download` the file
    itself, or all as an archive."""
    listed = {} if visit.is_removed else {one["path"]: one for one in files.listing(visit.workspace.id)}
    sizes = {path: one["size"] for path, one in listed.items()}
    path = _path(visit) or next(iter(listed), "")
    if "download" in visit.request.GET and not visit.is_removed:
        return _download(visit)
    may_edit = visit.may_act and not visit.is_removed
    kept = [] if visit.is_removed else revisions.listing(visit.workspace.id)
    deleted = {one["path"]: one for one in reversed(kept) if one["path"] not in listed}
    return {
        "folders": by_folder(sizes, path, lambda one: _url(visit, path=one)),
        "size": filesizeformat(sum(sizes.values())),
        "deleted": [_revision(visit, one) for one in deleted.values()],
        "file": _file(visit, path, listed.get(path), draft) if path in listed or draft else None,
        "missing": path if path and path not in listed else "",
        "may_edit": may_edit,
        "archive": _url(visit, download=1),
    }


def post(visit: Visit) -> HttpResponse | dict[str, Any]:
    """Save, compare, create, upload, delete or restore. Raises PermissionDenied."""
    verb = VERBS.get(visit.request.POST.get("verb", ""))
    if verb is None or not visit.may_act or visit.is_removed:
        raise PermissionDenied
    try:
        return verb(visit)
    except RegistryError as error:
        messages.error(visit.request, f"Nothing was changed: {why(error)}")
        return _to(visit, _path(visit))


# --- What is shown ----------------------------------------------------------------------------------------------


def _file(visit: Visit, path: str, one: Entry | None, draft: Draft | None) -> dict[str, Any]:
    saved = files.read(visit.workspace.id, path).text if one else ""
    revision = _chosen_revision(visit, path)
    compared = (revision.text, saved) if revision else (saved, draft.text) if draft and draft.is_compared else None
    return {
        "path": path,
        "saved": one
        and {
            "size": filesizeformat(one["size"]),
            "updated": formats.relative(one["updated_at"]),
            "author": actor_label(one["updated_by"], visit.workspace.id, {}),
        },
        "is_text": saved is not None,
        "line_breaks": "crlf" if "\r\n" in ((draft.text if draft else saved) or "") else "",
        "text": draft.text if draft else saved or "",
        "begun_with": draft.begun_with if draft else one and one["sha256"],
        "is_executable": draft.is_executable if draft else one and one["executable"],
        "problem": draft.problem if draft else "",
        "differences": _differences(*compared) if compared else None,
        "of_revision": revision is not None,
        "url": _url(visit, path=path),
        "download": _url(visit, path=path, download=1),
        "revisions": [_revision(visit, kept) for kept in revisions.listing(visit.workspace.id, path)],
    }


def _revision(visit: Visit, one: revisions.Revision) -> dict[str, Any]:
    return {
        "id": one["id"],
        "path": one["path"],
        "size": filesizeformat(one["size"]),
        "written": formats.relative(one["updated_at"]),
        "author": actor_label(one["updated_by"], visit.workspace.id, {}),
        "replaced": formats.relative(one["replaced_at"]),
        "replaced_by": actor_label(one["replaced_by"], visit.workspace.id, {}),
        "url": _url(visit, path=one["path"], revision=one["id"]),
    }


def _chosen_revision(visit: Visit, path: str) -> Content | None:
    number = visit.request.GET.get("revision", "")
    if visit.request.method == "POST" or not (number.isascii() and number.isdecimal()) or len(number) > 18:
        return None
    try:
        found, content = revisions.read(visit.workspace.id, int(number))
    except NotFound:
        return None
    return content if found == path else None


def _differences(before: str | None, after: str | None) -> dict[str, Any]:
    """`lines` with their kinds, "added", "removed", "place" or ""; or a `note` that says why there are none."""
    if before is None or after is None:
        return {"note": "One of them is not a text."}
    if len(before) + len(after) > MOST_COMPARED:
        return {"note": "The texts are too long to be compared."}
    kinds = {"+": "added", "-": "removed", "@": "place", " ": ""}
    lines = list(difflib.unified_diff(before.splitlines(), after.splitlines(), lineterm=""))[2:]
    return {"lines": [(kinds[line[0]], line) for line in lines], "note": "" if lines else "Nothing differs."}


def _download(visit: Visit) -> HttpResponse:
    path = _path(visit)
    try:
        data = files.read(visit.workspace.id, path).data if path else files.archive(visit.workspace.id)
    except RegistryError as error:
        messages.error(visit.request, why(error))
        return _to(visit, "")
    name = PurePosixPath(path).name if path else f"{slugify(visit.workspace.name) or 'workspace'}.zip"
    disposition = content_disposition_header(True, name) or "attachment"
    return HttpResponse(data, content_type="application/octet-stream", headers={"Content-Disposition": disposition})


# --- Verbs ------------------------------------------------------------------------------------------------------


def _save(visit: Visit) -> HttpResponse | dict[str, Any]:
    path, draft = _path(visit), _draft(visit)
    try:
        files.write(
            visit.workspace.id,
            path,
            draft.text.encode(),
            executable=draft.is_executable,
            actor=actor_of(visit.request),
            expected=draft.begun_with,
        )
    except PreconditionFailed as error:
        problem = CHANGED if error.current else DELETED
        return context(visit, Draft(**{**vars(draft), "begun_with": error.current or "", "problem": problem}))
    except RegistryError as error:
        return context(visit, Draft(**{**vars(draft), "problem": why(error), "is_compared": False}))
    return _done(visit, f"Saved {path}.", path)


def _compare(visit: Visit) -> HttpResponse | dict[str, Any]:
    return context(visit, _draft(visit))


def _create(visit: Visit) -> HttpResponse:
    path = _path(visit).strip()
    try:
        written = files.write(visit.workspace.id, path, b"", actor=actor_of(visit.request), expected=files.MISSING)
    except PreconditionFailed:
        messages.warning(visit.request, f"{path} is there already.")
        return _to(visit, path)
    return _done(visit, f"Created {written['path']}.", written["path"])


def _upload(visit: Visit) -> HttpResponse:
    given = visit.request.FILES.getlist("files")
    folder = visit.request.POST.get("folder", "").strip().strip("/")
    path = ""
    with transaction.atomic():
        for one in given:
            path = f"{folder}/{one.name}" if folder else one.name
            files.write(visit.workspace.id, path, one.read(), actor=actor_of(visit.request))
    if not given:
        messages.warning(visit.request, "No file was chosen.")
        return _to(visit, "")
    return _done(visit, f"Uploaded {formats.counted(len(given), 'file')}.", path)


def _delete(visit: Visit) -> HttpResponse:
    path = _path(visit)
    files.delete(visit.workspace.id, path, actor=actor_of(visit.request))
    return _done(visit, f"Deleted {path}. It can be restored from “Deleted files”.", "")


def _restore(visit: Visit) -> HttpResponse:
    number = visit.request.POST.get("revision", "")
    if not (number.isascii() and number.isdecimal()) or len(number) > 18:
        raise NotFound("no such revision")
    restored = files.restore(visit.workspace.id, int(number), actor=actor_of(visit.request))
    return _done(visit, f"Restored {restored['path']}.", restored["path"])


VERBS: dict[str, Callable[[Visit], HttpResponse | dict[str, Any]]] = {
    "save": _save,
    "compare": _compare,
    "create": _create,
    "upload": _upload,
    "delete": _delete,
    "restore": _restore,
}


def _draft(visit: Visit) -> Draft:
    """Browsers send every line break as CRLF; a text keeps those that it had."""
    given = visit.request.POST
    text = given.get("text", "").replace("\r\n", "\n")
    return Draft(
        text=text.replace("\n", "\r\n") if given.get("line_breaks") == "crlf" else text,
        begun_with=given.get("begun_with", ""),
        is_executable="executable" in given,
    )


def _path(visit: Visit) -> str:
    given = visit.request.POST if visit.request.method == "POST" else visit.request.GET
    return str(given.get("path", ""))


def _url(visit: Visit, **query: Any) -> str:
    return f"{visit.url('files')}?{urlencode(query)}" if query else visit.url("files")


def _to(visit: Visit, path: str) -> HttpResponse:
    return HttpResponseRedirect(_url(visit, **({"path": path} if path else {})))


def _done(visit: Visit, message: str, path: str) -> HttpResponse:
    visit.admin.log_change(visit.request, visit.workspace, message)
    messages.success(visit.request, message)
    return _to(visit, path)

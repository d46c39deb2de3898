"""The files of a workspace: list, read, write, delete, replace. One change is one transaction and names its author."""

import hashlib
import io
import zipfile
from collections.abc import Collection, Iterable, Mapping
from datetime import datetime
from typing import Any, TypedDict
from uuid import UUID

from django.db import models, transaction

from activity import statements
from activity.events import NewEvent, record
from activity.models import EventType
from activity.principals import Kind
from registry.config import agent_config, paths, revisions
from registry.config.contents import EXECUTABLE_MODE, Content, Files, check_all, check_one, cleaned
from registry.exceptions import Invalid, NotAllowed, NotFound, PreconditionFailed
from registry.models import WorkspaceFile
from registry.secrets import masking
from registry.structure import change_limit, deployments, projection, rows

ANY = "*"
"""As `expected`: there is such a file."""
MISSING = ""
"""As `expected`: there is no such file."""
MAX_IN_EVENT = 100
"""Paths named by one event: so that it stays below what a socket may have unsent."""
EPOCH = (1980, 1, 1, 0, 0, 0)
"""The earliest time that a zip archive can have: equal files make equal archives."""
# Names of variables have no spaces.
INSERT = """
INSERT INTO workspace_files (workspace_id, path, content, sha256, mode, required_env, updated_by)
SELECT id, path, content, sha256, mode, string_to_array(required, ' '), %(actor)b
FROM unnest(%(ids)b::uuid[], %(paths)b::text[], %(contents)b::bytea[], %(hashes)b::text[], %(modes)b::int[],
  %(required)b::text[]) AS given(id, path, content, sha256, mode, required)
RETURNING 1
"""
Hashes = dict[str, list[str | None]]


class Entry(TypedDict):
    """A file without its content. `updated_by`: the actor, as in the log."""

    path: str
    size: int
    sha256: str
    executable: bool
    updated_at: datetime
    updated_by: str


def listing(workspace_id: UUID) -> list[Entry]:
    """The files by path. Raises NotFound, Removed, Forwarded."""
    rows.find(workspace_id)
    return list(_entries(workspace_id).values())


def digest(entries: Iterable[Entry]) -> str:
    """A hash of all paths and contents of a listing, for replace_all()."""
    text = "\n".join(f"{entry['sha256']} {entry['path']}" for entry in sorted(entries, key=lambda one: one["path"]))
    return hashlib.sha256(text.encode()).hexdigest()


def entry(workspace_id: UUID, path: str) -> Entry:
    """One file without its content. Raises NotFound, also for an unknown workspace, Removed, Forwarded, Invalid."""
    path = paths.clean(path)
    found = _entries(workspace_id, [path]).get(path)
    if found is None:
        rows.find(workspace_id)
        raise NotFound("no such file")
    return found


def read(workspace_id: UUID, path: str) -> Content:
    """The content of one file. Raises as entry() does."""
    path = paths.clean(path)
    found = contents([workspace_id], [path]).get(workspace_id, {}).get(path)
    if found is None:
        rows.find(workspace_id)
        raise NotFound("no such file")
    return found


def contents(workspace_ids: Collection[UUID], only: Collection[str] | None = None) -> dict[UUID, dict[str, Content]]:
    """All files, or those with these paths, of each workspace; workspaces without any are missing."""
    wanted = WorkspaceFile.objects.filter(workspace_id__in=workspace_ids).order_by("path")
    if only is not None:
        wanted = wanted.filter(path__in=only)
    found: dict[UUID, dict[str, Content]] = {}
    for workspace_id, path, data, mode in wanted.values_list("workspace_id", "path", "content", "mode"):
        found.setdefault(workspace_id, {})[path] = Content(bytes(data), executable=mode == EXECUTABLE_MODE)
    return found


def archive(workspace_id: UUID) -> bytes:
    """All files as a zip archive, the same for the same files. Raises NotFound, Removed, Forwarded."""
    rows.find(workspace_id)
    written = io.BytesIO()
    with zipfile.ZipFile(written, "w", zipfile.ZIP_DEFLATED) as archived:
        for path, content in contents([workspace_id]).get(workspace_id, {}).items():
            member = zipfile.ZipInfo(path, EPOCH)
            member.compress_type, member.external_attr = zipfile.ZIP_DEFLATED, content.mode << 16
            archived.writestr(member, content.data)
    return written.getvalue()


def write(
    workspace_id: UUID,
    path: str,
    data: bytes,
    *,
    executable: bool | None = None,
    actor: str,
    expected: str | None = None,
) -> Entry:
    """Write one file and return it. `expected`: the hash that the file must have now, ANY or MISSING. Without
    `executable` an existing file stays as executable as it is.

    Raises NotFound, Removed, Invalid, TooLarge, TooOften, NotAllowed (an agent sets what only operators may),
    PreconditionFailed.
    """
    path = paths.clean(path)
    check_one(path, Content(data))
    with transaction.atomic():
        before = _locked(workspace_id)
        _check_expected(expected, before.get(path))
        if executable is None:
            executable = path in before and before[path]["executable"]
        _change(workspace_id, before, {path: Content(data, executable)}, actor)
        return entry(workspace_id, path)


def delete(workspace_id: UUID, path: str, *, actor: str, expected: str | None = None) -> None:
    """Delete one file. Raises as write() does, and NotFound if there is no such file."""
    path = paths.clean(path)
    with transaction.atomic():
        before = _locked(workspace_id)
        if path not in before and not expected:
            raise NotFound("no such file")
        _check_expected(expected, before.get(path))
        _change(workspace_id, before, {path: None}, actor)


def replace_all(workspace_id: UUID, files: Files, *, actor: str, expected: str | None = None) -> list[Entry]:
    """Make these the files of the workspace, and return them. `expected`: the digest() of those that it must have now.

    Raises as write() does.
    """
    wanted = cleaned(files)
    with transaction.atomic():
        before = _locked(workspace_id)
        if expected is not None and expected != (current := digest(before.values())):
            raise PreconditionFailed("the files have changed", current)
        _change(workspace_id, before, {**dict.fromkeys(before), **wanted}, actor)
        return list(_entries(workspace_id).values())


def restore(workspace_id: UUID, revision_id: int, *, actor: str, expected: str | None = None) -> Entry:
    """Give a file the content of a revision, also after it was deleted. Raises as write() does."""
    path, content = revisions.read(workspace_id, revision_id)
    return write(workspace_id, path, content.data, executable=content.executable, actor=actor, expected=expected)


def add_to_new(files: Mapping[UUID, Files], *, actor: str) -> None:
    """Write the checked files of workspaces that this transaction created: all with one statement and one batch of
    events."""
    _insert(files, actor)
    hashes = {
        workspace_id: {path: [None, content.sha256] for path, content in sorted(given.items())}
        for workspace_id, given in files.items()
    }
    _record(hashes, actor)


def _locked(workspace_id: UUID) -> dict[str, Entry]:
    """Lock the workspace, so that one change of its files runs at a time. Raises NotFound, Removed."""
    rows.lock_active(workspace_id)
    return _entries(workspace_id)


def _entries(workspace_id: UUID, only: Collection[str] | None = None) -> dict[str, Entry]:
    size = models.Func("content", function="octet_length", output_field=models.IntegerField())
    wanted = WorkspaceFile.objects.filter(workspace_id=workspace_id).order_by("path").annotate(size=size)
    if only is not None:
        wanted = wanted.filter(path__in=only)
    columns = ("path", "size", "sha256", "mode", "updated_at", "updated_by")
    return {row["path"]: _entry(row) for row in wanted.values(*columns)}


def _entry(row: dict[str, Any]) -> Entry:
    executable = row.pop("mode") == EXECUTABLE_MODE
    return {**row, "executable": executable}  # type: ignore[typeddict-item]


def _check_expected(expected: str | None, found: Entry | None) -> None:
    if expected is None:
        return
    current = found["sha256"] if found else None
    fits = current is not None if expected == ANY else current == (expected or None)
    if not fits:
        raise PreconditionFailed("the file has changed" if found else "there is no such file", current)


def _change(workspace_id: UUID, before: Mapping[str, Entry], wanted: Mapping[str, Content | None], actor: str) -> None:
    """Write what differs, None means to delete. What was there before becomes a revision."""
    differing = {path: content for path, content in wanted.items() if _differs(before.get(path), content)}
    if not differing:
        return
    sizes = {path: one["size"] for path, one in before.items() if path not in differing}
    written = {path: content for path, content in differing.items() if content is not None}
    check_all(sizes | {path: len(content.data) for path, content in written.items()})
    _check_agent(workspace_id, differing, actor)
    revisions.keep(workspace_id, [path for path in differing if path in before], actor)
    WorkspaceFile.objects.filter(workspace_id=workspace_id, path__in=differing).delete()
    _insert({workspace_id: written}, actor)
    _record({workspace_id: {path: _hashes(before.get(path), differing[path]) for path in sorted(differing)}}, actor)


def _differs(before: Entry | None, content: Content | None) -> bool:
    if before is None or content is None:
        return (before is None) != (content is None)
    return (before["sha256"], before["executable"]) != (content.sha256, content.executable)


def _hashes(before: Entry | None, content: Content | None) -> list[str | None]:
    return [before["sha256"] if before else None, content.sha256 if content else None]


def _check_agent(workspace_id: UUID, differing: Mapping[str, Content | None], actor: str) -> None:
    """What an agent may do with its own files is limited. Raises NotAllowed, TooOften."""
    if actor != f"{Kind.WORKSPACE}:{workspace_id}":
        return
    change_limit.check(workspace_id)
    if agent_config.NAME not in differing:
        return
    current = contents([workspace_id], [agent_config.NAME]).get(workspace_id, {}).get(agent_config.NAME)
    old, new = (
        agent_config.read(one.data) if one else agent_config.NONE for one in (current, differing[agent_config.NAME])
    )
    for key in agent_config.OPERATORS_KEYS:
        if getattr(old, key) != getattr(new, key):
            raise NotAllowed(f"{agent_config.NAME}: only an operator may change {key}", field=agent_config.NAME)


def _insert(files: Mapping[UUID, Files], actor: str) -> None:
    """One statement with an array for each column: half the time of bulk_create() for thousands of files."""
    given = [(workspace_id, path, one) for workspace_id, found in files.items() for path, one in found.items()]
    required = [agent_config.read(one.data).required_env if path == agent_config.NAME else () for _, path, one in given]
    columns = {
        "ids": [workspace_id for workspace_id, _, _ in given],
        "paths": [path for _, path, _ in given],
        "contents": [one.data for _, _, one in given],
        "hashes": [one.sha256 for _, _, one in given],
        "modes": [one.mode for _, _, one in given],
        "required": [" ".join(names) for names in required],
    }
    statements.execute(INSERT, {**columns, "actor": actor})


def _check_paths(hashes: Mapping[UUID, Hashes]) -> None:
    """Raises Invalid, without the path, if one has the value of a secret: events and revisions would show it."""
    for workspace_id, mask in masking.masks(hashes.keys()).items():
        if any(mask.is_needed(path.encode()) for path in hashes[workspace_id]):
            raise Invalid("a path must not contain the value of a secret", field="path")


def _record(hashes: Mapping[UUID, Hashes], actor: str) -> None:
    """Record old and new hashes. The contents are no structure, so `changes` is empty."""
    _check_paths(hashes)
    deployments.offer(hashes.keys())
    events = [
        NewEvent(
            event_type=EventType.WORKSPACE_UPDATED,
            workspace_id=workspace_id,
            payload={"changes": {}, "files": dict(pairs[start : start + MAX_IN_EVENT])},
        )
        for workspace_id, changed in hashes.items()
        for pairs in [list(changed.items())]
        for start in range(0, len(pairs), MAX_IN_EVENT)
    ]
    projection.apply(record(events, actor=actor))

"""A Molecule agent, meant to be copied: it answers by A2A, and tells Molecule that it lives and what it does.

Molecule runs it, or you do. Then it enrols with a token from the workspace's page, which it needs once:

    pip install -r requirements.txt
    MOLECULE_URL=http://127.0.0.1:8000 WORKSPACE_ID=… ENROLMENT_TOKEN=… python agent.py

It obeys the COMMANDS. With an OPENAI_API_KEY it thinks about everything else.
"""

import asyncio
import os
import random
import re
import signal
import sys
import time
from collections import defaultdict, deque
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import uvicorn
import yaml
from a2a.client import ClientConfig, create_client
from a2a.helpers import get_artifact_text, get_message_text, new_task_from_user_message, new_text_message, new_text_part
from a2a.server.agent_execution import AgentExecutor, RequestContext
from a2a.server.events import EventQueue
from a2a.server.request_handlers import DefaultRequestHandler
from a2a.server.request_handlers.response_helpers import agent_card_to_dict
from a2a.server.routes import create_agent_card_routes, create_jsonrpc_routes
from a2a.server.tasks import InMemoryTaskStore, TaskUpdater
from a2a.types import (
    AgentCapabilities,
    AgentCard,
    AgentInterface,
    AgentSkill,
    Role,
    SendMessageRequest,
    Task,
    TaskState,
)
from starlette.applications import Starlette

COMMANDS = "echo TEXT, ask PEER TEXT, fail TEXT, sleep SECONDS"
ID = os.environ.get("WORKSPACE_ID") or str(uuid4())  # a new workspace needs open enrolment
FILES = Path(os.environ.get("CONFIGS_DIR") or Path(__file__).parent)
TOKEN_FILE = FILES / ".auth_token"
HOST, PORT = os.environ.get("AGENT_HOST", "127.0.0.1"), int(os.environ.get("AGENT_PORT", "9000"))
URL = os.environ.get("AGENT_URL", f"http://{HOST}:{PORT}")
MODEL = (os.environ.get("MODEL") or os.environ.get("MODEL_PROVIDER") or "gpt-4.1-mini").rpartition(":")[2]
BEAT_SECONDS = float(os.environ.get("BEAT_SECONDS", "15"))
REMEMBERED = 20
"""Messages of a conversation, and outcomes by which the error rate is counted."""


class Refused(Exception):
    """Molecule's answer that trying again will not change: the status and the text."""


class Failed(Exception):
    """A message that cannot be answered; the text says why."""


class Molecule:
    """What the agent says to the platform."""

    def __init__(self) -> None:
        self.http = httpx.AsyncClient(base_url=os.environ.get("MOLECULE_URL", "http://127.0.0.1:8000"), timeout=10)
        self.token = TOKEN_FILE.read_text() if TOKEN_FILE.exists() else os.environ.get("WORKSPACE_TOKEN", "")
        self.started = time.monotonic()
        self.tasks: dict[str, str] = {}
        self.outcomes: deque[str] = deque(maxlen=REMEMBERED)
        self.news = asyncio.Event()

    async def register(self, card: AgentCard) -> None:
        body = {"id": ID, "url": URL, "agent_card": agent_card_to_dict(card)}
        enrolment = os.environ.get("ENROLMENT_TOKEN", "")
        try:
            answer = await self.insist("/registry/register", body, self.token or enrolment)
        except Refused as refusal:
            if refusal.args[0] != 401 or not (self.token and enrolment):
                raise
            answer = await self.insist("/registry/register", body, enrolment)
        if token := answer.get("auth_token"):  # shown only once
            self.token = token
            if "WORKSPACE_ID" in os.environ:
                TOKEN_FILE.touch(mode=0o600)
                TOKEN_FILE.write_text(token)

    async def beat(self) -> None:
        """Send heartbeats until Molecule refuses them: now and then, and at once when there is news."""
        while True:
            self.news.clear()
            errors = [outcome for outcome in self.outcomes if outcome]
            body = {
                "workspace_id": ID,
                "uptime_seconds": int(time.monotonic() - self.started),
                "active_tasks": len(self.tasks),
                "current_task": next(reversed(self.tasks.values()), ""),
                "error_rate": len(errors) / max(1, len(self.outcomes)),
                "sample_error": errors[-1] if errors else "",
            }
            await self.insist("/registry/heartbeat", body, self.token)
            with suppress(TimeoutError):
                await asyncio.wait_for(self.news.wait(), BEAT_SECONDS)

    async def report(self, activity_type: str, summary: str, began: float, error: str = "", **details: Any) -> None:
        """Tell what was done. A report is lost if the platform does not answer."""
        entry = {"activity_type": activity_type, "method": "message/send", "summary": summary[:200], **details}
        entry |= {"duration_ms": round(1000 * (time.monotonic() - began)), "status": "error" if error else "ok"}
        if error:
            entry["error_detail"] = error
        try:
            await self.http.post(f"/workspaces/{ID}/activity", json=entry, headers=self.headers(self.token))
        except httpx.TransportError as lost:
            print(f"a report was lost: {type(lost).__name__}")

    async def peers(self) -> list[dict[str, Any]]:
        """The workspaces that this one may talk to."""
        answer = await self.http.get(f"/registry/{ID}/peers", headers=self.headers(self.token))
        return list(answer.raise_for_status().json())

    async def insist(self, path: str, body: dict[str, Any], token: str) -> dict[str, Any]:
        """POST until it is answered, at growing intervals. Raises Refused."""
        wait = 1.0
        while True:
            try:
                answer = await self.http.post(path, json=body, headers=self.headers(token))
            except httpx.TransportError as error:
                problem, asked = type(error).__name__, ""
            else:
                if answer.is_success:
                    return dict(answer.json())
                if answer.status_code not in (429, 500, 502, 503, 504):
                    raise Refused(answer.status_code, answer.text)
                problem, asked = str(answer.status_code), answer.headers.get("Retry-After", "")
            pause = max(wait, float(asked) if asked.isdecimal() else 0)
            print(f"{path}: {problem}, trying again in {pause:.0f} s")
            await asyncio.sleep(pause * random.uniform(1.0, 1.3))  # noqa: S311  # spreads the retries of many agents
            wait = min(30.0, wait * 2)

    @staticmethod
    def headers(token: str) -> dict[str, str]:
        return {"Authorization": f"Bearer {token}"} if token else {}


class Agent(AgentExecutor):
    """Answers messages. Each is a task, whose answer is sent piece by piece."""

    def __init__(self, molecule: Molecule) -> None:
        self.molecule = molecule
        self.talks: defaultdict[str, deque[dict[str, str]]] = defaultdict(lambda: deque(maxlen=REMEMBERED))

    async def execute(self, context: RequestContext, event_queue: EventQueue) -> None:
        task = context.current_task
        if task is None and context.message is not None:
            task = new_task_from_user_message(context.message)
            await event_queue.enqueue_event(task)
        if task is None:
            raise Failed("there is neither a message nor a task")
        updater, text = TaskUpdater(event_queue, task.id, task.context_id), context.get_user_input().strip()
        await updater.start_work()
        began, answer, error, piece_id = time.monotonic(), "", "", str(uuid4())
        self.molecule.tasks[task.id] = text.partition("\n")[0][:200]
        self.molecule.news.set()
        try:
            async for piece in self.answer(text, task.context_id):
                await updater.add_artifact([new_text_part(piece)], piece_id, "answer", append=bool(answer))
                answer += piece
            await updater.complete()
        except Exception as problem:  # of a peer, of the model: whatever it is, the caller is told
            error = str(problem) or type(problem).__name__
            await updater.failed(updater.new_agent_message([new_text_part(error)]))
        finally:
            del self.molecule.tasks[task.id]
            self.molecule.outcomes.append(error)
            self.molecule.news.set()
        bodies = {"request_body": {"text": text}, "response_body": {"text": answer}}
        await self.molecule.report("a2a_receive", text, began, error, **bodies)

    async def cancel(self, context: RequestContext, event_queue: EventQueue) -> None:
        await TaskUpdater(event_queue, context.task_id or "", context.context_id or "").cancel()

    async def answer(self, text: str, conversation: str) -> AsyncIterator[str]:
        """The pieces of the answer. Raises Failed, among others."""
        command, _, rest = text.partition(" ")
        match command.lower():
            case "echo":
                for piece in re.findall(r"\s*\S+", rest):
                    yield piece
            case "ask":
                yield await self.ask(rest)
            case "fail":
                raise Failed(rest or "as you wish")
            case "sleep":
                await asyncio.sleep(float(rest))
                yield f"slept {rest} seconds"
            case _ if "OPENAI_API_KEY" in os.environ:
                async for piece in think(self.talks[conversation], text):
                    yield piece
            case _:
                yield f"I cannot think: I have no OPENAI_API_KEY. I only obey: {COMMANDS}."

    async def ask(self, request: str) -> str:
        """Give the words after the peer's name to that peer, and return its answer. Raises Failed."""
        found = await self.molecule.peers()
        named = [one for one in found if f"{request} ".lower().startswith(f"{one['name']} ".lower())]
        if not named:
            raise Failed(f"no such peer; mine are: {', '.join(one['name'] for one in found) or 'none'}")
        peer = max(named, key=lambda one: len(one["name"]))
        if not peer["url"]:
            raise Failed(f"{peer['name']} cannot be reached: it is {peer['status']}")
        text, began, error, answer = request[len(peer["name"]) :].strip(), time.monotonic(), "", ""
        try:
            answer = await send(peer["url"], text)
        except Exception as problem:
            error = str(problem) or type(problem).__name__
            raise
        finally:
            bodies = {"request_body": {"text": text}, "response_body": {"text": answer}}
            summary = f"{peer['name']}: {text}"
            await self.molecule.report("a2a_send", summary, began, error, target_id=peer["id"], **bodies)
        return answer


async def send(url: str, text: str) -> str:
    """The answer of another agent. Raises Failed."""
    async with httpx.AsyncClient(timeout=120) as http:
        client = await create_client(url, ClientConfig(streaming=False, httpx_client=http))
        async for event in client.send_message(SendMessageRequest(message=new_text_message(text, role=Role.ROLE_USER))):
            if event.HasField("message"):
                return get_message_text(event.message)
            if event.HasField("task"):
                return outcome_of(event.task)
    raise Failed("it did not answer")


def outcome_of(task: Task) -> str:
    if task.status.state != TaskState.TASK_STATE_COMPLETED:
        raise Failed(get_message_text(task.status.message) or f"it answered {TaskState.Name(task.status.state)}")
    return "\n".join(get_artifact_text(artifact, "") for artifact in task.artifacts)


async def think(talk: deque[dict[str, str]], text: str) -> AsyncIterator[str]:
    """Ask any model with an OpenAI-compatible API: OPENAI_BASE_URL says where."""
    from openai import AsyncOpenAI  # noqa: PLC0415  # takes a second, so only who thinks waits for it

    talk.append({"role": "user", "content": text})
    answer = ""
    async with AsyncOpenAI() as model:
        messages: Any = [{"role": "system", "content": prompt()}, *talk]
        async for chunk in await model.chat.completions.create(model=MODEL, messages=messages, stream=True):
            if chunk.choices and (piece := chunk.choices[0].delta.content):
                answer += piece
                yield piece
    talk.append({"role": "assistant", "content": answer})


def prompt() -> str:
    """What config.yaml names as prompts, then the skills."""
    paths = [FILES / name for name in settings().get("prompt_files") or ["system-prompt.md"]]
    return "\n\n".join(path.read_text() for path in [*paths, *skill_files()] if path.is_file())


def settings() -> dict[str, Any]:
    path = FILES / "config.yaml"
    return (path.is_file() and yaml.safe_load(path.read_text())) or {}


def skill_files() -> list[Path]:
    return sorted(FILES.glob("skills/*/SKILL.md"))


def own_card() -> AgentCard:
    """Who it is and what it can do, for other agents and for Molecule."""
    skills = [AgentSkill(id="commands", name="Commands", description=f"Obeys {COMMANDS}.", tags=["commands"])]
    for path in skill_files():
        front = next(yaml.safe_load_all(path.read_text().partition("\n---\n")[0]))
        about = front if isinstance(front, dict) else {}
        name, description = str(about.get("name", path.parent.name)), str(about.get("description", path.parent.name))
        skills.append(AgentSkill(id=path.parent.name, name=name, description=description, tags=["skill"]))
    return AgentCard(
        name=os.environ.get("WORKSPACE_NAME") or settings().get("name") or "Agent",
        description=settings().get("description") or "A Molecule agent",
        version=str(settings().get("version") or "1.0.0"),
        supported_interfaces=[
            AgentInterface(url=URL, protocol_binding="JSONRPC", protocol_version=version) for version in ("1.0", "0.3")
        ],
        capabilities=AgentCapabilities(streaming=True),
        default_input_modes=["text/plain"],
        default_output_modes=["text/plain"],
        skills=skills,
    )


async def main() -> int:
    """Listen, register, and send heartbeats until a signal, or until the workspace is removed, which is no failure."""
    molecule, card = Molecule(), own_card()
    handler = DefaultRequestHandler(Agent(molecule), InMemoryTaskStore(), card)
    routes = [*create_agent_card_routes(card), *create_jsonrpc_routes(handler, "/", enable_v0_3_compat=True)]
    options: dict[str, Any] = {"host": HOST, "port": PORT, "log_level": "warning", "timeout_graceful_shutdown": 5}
    server = uvicorn.Server(uvicorn.Config(Starlette(routes=routes), **options))
    serving = asyncio.create_task(server.serve())
    while not server.started:  # it ends the program if the port is taken
        await asyncio.sleep(0.05)
    print(f"listening at {URL}")
    living = asyncio.create_task(live(molecule, card))
    await asyncio.wait([serving, living], return_when=asyncio.FIRST_COMPLETED)
    server.should_exit = True
    await serving
    return living.result() if living.done() else 0


async def live(molecule: Molecule, card: AgentCard) -> int:
    try:
        await molecule.register(card)
        print(f"registered {card.name} ({ID})")
        await molecule.beat()
    except Refused as refusal:
        status, text = refusal.args
        print(f"stopping: Molecule answered {status}: {text}")
        return 0 if status == 410 else 1
    return 0


if __name__ == "__main__":
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(
            number, lambda *_: None
        )  # uvicorn ends its work, then raises the signal again: it has done its job
    sys.exit(asyncio.run(main()))

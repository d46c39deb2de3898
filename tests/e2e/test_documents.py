"""Every code block of README.md and docs/ is run as it stands, in the order of its page."""

import json
import os
import re
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import psycopg
import pytest
import yaml
from django.core.management import ManagementUtility
from websockets.sync.client import connect

from molecule.embedded import POSTGRES, administrator_environment, running_postgres, running_redis
from tests.documents import PAGES, ROOT, Block, anchors, blocks, inline_code, links
from tests.e2e import proxies
from tests.e2e.shell import Shell, running
from tests.e2e.stack import free_port, manage, until
from tests.environment import SETTINGS

LEASE_SECONDS = "3"
# What the pages call the server, and from where Prometheus and a kubelet ask it.
PLACEHOLDER = "molecule.example"
POD = "10.1.2.3:8000"
NOT_RUN = {
    "mermaid": "a picture",
    "text": "a picture, or an outline",
}


class World:
    """Where the pages' commands run: a checkout with `make run`, a server in production, and a follower."""

    def __init__(self, stack: ExitStack) -> None:
        self.stack = stack
        self.shells: dict[str, Shell] = {}
        self.done: set[Block] = set()

    def folder(self) -> Path:
        path = Path(self.stack.enter_context(tempfile.TemporaryDirectory(prefix="molecule-documents-")))
        path.chmod(0o711)  # PostgreSQL runs as another user and passes through
        return path

    @cached_property
    def environment(self) -> dict[str, str]:
        """That of a person in the checkout: nothing of the tests' own, and the Python of .venv."""
        removed = {*SETTINGS, "DATABASE_URL", "REDIS_URL", "DJANGO_SETTINGS_MODULE"}
        clean = {name: value for name, value in os.environ.items() if name not in removed}
        return clean | {
            "PATH": f"{self.checkout}/.venv/bin{os.pathsep}{os.environ['PATH']}{os.pathsep}/usr/sbin",
            "MOLECULE_STATE": str(self.checkout / ".molecule"),
            "PORT": str(free_port()),
            "LEASE_SECONDS": LEASE_SECONDS,
        }

    @cached_property
    def checkout(self) -> Path:
        """This checkout by links, with a .molecule of its own, and with everything installed."""
        folder = self.folder()
        for path in ROOT.iterdir():
            if path.name not in (".git", ".venv", ".molecule"):
                (folder / path.name).symlink_to(path)
        venv = folder / ".venv"
        venv.mkdir()
        for path in Path(sys.prefix).iterdir():
            if not path.name.endswith(".stamp"):
                (venv / path.name).symlink_to(path)
        for name in ("run.stamp", "dev.stamp"):
            (venv / name).touch()
        return folder

    @cached_property
    def address(self) -> str:
        """Of `make run`, which is started first."""
        self.stack.enter_context(running("make run", self.checkout, self.environment))
        address = f"http://127.0.0.1:{self.environment['PORT']}"
        until(lambda: answers(f"{address}/health"), "make run to serve", seconds=60)
        until((self.checkout / ".molecule" / "operator-token").exists, "the operator's token")
        return address

    @property
    def operator(self) -> dict[str, str]:
        token = (self.checkout / ".molecule" / "operator-token").read_text().strip()
        return {"Authorization": f"Bearer {token}"}

    def names(self) -> list[str]:
        rows = httpx.get(f"{self.address}/workspaces", headers=self.operator).raise_for_status().json()
        return [row["name"] for row in rows]

    def create_workspace(self) -> dict[str, Any]:
        answer = httpx.post(f"{self.address}/workspaces", headers=self.operator, json={"name": "New"})
        created: dict[str, Any] = answer.raise_for_status().json()
        return created

    @property
    def engines(self) -> dict[str, str]:
        """The URLs of `make run`."""
        assert self.address
        lines = (self.checkout / ".molecule" / "engines").read_text().splitlines()
        return dict(line.split("=", 1) for line in lines)

    @property
    def platform(self) -> dict[str, str]:
        """A superuser's connection to the PostgreSQL of `make run`."""
        assert self.address
        return administrator_environment(self.checkout / ".molecule")

    @cached_property
    def follower(self) -> dict[str, str]:
        """Another PostgreSQL with the tables of docs/change-stream.sql."""
        state = self.folder()
        self.stack.enter_context(running_postgres(state))
        connection = administrator_environment(state)
        psql(connection, (ROOT / "docs" / "change-stream.sql").read_text())
        return connection

    @cached_property
    def production(self) -> "Production":
        state = self.folder()
        url = self.stack.enter_context(running_postgres(state))
        redis_url = self.stack.enter_context(running_redis(state))
        environment = self.environment | {
            "DATABASE_URL": url,
            "REDIS_URL": redis_url,
            "SECRET_KEY": uuid4().hex * 2,
            "SECRETS_ENCRYPTION_KEY": uuid4().hex * 2,
            "ALLOWED_HOSTS": PLACEHOLDER,
            "METRICS_TOKEN": scraping()["authorization"]["credentials"],
            "MOLECULE_READ_ENV_FILE": "false",
            "UVICORN_PORT": str(free_port()),
        }
        manage(environment, "migrate", "-v0")
        return Production(state, environment)

    @cached_property
    def empty_server(self) -> Path:
        """The state of a PostgreSQL without a role or database of Molecule."""
        state = self.folder()
        self.stack.enter_context(running_postgres(state))
        connection = administrator_environment(state) | {"PGDATABASE": "postgres"}
        psql(connection, "DROP DATABASE molecule")
        psql(connection, "DROP ROLE molecule, molecule_serving")
        return state

    def shell(self, page: str) -> Shell:
        if page not in self.shells:
            assert self.address
            self.shells[page] = Shell(self.checkout, self.environment)
            self.stack.callback(self.shells[page].close)
        return self.shells[page]

    def run_up_to(self, block: Block) -> None:
        """Blocks build on those above them."""
        for each in blocks(block.page):
            if each not in self.done:
                self.done.add(each)
                RUNNERS[each.language](self, each)
            if each == block:
                return


@dataclass(frozen=True)
class Production:
    state: Path
    environment: dict[str, str]

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.environment['UVICORN_PORT']}"

    @property
    def superuser(self) -> dict[str, str]:
        return administrator_environment(self.state)


@dataclass(frozen=True, kw_only=True)
class Step:
    """What a block needs beforehand, what its output has, when Ctrl-C ends it, and what is true afterwards."""

    before: Callable[[World], object] = lambda world: None
    expected: tuple[str, ...] = ()
    enough: Callable[[World, str], bool] | None = None
    after: Callable[[World], object] = lambda world: None


def step_of(block: Block) -> Step:
    return next((step for start, step in STEPS.items() if block.text.startswith(start)), Step())


def run_in_shell(world: World, block: Block) -> None:
    lines = block.text.splitlines()
    if all(line.startswith("make ") for line in lines):
        for line in lines:
            run_make(world, line.partition("#")[0].strip())
    elif block.text.startswith("python -m uvicorn"):
        serve(world, block)
    else:
        step = step_of(block)
        step.before(world)
        enough = step.enough
        output = world.shell(block.page).run(block.text, enough=enough and (lambda text: enough(world, text)))
        places = [output.find(text) for text in step.expected]
        assert -1 not in places, output
        assert places == sorted(places), output
        step.after(world)


def run_make(world: World, command: str) -> None:
    """The other targets take minutes to hours, and CI runs them by themselves: here make says what it would do."""
    if command == "make run":
        assert world.address
    elif command == "make demo":
        with running(command, world.checkout, world.environment):
            until(lambda: "Rosalind" in world.names(), "the demo to start")
    else:
        make_knows(world, command)


def make_knows(world: World, command: str) -> None:
    name, *targets = shlex.split(command)
    subprocess.run([name, "-n", *targets], cwd=world.checkout, env=world.environment, check=True, capture_output=True)


def serve(world: World, block: Block) -> None:
    """Serves in production until the end."""
    production = world.production
    world.stack.enter_context(running(block.text, world.checkout, production.environment))
    until(lambda: answers(f"{production.address}/health"), "the production server to answer")


def run_sql(world: World, block: Block) -> None:
    step = step_of(block)
    step.before(world)
    connection = CONNECTIONS[block.page, block.target](world)
    platform = f"host={world.platform['PGHOST']} port=5432" if block.target else ""
    psql(connection, block.text.replace(f"host={PLACEHOLDER}", platform))
    step.after(world)


def psql(connection: dict[str, str], text: str) -> None:
    command = [str(POSTGRES / "psql"), "-X", "-v", "ON_ERROR_STOP=1"]
    done = subprocess.run(command, env=connection, input=text, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def run_json(world: World, block: Block) -> None:
    """Each is a message of /ws: it has the fields of a real one."""
    shown = json.loads(block.text)
    agent = {"id": str(uuid4()), "url": "remote://no-inbound", "agent_card": {"name": "JSON"}}
    httpx.post(f"{world.address}/registry/register", json=agent).raise_for_status()
    address = f"{world.address.replace('http', 'ws', 1)}/ws?since=0"
    with connect(address, additional_headers=world.operator, close_timeout=0) as socket:
        messages = map(json.loads, socket)
        real = next(message for message in messages if message["event"] in (shown["event"], "STREAM_LIVE"))
    assert real["event"] == shown["event"]
    assert list(real) == list(shown)
    assert {name: type(value) for name, value in real.items()} == {name: type(value) for name, value in shown.items()}


def run_yaml(world: World, block: Block) -> None:
    loaded = yaml.safe_load(block.text)
    assert loaded
    for name, value in loaded.items():
        if name == "scrape_configs":
            for job in value:
                scrape(world.production, job)
        else:
            probe(world.production, **value)


def scraping() -> dict[str, Any]:
    """The job for Prometheus on the page."""
    (found,) = [block for page in PAGES for block in blocks(page) if block.text.startswith("scrape_configs:")]
    (job,) = yaml.safe_load(found.text)["scrape_configs"]
    assert isinstance(job, dict)
    return job


def scrape(production: Production, job: dict[str, Any]) -> None:
    """As Prometheus does without other options: over plain HTTP, at the address of each process."""
    assert job.keys() == {"job_name", "authorization", "static_configs"}
    token = job["authorization"]["credentials"]
    for target in [target for config in job["static_configs"] for target in config["targets"]]:
        headers = {"Host": target, "Authorization": f"Bearer {token}"}
        answer = httpx.get(f"{production.address}/metrics", headers=headers)
        assert answer.status_code == 200
        assert 'molecule_up{dependency="postgres"} 1.0' in answer.text


# Without timeoutSeconds a kubelet waits for one second: here that would measure this machine.
def probe(production: Production, httpGet: dict[str, Any], timeoutSeconds: int = 10) -> None:
    assert httpGet["port"] == 8000, "uvicorn's default"
    address = f"{production.address}{httpGet['path']}"
    assert httpx.get(address, headers={"Host": POD}, timeout=timeoutSeconds).status_code == 200


def run_python(world: World, block: Block) -> None:
    """Each is a migration, which can be applied and undone."""
    names: dict[str, Any] = {}
    exec(block.text, names)
    operations = names["Migration"].operations
    with psycopg.connect(world.engines["DATABASE_OWNER_URL"], autocommit=True) as server:
        for operation in operations:
            server.execute(operation.sql)
        for operation in reversed(operations):
            server.execute(operation.reverse_sql)


def run_caddyfile(world: World, block: Block) -> None:
    folder = world.folder()
    (folder / "Caddyfile").write_text(block.text)
    command = ["caddy", "validate", "--adapter", "caddyfile", "--config", "Caddyfile"]
    done = subprocess.run(command, cwd=folder, env=world.environment | {"HOME": str(folder)}, capture_output=True)
    assert done.returncode == 0, done.stderr.decode()


def run_nginx(world: World, block: Block) -> None:
    """In front of `make run`. tests/e2e/test_sub_path.py has a platform that is made for the second block."""
    is_site = block.text == proxies.SITE
    site = proxies.SITE if is_site else proxies.below_sub_path(is_removed=True)
    with proxies.nginx(world.folder(), world.address, site) as proxy, proxy.client() as client:
        assert client.get("/health" if is_site else "/molecule/health").json() == {"status": "ok"}


RUNNERS: dict[str, Callable[[World, Block], None]] = {
    "bash": run_in_shell,
    "sh": run_in_shell,
    "sql": run_sql,
    "json": run_json,
    "yaml": run_yaml,
    "python": run_python,
    "caddyfile": run_caddyfile,
    "nginx": run_nginx,
}
CONNECTIONS: dict[tuple[str, str], Callable[[World], dict[str, str]]] = {
    ("docs/change-stream.md", ""): lambda world: world.platform,
    ("docs/change-stream.md", "follower"): lambda world: world.follower,
    ("docs/configuration.md", ""): lambda world: (
        administrator_environment(world.empty_server) | {"PGDATABASE": "postgres"}
    ),
    ("docs/configuration.md", "one role"): lambda world: world.production.superuser,
}


def expect_removed(world: World, name: str) -> None:
    assert name not in world.names()


def has_the_trial_followed(world: World) -> None:
    trial = f"postgresql:///follower?host={world.platform['PGHOST']}&user=postgres"
    with psycopg.connect(trial, autocommit=True) as follower:
        until(lambda: follower.execute("SELECT 1 FROM structure_events").fetchone(), "events in the follower")


def subscribe_again(world: World) -> None:
    (block,) = [each for each in blocks("docs/change-stream.md") if each.text.startswith("CREATE SUBSCRIPTION")]
    run_sql(world, block)


def drop_the_slot(world: World) -> None:
    """As the page says of a follower that is gone."""
    psql(world.platform, "SELECT pg_drop_replication_slot('molecule_copy')")


def restore_elsewhere(world: World) -> None:
    """An empty database that the owner owns."""
    shell = world.shell("docs/operations.md")
    shell.run("createdb -O molecule restored")
    urls = {name: url.replace("/molecule?", "/restored?") for name, url in world.engines.items() if "DATABASE" in name}
    shell.run("\n".join(f"export {name}={shlex.quote(url)}" for name, url in urls.items()))


def point_at_the_database(world: World) -> None:
    url = shlex.quote(world.engines["DATABASE_OWNER_URL"])
    world.shell("docs/operations.md").run(f". .molecule/postgres-env; export DATABASE_OWNER_URL={url}")


def migrate_with_two_roles(state: Path, environment: dict[str, str]) -> None:
    """With the passwords of the page. Then the role that serves cannot change the log."""
    address = f"@/molecule?host={administrator_environment(state)['PGHOST']}&port=5432"
    urls = {
        "DATABASE_URL": f"postgresql://molecule:choose-another{address}",
        "DATABASE_OWNER_URL": f"postgresql://molecule_owner:choose-one{address}",
    }
    manage(environment | urls, "migrate", "-v0")
    with psycopg.connect(urls["DATABASE_URL"]) as server:
        log = "'structure_events'"
        rights = f"has_any_column_privilege({log}, 'INSERT'), has_table_privilege({log}, 'DELETE')"
        assert server.execute(f"SELECT {rights}").fetchone() == (True, False)


# By how a block begins.
STEPS = {
    "curl -s $M/registry/heartbeat": Step(expected=('{"status":"ok"}',)),
    "curl -s $M/workspaces -H": Step(expected=('"name": "Visitor"', '"status": "online"')),
    ".venv/bin/python - $M": Step(expected=("STREAM_LIVE", "WORKSPACE_OFFLINE")),
    "curl -s -X DELETE": Step(expected=('"status":"removed"',), after=lambda world: expect_removed(world, "Visitor")),
    ".venv/bin/python examples/agent.py": Step(enough=lambda world, _: "Writer" in world.names()),
    "curl -s $(cat .molecule/lock)/workspaces": Step(expected=('"name":"Ada"',)),
    "pg_dump": Step(before=point_at_the_database),
    "pg_restore": Step(before=restore_elsewhere, expected=("0 rows different",)),
    "createdb follower": Step(
        before=World.create_workspace, expected=("CREATE SUBSCRIPTION",), after=has_the_trial_followed
    ),
    "pg_recvlogical": Step(enough=lambda world, output: bool(world.create_workspace()) and "WORKSPACE" in output),
    "ALTER SUBSCRIPTION": Step(before=subscribe_again, after=drop_the_slot),
    "CREATE ROLE molecule_owner LOGIN PASSWORD 'choose-one';\nCREATE ROLE": Step(
        after=lambda world: migrate_with_two_roles(world.empty_server, world.production.environment)
    ),
    "CREATE ROLE molecule_owner LOGIN PASSWORD 'choose-one';\nALTER": Step(
        after=lambda world: migrate_with_two_roles(world.production.state, world.production.environment)
    ),
}


def answers(address: str) -> bool:
    try:
        return httpx.get(address).status_code == 200
    except httpx.TransportError:
        return False


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    with ExitStack() as stack:
        yield World(stack)


BLOCKS = [block for page in PAGES for block in blocks(page)]


@pytest.mark.parametrize("block", BLOCKS, ids=str)
def test_a_block_does_what_its_page_says(world: World, block: Block) -> None:
    assert block.language in RUNNERS or block.language in NOT_RUN, f"nothing here runs {block.language or 'text'}"
    if block.language in RUNNERS:
        world.run_up_to(block)


@pytest.mark.parametrize("start", STEPS)
def test_each_step_belongs_to_one_block(start: str) -> None:
    assert len([block for block in BLOCKS if block.text.startswith(start)]) == 1


COMMANDS = sorted({code for page in PAGES for code in inline_code(page)})


@pytest.mark.parametrize("command", [code for code in COMMANDS if re.match(r"(\w+=\S+ )*make \w+$", code)])
def test_make_knows_every_target_in_a_sentence(world: World, command: str) -> None:
    make_knows(world, command[command.index("make ") :])


@pytest.mark.parametrize("command", [code for code in COMMANDS if code.startswith("manage.py ")])
def test_manage_py_knows_every_command_and_option_in_a_sentence(command: str) -> None:
    _, name, *arguments = re.sub(r"[][]", "", command).replace("N", "1").split()
    ManagementUtility().fetch_command(name).create_parser("manage.py", name).parse_args(arguments)


@pytest.mark.parametrize("page", PAGES)
def test_every_link_leads_somewhere(page: str) -> None:
    for path, anchor in links(page):
        assert path.exists(), path
        assert not anchor or anchor in anchors(path), f"{path} has no #{anchor}"

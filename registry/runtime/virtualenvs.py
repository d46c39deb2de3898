"""Virtual environments for agents with a `requirements.txt`: each is built once, and used by all that need the same."""

import hashlib
import os
import subprocess
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from registry.runtime import folders, requirements
from registry.runtime.backend import Refused, Unavailable
from registry.runtime.folders import Folder

BUILD_SECONDS = 600.0
SHOWN_LINES = 5
# pip must not outlive the supervisor, nor run with the rights of the agent: what it installs would be writable.
WITH_PARENT = ("setpriv", "--pdeathsig", "KILL", "--")
RUNNER = "__pip-runner__.py"
"""With it pip runs in another interpreter without its own packages being seen there. In pip 22.3 or later."""
OPTIONS = ("--only-binary", ":all:", "--no-input", "--disable-pip-version-check", "--progress-bar", "off")
AS_ROOT = ("--root-user-action", "ignore")
PROXIES = ("http_proxy", "https_proxy", "no_proxy", "all_proxy")
CERTIFICATES = ("SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")
PASSED_ON = {"PATH", "HOME", *CERTIFICATES, *PROXIES, *(name.upper() for name in PROXIES)}


@dataclass(frozen=True)
class Virtualenv:
    """`<root>/<hash>`, a link to the folder where it was built. `base`: the interpreter that it is made with."""

    root: Path
    base: str
    wanted: tuple[str, ...]

    @property
    def path(self) -> Path:
        """The same for the same requirements and interpreter."""
        text = "\n".join([str(Path(self.base).resolve()), *self.wanted])
        return self.root / hashlib.sha256(text.encode()).hexdigest()[:32]

    @property
    def python(self) -> str:
        """Its interpreter."""
        return str(self.path / "bin" / "python")

    def build(self, folder: Folder) -> None:
        """Build it, unless that was done, and tell about it in the workspace's log. Raises Unavailable."""
        if self._is_built():
            return
        busy = "another environment is being built"
        with folders.locked(self.root / "lock", seconds=BUILD_SECONDS, busy=busy):
            if not self._is_built():
                self._sweep()
                self._make(folder)

    def _is_built(self) -> bool:
        return Path(self.python).exists()

    def _sweep(self) -> None:
        """Delete what supervisors that were killed have left: no link leads to it."""
        used = {path.readlink().name for path in self.root.iterdir() if path.is_symlink() and not path.suffix}
        for path in self.root.glob("*.*"):
            if path.is_symlink():
                path.unlink()
            elif path.name not in used:
                folders.delete(path)

    def _make(self, folder: Folder) -> None:
        self.root.chmod(0o755)
        made = Path(tempfile.mkdtemp(prefix=f"{self.path.name}.", dir=self.root))
        try:
            made.chmod(0o755)
            self._install(made, folder)
            link = made.with_name(f"{made.name}.link")
            link.symlink_to(made.name)
            link.rename(self.path)
        except BaseException:
            folders.delete(made)
            raise

    def _install(self, made: Path, folder: Folder) -> None:
        began = time.monotonic()
        folder.say(f"building the environment of {requirements.FILE}")
        _run([self.base, "-I", "-m", "venv", "--without-pip", str(made)], folder)
        listed = made / requirements.FILE
        listed.write_text("".join(f"{line}\n" for line in self.wanted))
        pip = [str(made / "bin" / "python"), "-I", str(pip_runner())]
        _run([*WITH_PARENT, *pip, "install", *OPTIONS, *AS_ROOT, "-r", str(listed)], folder)
        folder.say(f"the environment is ready after {time.monotonic() - began:.0f} s")


def pip_runner() -> Path:
    """Where the platform's own pip is. Raises Refused."""
    found = find_spec("pip")
    runner = Path(found.origin).with_name(RUNNER) if found is not None and found.origin else None
    if runner is None or not runner.exists():
        raise Refused("unsupported_host", f"{requirements.FILE} needs pip 22.3 or later beside Molecule")
    return runner


def _run(command: list[str], folder: Folder) -> None:
    """Its output goes to the log, and its last lines into the reason if it fails."""
    with folder.open_log() as log:
        try:
            status = subprocess.run(  # noqa: S603
                command,
                cwd="/",
                env=_environment(os.environ),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                umask=0o022,
                timeout=BUILD_SECONDS,
            ).returncode
        except subprocess.TimeoutExpired:
            raise Unavailable("requirements_failed", f"not installed within {BUILD_SECONDS:g} s") from None
    if status:
        raise Unavailable("requirements_failed", f"{requirements.FILE}: {folder.tail(SHOWN_LINES)}")


def _environment(given: Mapping[str, str]) -> dict[str, str]:
    """Where packages come from, and nothing else of the platform's environment."""
    return {name: value for name, value in given.items() if name in PASSED_ON or name.startswith("PIP_")}

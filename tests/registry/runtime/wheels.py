"""A package that a test installs without a network."""

import zipfile
from pathlib import Path


def offer(folder: Path, *names: str) -> dict[str, str]:
    """The environment in which pip finds these packages, in version 1.0, and no others. Each has a function `hello()`
    that prints its name, and a command of its own name that calls it."""
    folder.mkdir(parents=True)
    for name in names:
        info = f"{name}-1.0.dist-info"
        content = {
            f"{name}.py": f"def hello():\n    print('hello from {name}')\n",
            f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n",
            f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
            f"{info}/entry_points.txt": f"[console_scripts]\n{name} = {name}:hello\n",
        }
        content[f"{info}/RECORD"] = "".join(f"{path},,\n" for path in [*content, f"{info}/RECORD"])
        with zipfile.ZipFile(folder / f"{name}-1.0-py3-none-any.whl", "w") as wheel:
            for path, text in content.items():
                wheel.writestr(path, text)
    return {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(folder), "PIP_CONFIG_FILE": "/dev/null"}

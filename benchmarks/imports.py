"""What it takes to import a package, in a fresh interpreter; and until the first chunk of its first stream is there.

The second is there because rxllm imports httpx only when it is used.
"""

import os
import subprocess
import sys
from collections.abc import Iterator

from benchmarks.subjects import installed

__all__ = ["import_times"]

_PACKAGES = {"httpx": "httpx + json.loads", "rxllm": "rxllm", "openai": "openai", "litellm": "litellm"}

_IMPORT = "import time; begun = time.perf_counter(); import {package}; print(time.perf_counter() - begun)"
_FIRST = (
    "import time; from benchmarks.subjects import SUBJECTS; begun = time.perf_counter();"
    " SUBJECTS[{subject!r}].open({address!r})('2x1@2', 1); print(time.perf_counter() - begun)"
)


def import_times(address: str) -> Iterator[tuple[str, str, float]]:
    """For each package that is installed what was measured, the package and the seconds."""
    for package, subject in _PACKAGES.items():
        if installed(package):
            yield "import", package, _seconds(_IMPORT.format(package=package))
            yield "import and first", package, _seconds(_FIRST.format(subject=subject, address=address))


def _seconds(program: str) -> float:
    # What is compiled is kept, as everywhere else: to compile it each time would be what is measured.
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, check=True, capture_output=True, text=True, env=environment)  # noqa: S603  ours
    return float(done.stdout)

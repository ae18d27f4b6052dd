"""When and where the figures were taken."""

import os
import platform
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks.subjects import installed

__all__ = ["machine"]

_PACKAGES = "rxllm reactivex httpx httpcore h11 pydantic pydantic_core openai httpx2 litellm aiohttp".split()


def machine() -> dict[str, Any]:
    """The date, the processors, Python and the versions of the packages that take part."""
    return {
        "taken": datetime.now(UTC).isoformat(timespec="seconds"),
        "processor": _processor(),
        "cores": os.cpu_count(),
        "system": platform.platform(),
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "packages": {name: version for name in _PACKAGES if (version := installed(name)) is not None},
    }


def _processor() -> str:
    information = Path("/proc/cpuinfo")
    if information.exists():
        for line in information.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()

"""``python -m rxllm``: the command line."""

from rxllm.cli import main

__all__: list[str] = []

if __name__ == "__main__":
    raise SystemExit(main())

"""The providers: who speaks which dialect, where, and with whose key. The registry itself is ``_registry.py``."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rxllm.providers._registry import PROVIDERS, Provider, resolve

__all__ = ["PROVIDERS", "Provider", "resolve"]


if not TYPE_CHECKING:

    def __getattr__(name: str) -> Any:
        # The registry brings every dialect along, which importing rxllm does not.
        if name in __all__:
            from rxllm.providers import _registry

            return getattr(_registry, name)
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

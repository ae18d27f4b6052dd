"""What several operators share: text that comes in pieces, the request of a source, a checked argument."""

from typing import Any

from reactivex import Observable

from rxllm.types import Request

__all__ = ["append_text", "check_choice", "request_of", "split_half"]


def append_text(text: str, delta: str) -> str:
    r"""``text`` and what follows it; the halves of a surrogate pair that came apart are one character again.

    >>> append_text("a\ud83d", "\ude00") == "a\U0001f600"
    True
    """
    if text and "\udc00" <= delta[:1] <= "\udfff" and _is_high_surrogate(text[-1]):
        pair = (text[-1] + delta[0]).encode("utf-16", "surrogatepass").decode("utf-16")
        return text[:-1] + pair + delta[1:]
    return text + delta


def split_half(text: str) -> tuple[str, str]:
    r"""``text`` without the half of a surrogate pair that it ends with, and that half, whose other half is to come.

    >>> split_half("a\ud83d") == ("a", "\ud83d"), split_half("a")
    (True, ('a', ''))
    """
    return (text[:-1], text[-1]) if _is_high_surrogate(text[-1:]) else (text, "")


def _is_high_surrogate(character: str) -> bool:
    return "\ud800" <= character <= "\udbff"


def check_choice(choice: int) -> None:
    """Raises unless ``choice`` can be the index of a choice."""
    # What typing already excludes comes from untyped code all the same.
    given: Any = choice
    if not isinstance(given, int) or isinstance(given, bool):
        raise TypeError(f"choice is the index of a choice, an int, not {given!r}")
    if choice < 0:
        raise ValueError(f"choice is the index of a choice, 0 or more, not {choice}")


def request_of(source: Observable[Any]) -> Request | None:
    """The request that a source sends; None where it is no Stream, or several were merged."""
    request = getattr(source, "request", None)
    return request if isinstance(request, Request) else None

"""What several operators read of chunks and sources, and how they check their arguments."""

from typing import Any

from reactivex import Observable

from rxllm.types import ModelResponseStream, Request

__all__ = ["append_text", "check_choice", "content_of", "is_high_surrogate", "request_of"]


def content_of(chunk: ModelResponseStream, choice: int) -> str:
    """The text that a chunk adds to a choice; empty where it adds none."""
    text = ""
    for entry in chunk.choices:
        if entry.index == choice:
            content = entry.delta.content
            if content:
                text = text + content if text else content
    return text


def append_text(text: str, delta: str) -> str:
    r"""``text`` and what follows it; the halves of a surrogate pair that came apart are one character again.

    >>> append_text("a\ud83d", "\ude00") == "a\U0001f600"
    True
    """
    if text and "\udc00" <= delta[:1] <= "\udfff" and is_high_surrogate(text[-1]):
        pair = (text[-1] + delta[0]).encode("utf-16", "surrogatepass").decode("utf-16")
        return text[:-1] + pair + delta[1:]
    return text + delta


def is_high_surrogate(character: str) -> bool:
    """Whether a character is the first half of a pair, whose second half is to come."""
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

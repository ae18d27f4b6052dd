"""What an error says of values that do not fit, in one line."""

from pydantic import ValidationError

__all__ = ["reason_of"]


def reason_of(error: Exception, whole: str = "") -> str:
    """What the error says; pydantic's without its addresses and the values, each fault behind the place where it is.

    Args:
        error: any error.
        whole: what to call the place of a fault that is in no part of the value.

    >>> from pydantic import TypeAdapter
    >>> try:
    ...     TypeAdapter(dict[str, int]).validate_python({"a": "one"})
    ... except ValidationError as error:
    ...     reason_of(error)
    'a: Input should be a valid integer, unable to parse string as an integer'
    >>> reason_of(ValueError("no number"))
    'no number'
    """
    if not isinstance(error, ValidationError):
        return str(error)
    faults = error.errors(include_url=False, include_context=False, include_input=False)
    places = [".".join(map(str, fault["loc"])) or whole for fault in faults]
    return "; ".join(
        f"{place}: {fault['msg']}" if place else fault["msg"] for place, fault in zip(places, faults, strict=True)
    )

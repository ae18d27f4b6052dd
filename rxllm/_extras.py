"""What only some people use is an extra, imported when it is used; its absence is one line that names the extra."""

__all__ = ["missing_extra"]


def missing_extra(what: str, extra: str) -> ImportError:
    """The error that says which extra ``what`` needs.

    >>> raise missing_extra("timeline()", "notebook")
    Traceback (most recent call last):
    ImportError: timeline() needs an extra: pip install 'rxllm[notebook]'
    """
    return ImportError(f"{what} needs an extra: pip install 'rxllm[{extra}]'")

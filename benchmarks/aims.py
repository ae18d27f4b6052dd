"""The aims of this library's speed, and whether they are met."""

from typing import NamedTuple

from benchmarks.figures import Case, Figures

__all__ = ["COLUMNS", "Judgement", "aims"]

COLUMNS = ("httpx + json.loads", "openai", "litellm")

_ONE = Case(2_000)
_SIXTEEN = Case(2_000, 16)
_MANY = Case(50, streams=300)


class Judgement(NamedTuple):
    """A measured value, and what it is to be at most; ratios, or seconds."""

    value: float
    most: float
    seconds: bool = False

    @property
    def met(self) -> bool:
        """Whether the aim is met."""
        return self.value <= self.most

    @property
    def short(self) -> str:
        """The value alone."""
        if self.seconds:
            return f"{self.value * 1e3:.2f} ms"
        return _fraction(self.value) if self.most <= 0.5 else f"{self.value:.2f}"

    def __str__(self) -> str:
        most = self._replace(value=self.most).short
        return f"{self.short} (aim {most}: {'met' if self.met else 'missed'})"


def _fraction(value: float) -> str:
    return f"1/{1 / value:.{0 if value < 0.1 else 1}f}".removesuffix(".0")


def aims(figures: Figures) -> list[tuple[str, list[Judgement | None]]]:
    """A row for each aim, with a judgement for each column where there is an aim and it was measured."""
    rows = [
        _costs(figures, "plain loop, CPU per chunk, one event a packet", "rxllm", _ONE, (1.0, 1 / 8, 1 / 60)),
        _costs(figures, "the same, sixteen a packet", "rxllm", _SIXTEEN, (0.9, 1 / 12, 1 / 120)),
        _costs(figures, "through four operators, one event a packet", "rxllm, four operators", _ONE, (1.1,)),
        _costs(figures, "the same, sixteen a packet", "rxllm, four operators", _SIXTEEN, (1.1,)),
        _costs(figures, "300 asynchronous streams at once", "rxllm, async", _MANY, (1.0, 1 / 5, 1 / 20), ", async"),
    ]
    for base in ("httpx + json.loads", "raw socket"):
        added = figures.added("first", "rxllm", base)
        judgement = None if added is None else Judgement(added, 0.0003, seconds=True)
        rows.append((f"time to the first chunk, added to that of {base}", [judgement]))
    rows += [
        ("a chunk of 50,000 against one of 100, the request's own cost taken out", [_long(figures, less_request=True)]),
        ("the same, with the request's own cost", [_long(figures, less_request=False)]),
    ]
    imports: list[Judgement | None] = [None]
    for package, most in (("openai", 1 / 2), ("litellm", 1 / 25)):
        ratio = figures.ratio("import", "rxllm", package)
        imports.append(None if ratio is None else Judgement(ratio, most))
    rows.append(("import rxllm", imports))
    return rows


def _costs(
    figures: Figures, name: str, subject: str, case: Case, most: tuple[float, ...], suffix: str = ""
) -> tuple[str, list[Judgement | None]]:
    ratios = [figures.ratio("cpu", subject, base + suffix, case) for base in COLUMNS]
    judged = [None if ratio is None else Judgement(ratio, aim) for ratio, aim in zip(ratios, most, strict=False)]
    return name, judged


def _long(figures: Figures, *, less_request: bool) -> Judgement | None:
    """What a chunk costs in a long stream against a short one: all of the stream, or what each further chunk adds."""
    found = [figures.get("cpu", "rxllm", Case(chunks)) for chunks in (1, 100, 50_000)]
    if None in found:
        return None
    # By medians, since a difference of two noisy rounds tells nothing.
    request, short, long = (figure.median for figure in found if figure is not None)
    if less_request:
        short, long = (short * 100 - request) / 99, (long * 50_000 - request) / 49_999
    return Judgement(long / short, 1.1)

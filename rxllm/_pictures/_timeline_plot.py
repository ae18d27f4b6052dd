"""A timeline, plotted with matplotlib: by its objects alone, without pyplot's state and backends."""

import io
import math
import re
import threading
import warnings
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final

import matplotlib as mpl
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import FancyBboxPatch
from matplotlib.ticker import FuncFormatter, NullFormatter

from rxllm._accumulators._arrivals import KINDS, Arrivals, Kind
from rxllm._accumulators._measurement import Distribution
from rxllm._pictures._text import legible, shortened, without_unfit
from rxllm._pictures._ticks import axis_time, round_step, round_times, seconds

__all__ = ["TimelinePlot"]

# Those of the marbles, as strong as a thin line needs.
_OF_KIND: Final[dict[Kind, str]] = {
    "text": "#2563eb",
    "reasoning": "#8b5cf6",
    "tool call": "#d97706",
    "usage": "#16a34a",
    "other": "#94a3b8",
}
_IN_LEGEND: Final[dict[Kind, str]] = {
    "text": "text",
    "reasoning": "reasoning",
    "tool call": "tool calls",
    "usage": "usage",
    "other": "role, finish, others",
}
# Told apart by people who see few colours, too (Okabe and Ito), on white.
_OF_STREAM: Final = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#8c6d00", "#56a0d0", "#444444")
_INK, _PALE, _GRID, _AXIS, _ERROR = "#1f2937", "#64748b", "#e8ecf1", "#cbd5e1", "#dc2626"
_CARD, _EDGE = "#ffffff", "#d8dee6"
# What each is where a dark picture is preferred.
_DARK: Final = {
    "#2563eb": "#60a5fa", "#8b5cf6": "#a78bfa", "#d97706": "#f0b040", "#16a34a": "#4ade80", "#94a3b8": "#8b98a9",
    "#0072b2": "#4aa8e0", "#d55e00": "#ff9148", "#009e73": "#2fcfa0", "#cc79a7": "#e6a3c8", "#8c6d00": "#d6b24a",
    "#56a0d0": "#93cbef", "#444444": "#c4c4c4",
    _INK: "#e6edf3", _PALE: "#9aa6b5", _GRID: "#252c35", _AXIS: "#3d4652", _ERROR: "#f87171", _CARD: "#151b23",
    _EDGE: "#30363d",
}  # fmt: skip
_METADATA: Final = re.compile(r" *<metadata>.*?</metadata>\n", re.DOTALL)
_NUMBERS: Final = re.compile(r' (?:d|x|y|width|height|transform)="[^"]*"')
_DIGITS: Final = re.compile(r"(\.\d\d)\d+")
_STEPS: Final = re.compile(r"\s*\b([MLQCz])\s*")
_UNNEEDED: Final = re.compile(r"^ +|(?<=<g) id=\"[^\"]*\"", re.MULTILINE)
_ALIKE: Final = re.compile(
    r'<use [^<>]*?(?P<paint> class="[^"]*"(?: [\w-]+="[^"]*")*)/>\n(?:<use [^<>]*?(?P=paint)/>\n)+'
)
_TAGS: Final = re.compile(r"<[^<>]*>")
_PAINTS: Final = re.compile(r' (fill|stroke)="(#\w{6})"')
_DECLARATION: Final = re.compile(r"([\w-]+): *([^;]+)")
_DECLARED: Final = re.compile(r' style="([^"]*)"')
_OF_ALL: Final = re.compile(r"(?<=>)\*{([^{}]*)}")
_ACROSS: Final = 1200
"""How many places there are beside each other: what falls on one is drawn once."""
_TICKS: Final = 8
_SHORTEST: Final = 1e-6
_DASHED, _DOTTED = (0, (5, 3)), (0, (1, 2))
_STYLE: Final[Any] = {
    "svg.hashsalt": "rxllm",
    "svg.fonttype": "none",
    "font.family": ["sans-serif"],
    "font.sans-serif": ["DejaVu Sans"],
    "font.size": 9.0,
    "text.usetex": False,
    "text.parse_math": False,
    "path.sketch": None,
}
# Its types say little of what its functions take.
_matplotlib: Any = mpl
# The style is matplotlib's own global state, for as long as something is drawn.
_drawing = threading.Lock()


class TimelinePlot:
    """The plot of one answer or more: when chunks came, the tokens by then, and the gaps."""

    def __init__(self, arrivals: Sequence[Arrivals]) -> None:
        self._arrivals = arrivals
        self._labels = [shortened(legible(without_unfit(it.label)), 40) for it in arrivals]
        self._duration = max((it.duration for it in arrivals), default=0.0) or 1e-3
        with _styled():
            self._figure = self._plotted()

    def svg(self) -> str:
        """An SVG that stands by itself, and may stand in a page: its styles are its own.

        It follows the reader's preference for a dark one. What it says of a light one are attributes, so that it is
        right, too, where styles are taken away.
        """
        text = self.rendered("svg").decode()
        text = _UNNEEDED.sub("", _METADATA.sub("", text[text.index("<svg") :], count=1))
        text = _ALIKE.sub(_said_once, _TAGS.sub(lambda tag: _lean(tag[0]), text))
        painted = sorted({*_PAINTS.findall(text)})
        dark = "".join(f".{_name(*it)}{{{it[0]}:{_DARK[it[1]]}}}" for it in painted if it[1] in _DARK)
        of_all = _OF_ALL.search(text)
        text = _OF_ALL.sub(f"@media (prefers-color-scheme:dark){{{dark}}}", text, count=1)
        return text.replace("<svg", f"<svg{_attributes(of_all[1]) if of_all else ''}", 1)

    def rendered(self, kind: str) -> bytes:
        """A file of this kind."""
        file = io.BytesIO()
        names = ", ".join(self._labels)
        told: dict[str, Any] = {"Title": f"When the chunks of {names} came"}
        if kind != "png":
            told |= {"svg": {"Date": None}, "pdf": {"CreationDate": None}}[kind]
        with _styled():
            self._figure.savefig(file, format=kind, metadata=told, dpi=160)
        return file.getvalue()

    def _plotted(self) -> Any:
        rows = 0.42 + 0.3 * len(self._arrivals)
        legend = 0.62 * len(self._arrivals)
        heights = (max(rows, 1.15), max(2.1, 0.4 + legend), max(1.7, 0.4 + legend))
        figure: Any = Figure(figsize=(10.2, sum(heights) + 0.75), layout="constrained")
        figure.patch.set_alpha(0)
        figure.get_layout_engine().set(w_pad=0.16, h_pad=0.1)
        width, height = figure.get_size_inches()
        figure.add_artist(
            FancyBboxPatch(
                (0.008, 0.008),
                width - 0.016,
                height - 0.016,
                boxstyle="round,pad=0,rounding_size=0.12",
                transform=figure.dpi_scale_trans,
                facecolor=_CARD,
                edgecolor=_EDGE,
                linewidth=0.8,
                zorder=-1,
            )
        )
        arrivals, tokens, gaps = figure.subplots(3, 1, sharex=True, gridspec_kw={"height_ratios": heights})
        for axes in (arrivals, tokens, gaps):
            _bare(axes)
        self._plot_arrivals(arrivals)
        self._plot_tokens(tokens)
        self._plot_gaps(gaps)
        gaps.set_xlim(-0.015 * self._duration, 1.025 * self._duration)
        gaps.set_xlabel("time since the request", color=_PALE)
        step = round_step(self._duration, _TICKS)
        times = list(round_times(0.0, self._duration, step))
        gaps.set_xticks(times, [axis_time(at, step, self._duration) for at in times])
        return figure

    def _plot_arrivals(self, axes: Any) -> None:
        present: set[Kind] = set()
        for row, it in enumerate(self._arrivals):
            axes.plot([0, it.duration], [row, row], color=_AXIS, linewidth=1, zorder=1)
            for kind in reversed(KINDS):
                if times := list(self._places(it.of_kind(kind))):
                    present.add(kind)
                    # One line with breaks, and not a line for each.
                    axes.plot(
                        [at for time in times for at in (time, time, math.nan)],
                        [row - 0.28, row + 0.28, math.nan] * len(times),
                        color=_OF_KIND[kind], linewidth=1.1, solid_capstyle="butt", zorder=2,
                    )  # fmt: skip
            first = it.time_to_first_token
            if first is not None:
                axes.plot([first], [row - 0.42], marker="v", markersize=5, color=_INK, linestyle="", zorder=4)
            if it.ended is not None:
                marker, size = {"completed": ("|", 13), "failed": ("x", 8), "cancelled": ("o", 6)}[it.ended]
                color = _ERROR if it.ended == "failed" else _INK
                axes.plot(
                    [it.duration], [row], marker=marker, markersize=size, color=color, markeredgewidth=2,
                    markerfacecolor=_CARD, linestyle="", zorder=5, clip_on=False,
                )  # fmt: skip
        axes.set_ylim(len(self._arrivals) - 0.45, -0.62)
        axes.set_yticks(range(len(self._arrivals)), [self._named(place) for place in range(len(self._arrivals))])
        for row, (label, it) in enumerate(zip(axes.get_yticklabels(), self._arrivals, strict=True)):
            color = _INK if len(self._arrivals) == 1 else _OF_STREAM[row % len(_OF_STREAM)]
            label.set_color(_ERROR if it.error is not None else color)
        axes.grid(visible=False, axis="y")
        axes.spines["left"].set_visible(False)
        axes.tick_params(axis="y", length=0)
        axes.set_title("chunks", loc="left", fontsize=10, fontweight="bold", color=_INK)
        shown = [Line2D([], [], color=_OF_KIND[kind], linewidth=2.5) for kind in KINDS if kind in present]
        names = [_IN_LEGEND[kind] for kind in KINDS if kind in present]
        if any(it.time_to_first_token is not None for it in self._arrivals):
            shown.append(Line2D([], [], color=_INK, marker="v", markersize=5, linestyle=""))
            names.append("first token")
        _legend(axes, shown, names)

    def _plot_tokens(self, axes: Any) -> None:
        shown: list[Line2D] = []
        names: list[str] = []
        for place, it in enumerate(self._arrivals):
            color = _OF_STREAM[place % len(_OF_STREAM)]
            come = list(it.with_tokens())
            told = self._labels[place]
            if come:
                (first, at_first), (last, in_the_end) = come[0], come[-1]
                points = [*self._curve(come), (it.duration, in_the_end)]
                axes.plot(
                    [first, *(at for at, _ in points)], [0, *(count for _, count in points)],
                    color=color, linewidth=1.8, drawstyle="steps-post", zorder=3,
                )  # fmt: skip
                axes.plot([first], [at_first], marker="v", markersize=6, color=color, linestyle="", zorder=4)
                rate = it.tokens_per_second
                axes.plot([first, last], [at_first, in_the_end], color=color, linewidth=1, linestyle=_DASHED)
                told += f"\n{in_the_end:,} token{'' if in_the_end == 1 else 's'}, first after {seconds(first)}"
                told += f"\n{_rate(rate)} tokens/s" if rate is not None else ""
            else:
                told += "\nno tokens"
            shown.append(Line2D([], [], color=color, linewidth=2))
            names.append(told)
        axes.set_ylim(bottom=0)
        axes.yaxis.get_major_locator().set_params(integer=True)
        axes.yaxis.set_major_formatter(FuncFormatter(_in_thousands))
        axes.set_title("tokens so far", loc="left", fontsize=10, fontweight="bold", color=_INK)
        _legend(axes, shown, names)

    def _plot_gaps(self, axes: Any) -> None:
        shown: list[Line2D] = []
        names: list[str] = []
        axes.set_yscale("log")
        for place, it in enumerate(self._arrivals):
            color = _OF_STREAM[place % len(_OF_STREAM)]
            times = [at for at, _ in it.with_tokens()][1:]
            gaps = list(it.gaps())
            if not gaps:
                continue
            distribution = Distribution()
            for gap in gaps:
                distribution.add(gap)
            median, rare = distribution.quantile(0.5) or 0.0, distribution.quantile(0.99) or 0.0
            drawn = [(at, max(gap, _SHORTEST)) for at, gap in zip(times, gaps, strict=True)]
            dots = {(round(at / self._duration * 200), round(math.log10(gap) * 8)): (at, gap) for at, gap in drawn}
            axes.plot(
                [at for at, _ in dots.values()], [gap for _, gap in dots.values()],
                marker="o", markersize=2.6, markeredgewidth=0, alpha=0.75, color=color, linestyle="", zorder=3,
            )  # fmt: skip
            axes.axhline(max(median, _SHORTEST), color=color, linewidth=1.2, linestyle=_DASHED, zorder=2)
            axes.axhline(max(rare, _SHORTEST), color=color, linewidth=1.2, linestyle=_DOTTED, zorder=2)
            shown.append(Line2D([], [], color=color, marker="o", markersize=4, linestyle=""))
            names.append(f"{self._labels[place]}\nmedian {seconds(median)}, p99 {seconds(rare)}")
        if names:
            low, high = (math.log10(edge) for edge in axes.get_ylim())
            axes.set_ylim(10 ** math.floor(low), 10 ** max(math.ceil(high), math.floor(low) + 2))
            axes.yaxis.set_major_formatter(FuncFormatter(_in_seconds))
            shown += [Line2D([], [], color=_PALE, linewidth=1.4, linestyle=dashes) for dashes in (_DASHED, _DOTTED)]
            names += ["median", "99th percentile"]
        else:
            axes.set_yticks([], minor=False)
            axes.text(0.5, 0.5, "no gaps", transform=axes.transAxes, ha="center", va="center", color=_PALE)
        axes.tick_params(axis="y", which="minor", length=0, labelsize=0)
        axes.yaxis.set_minor_formatter(NullFormatter())
        axes.set_title("gaps between chunks with tokens", loc="left", fontsize=10, fontweight="bold", color=_INK)
        _legend(axes, shown, names)

    def _named(self, place: int) -> str:
        it = self._arrivals[place]
        if it.error is not None:
            return f"{self._labels[place]}\n{shortened(type(it.error).__name__, 40)}"
        return f"{self._labels[place]}\ncancelled" if it.ended == "cancelled" else self._labels[place]

    def _places(self, times: Sequence[float]) -> Iterator[float]:
        """Times that are told apart in the picture."""
        return iter({round(at / self._duration * _ACROSS): at for at in times}.values())

    def _curve(self, come: Sequence[tuple[float, int]]) -> Iterator[tuple[float, int]]:
        return iter({round(at / self._duration * _ACROSS): (at, count) for at, count in come}.values())


def _lean(tag: str) -> str:
    """A tag whose numbers have the hundredths of a point and no more, and with names of what it is painted in.

    The names are its own, since what a marker is of is looked for without what stands around it.
    """
    tag = _NUMBERS.sub(lambda found: _STEPS.sub(r"\1", _DIGITS.sub(r"\1", found[0])), tag)
    return _DECLARED.sub(lambda found: _painted(_attributes(found[1])), tag)


def _painted(attributes: str) -> str:
    names = " ".join(_name(*it) for it in _PAINTS.findall(attributes))
    return f' class="{names}"{attributes}' if names else attributes


def _attributes(style: str) -> str:
    """Declarations as attributes, but for ``font``, which is none: older versions of matplotlib write it."""
    declared = _DECLARATION.findall(style)
    return "".join(f' style="{name}: {value}"' if name == "font" else f' {name}="{value}"' for name, value in declared)


def _said_once(run: re.Match[str]) -> str:
    """Markers that are painted alike, as a group that is."""
    return f"<g{run['paint']}>\n{run[0].replace(run['paint'], '')}</g>\n"


def _name(what: str, color: str) -> str:
    return f"rxllm-{what[0]}{color[1:]}"


@contextmanager
def _styled() -> Generator[None, None, None]:
    """What is drawn here is drawn in this style, whatever the user's is; labels may be in any script."""
    with _drawing, warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing from")
        with _matplotlib.rc_context(_STYLE):
            yield


def _bare(axes: Any) -> None:
    axes.set_facecolor("none")
    axes.spines[["top", "right"]].set_visible(False)
    for spine in axes.spines.values():
        spine.set_color(_AXIS)
    axes.tick_params(colors=_PALE, labelsize=8.5)
    axes.grid(visible=True, color=_GRID, linewidth=0.8)
    axes.set_axisbelow(True)


def _legend(axes: Any, shown: Sequence[Line2D], names: Sequence[str]) -> None:
    """Beside the plot, where it hides nothing."""
    if shown:
        for line in shown:
            line.set_label("shown")
        legend = axes.legend(
            shown, ["shown"] * len(shown), loc="upper left", bbox_to_anchor=(1.005, 1.06), frameon=False,
            fontsize=8.5, labelcolor=_INK, handlelength=1.8, borderaxespad=0.2, labelspacing=0.7,
        )  # fmt: skip
        # A label that begins with an underscore would be left out, if it were given before.
        for text, name in zip(legend.get_texts(), names, strict=True):
            text.set_text(name)


def _in_thousands(count: float, _: object) -> str:
    return f"{count:,.0f}"


def _in_seconds(value: float, _: object) -> str:
    return seconds(value)


def _rate(tokens: float) -> str:
    return f"{tokens:,.1f}" if tokens < 1000 else f"{tokens:,.0f}"

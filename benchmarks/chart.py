"""The chart of the README."""

from pathlib import Path

from benchmarks.figures import Case, Figures

__all__ = ["draw"]

# Legible on white and on black alike; the background is the page's.
_TEXT = "#808890"
_OURS = "#2f81f7"
_THEIRS = "#8b949e"

_PANELS = {
    "one stream": (
        Case(2_000),
        ["raw socket", "rxllm", "rxllm, four operators", "httpx + json.loads", "openai", "litellm"],
    ),
    "300 streams at once, asynchronous": (
        Case(50, streams=300),
        ["raw socket, async", "rxllm, async", "httpx + json.loads, async", "openai, async", "litellm, async"],
    ),
}


def draw(figures: Figures, path: Path) -> None:
    """Draws what a chunk costs whom, as SVG, on a logarithmic scale that all panels share."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    mpl.rcParams["svg.hashsalt"] = "rxllm"  # the same figures give the same file
    shown = {title: _costs(figures, *panel) for title, panel in _PANELS.items()}
    shown = {title: costs for title, costs in shown.items() if costs}
    most = max((cost for costs in shown.values() for cost in costs.values()), default=0.0)
    figure = Figure(figsize=(8, 1.2 + 0.36 * sum(map(len, shown.values()))), layout="constrained")
    places = figure.subplots(len(shown), 1, squeeze=False, height_ratios=[len(costs) + 1 for costs in shown.values()])
    for place, (title, costs) in zip(places[:, 0], shown.items(), strict=True):
        names = list(costs)
        colours = [_OURS if name.startswith("rxllm") else _THEIRS for name in names]
        bars = place.barh(names, list(costs.values()), color=colours, height=0.66)
        place.bar_label(
            bars, [f"{cost:,.1f}" if cost < 100 else f"{cost:,.0f}" for cost in costs.values()], padding=4, color=_TEXT
        )
        place.set_title(f"CPU per chunk, in microseconds: {title}", loc="left", fontsize=10, color=_TEXT)
        place.set_xscale("log")
        place.set_xlim(1, max(most, 1000) * 2)
        place.invert_yaxis()
        place.tick_params(colors=_TEXT, which="both", length=0)
        place.set_xticks([1, 10, 100, 1000], ["1", "10", "100", "1,000"])
        place.minorticks_off()
        place.grid(visible=True, axis="x", color=_TEXT, alpha=0.25)
        place.set_axisbelow(True)
        for side in place.spines.values():
            side.set_visible(False)
    figure.savefig(path, format="svg", transparent=True, metadata={"Date": None})


def _costs(figures: Figures, case: Case, names: list[str]) -> dict[str, float]:
    found = {name.removesuffix(", async"): figures.get("cpu", name, case) for name in names}
    return {name: figure.median * 1e6 for name, figure in found.items() if figure is not None}

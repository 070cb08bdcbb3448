"""Charts of evaluation reports, as SVG to be put into the page: text stays text, colours are the page's."""

from __future__ import annotations

import io
import math
import re
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from lookout.evaluation.rounding import Share

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Stand-ins, as matplotlib knows no CSS: each becomes a variable of the page, which has its own for light and dark.
INK, FIRST, SECOND, GRID = "#010203", "#010204", "#010205", "#010206"
COLOURS = {INK: "currentColor", FIRST: "var(--first)", SECOND: "var(--second)", GRID: "var(--grid)"}
#: Inches: small, so that the text is still readable where a phone shows the chart at its full width.
WIDTH, HEIGHT = 4.6, 3.5
LONGEST_NAME = 20
STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "lookout",
    "font.size": 10,
    "text.color": INK,
    "text.parse_math": False,
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "axes.facecolor": "none",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": GRID,
    "grid.linewidth": 0.6,
    "xtick.color": INK,
    "ytick.color": INK,
    "figure.facecolor": "none",
    "legend.frameon": False,
}


def det(answer: Mapping[str, Any], points: Sequence[tuple[float, Share]]) -> str:
    """The detection error trade-off, both axes logarithmic; a rate of 0 lies on the axis.

    Args:
        answer: of an identification.
        points: FPIR, and the FNIR there with its range.
    """
    floors = 0.5 / answer["unknown_probes"], 0.5 / answer["known_probes"]

    def draw(axes: Axes) -> None:
        curve = [(max(one["fpir"], floors[0]), max(one["fnir"], floors[1])) for one in answer["det"]]
        axes.plot(*zip(*curve, strict=True), color=FIRST, linewidth=1.8, zorder=2)
        for fpir, fnir in points:
            low, high = max(fnir.low, floors[1]), max(fnir.high, floors[1])
            axes.plot([max(fpir, floors[0])] * 2, [low, high], color=FIRST, linewidth=1.2, marker="_", zorder=2)
        for (tier, one), marker in zip(answer["tiers"].items(), "oDsv", strict=False):
            place = max(one["fpir"]["value"], floors[0]), max(one["fnir"]["value"], floors[1])
            axes.plot(*place, color=SECOND, marker=marker, markersize=8, linestyle="none", clip_on=False, zorder=3)
            axes.annotate(tier, place, xytext=(9, 3), textcoords="offset points")
        _rates_axis(axes, "x", floors[0])
        _rates_axis(axes, "y", floors[1])
        axes.set_xlabel("strangers reported (FPIR)")
        axes.set_ylabel("listed people missed (FNIR)")

    return _svg("det", draw)


def roc(curve: Sequence[tuple[float, float]], non_mated: int) -> str:
    """The receiver operating characteristic, the share of false matches logarithmic; 0 lies on the axis."""
    floor = 0.5 / max(1, non_mated)
    least = max((tar for far, tar in curve if far == 0), default=0.0)

    def draw(axes: Axes) -> None:
        axes.step(
            [max(far, floor) for far, _ in curve], [tar for _, tar in curve], where="post", color=FIRST, linewidth=1.8
        )
        bottom = max(0.0, math.floor((least - 0.05) * 20) / 20)
        axes.set_ylim(bottom, 1 + (1 - bottom) * 0.02)
        axes.yaxis.set_major_formatter(lambda value, _: _percent(value))
        _rates_axis(axes, "x", floor)
        axes.set_xlabel("pairs of two people that match (false matches)")
        axes.set_ylabel("pairs of one person that match")

    return _svg("roc", draw)


def histogram(shown: Mapping[str, Sequence[float]], threshold: float) -> str:
    """How many pairs of one person and of two reach which score, and the threshold between them."""

    def draw(axes: Axes) -> None:
        kinds = (("non_mated", "two people", SECOND, "--"), ("mated", "one person", FIRST, "-"))
        for kind, label, colour, line in kinds:
            axes.stairs(shown[kind], shown["edges"], fill=True, color=colour, alpha=0.25)
            axes.stairs(shown[kind], shown["edges"], color=colour, linestyle=line, linewidth=1.6, label=label)
        axes.axvline(threshold, color=INK, linewidth=1, linestyle=":", label="threshold")
        axes.set_xlabel("score of the pair")
        axes.set_ylabel("pairs")
        axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1), ncols=3, handlelength=1.6, columnspacing=1.4)

    return _svg("histogram", draw)


def groups(rows: Sequence[tuple[str, bool, Share | None, Share | None]], titles: tuple[str, str]) -> str:
    """Two rates of each group, as bars with their 95 % ranges.

    Args:
        rows: name, whether it is small and gets an asterisk, first and second rate; None where there is none.
        titles: of both rates.
    """

    def draw(*both: Axes) -> None:
        for axes, title, column, colour in zip(both, titles, (2, 3), (FIRST, SECOND), strict=True):
            for place, row in enumerate(rows):
                one = row[column]
                if isinstance(one, Share):
                    axes.barh(place, one.value, height=0.6, color=colour, alpha=0.6)
                    axes.plot([one.low, one.high], [place, place], color=INK, linewidth=1.2, marker="|")
            axes.set_title(title, fontsize=10)
            axes.set_xlim(left=0)
            axes.locator_params(axis="x", nbins=4)
            axes.xaxis.set_major_formatter(lambda value, _: _percent(value))
            axes.grid(visible=False, axis="y")
            axes.set_yticks(range(len(rows)), [_short(name) + " *" * small for name, small, *_ in rows])
            axes.set_ylim(len(rows) - 0.4, -0.6)

    return _svg("groups", draw, panels=2, height=0.9 + 0.3 * len(rows))


def _rates_axis(axes: Axes, which: str, floor: float) -> None:
    """A logarithmic axis from 0, which stands at `floor`, to 100 %."""
    decades = [10.0**power for power in range(math.ceil(math.log10(floor * 2.2)), 1)]
    getattr(axes, f"set_{which}scale")("log")
    getattr(axes, f"set_{which}lim")(floor, 1)
    getattr(axes, f"set_{which}ticks")([floor, *decades], ["0", *map(_percent, decades)])
    getattr(axes, f"{which}axis").minorticks_off()


def _percent(value: float) -> str:
    return f"{value * 100:.6g} %"


def _short(name: str) -> str:
    name = "".join(letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in name)
    return name if len(name) <= LONGEST_NAME else name[: LONGEST_NAME - 1] + "…"


def _svg(name: str, draw: Callable[..., None], *, panels: int = 1, height: float = HEIGHT) -> str:
    """Draw without pyplot, which would keep state and look for a screen."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    written = io.StringIO()
    with mpl.rc_context(STYLE), warnings.catch_warnings():
        # The reader's browser has the letters that matplotlib's own font lacks.
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        figure = Figure(figsize=(WIDTH, height), layout="constrained")
        draw(*figure.subplots(1, panels, squeeze=False, sharey=True)[0])
        figure.savefig(written, format="svg", metadata={"Date": None, "Creator": None}, transparent=True)
    return _for_page(name, written.getvalue())


def _for_page(name: str, svg: str) -> str:
    """An SVG file as part of a page: without its head and style, colours by variables, ids its own."""
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>|<style.*?</style>|<!--.*?-->", "", svg, flags=re.DOTALL)
    head, body = svg.split(">", 1)
    box = re.search(r'viewBox="[^"]*"', head)
    svg = f'<svg {box[0] if box else ""} aria-hidden="true" focusable="false">{body}'
    for mark, variable in COLOURS.items():
        svg = svg.replace(mark, variable)
    svg = re.sub(r'\bid="', f'id="{name}-', svg)
    return svg.replace('xlink:href="#', f'href="#{name}-').replace("url(#", f"url(#{name}-")

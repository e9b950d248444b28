"""docs/views.md: every built-in view as it is declared, what its numbers are, and where they stand."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from topologies import accounting, continue_watching
from topologies.bins import RELATIVE_ERROR
from topologies.sketches import STANDARD_ERROR
from topologies.view import ANY, BIN_MARK, PLAYBACK_FAILURE, START_FAILURE, Distinct, Extreme, Histogram, Measure, Rate, Trend, View, Window
from topologies.views import BUILT_IN

_KEPT: Final = {"min": "the least", "max": "the greatest", "last": "the last by ts, then seq,"}
_COUNTED: Final = {
    ANY: "events",
    START_FAILURE: "fatal errors before their session's first frame",
    PLAYBACK_FAILURE: "fatal errors behind it",
}


def views_page(note: str) -> str:
    """A section a view, and one each for bookmarks and accounting."""
    lines = ["# Views", "", note, ""]
    lines += [
        "Every built-in view, as it is declared in [topologies/](../topologies); `marquee views` lists those that are installed too",
        "([own-view.md](own-view.md) shows how to add one). [architecture.md](architecture.md#views-exactly) has the exact rules.",
        "Windows are of the event's own time, UTC, but for the live one, which is now. Sums and numbers of events add up over sources,",
        "windows and dimensions; what is reckoned from them is reckoned where it is read.",
    ]
    for view in BUILT_IN.values():
        lines += ["", f"## {view.name}", "", *_section(view)]
    lines += ["", f"## {continue_watching.NAME}", "", *_bookmarks()]
    lines += ["", f"## {accounting.NAME}", "", f"{_sentence(accounting.SUMMARY)} By source; {', '.join(accounting.MEASURES)}."]
    lines += ["received = applied + duplicate + late + dead, for every source, always."]
    return "\n".join(lines) + "\n"


def _bookmarks() -> Iterator[str]:
    kept, cached = (seconds // 86_400 for seconds in (continue_watching.KEPT_S, continue_watching.CACHED_S))
    by, columns = " and ".join(continue_watching.DIMENSIONS), ", ".join(continue_watching.COLUMNS)
    yield f"{_sentence(continue_watching.SUMMARY)} By {by}; {columns}; the {continue_watching.MOST_TITLES} last watched at the most."
    yield f"It has no cells: bookmarks stand in Cassandra's table `bookmarks` for {kept} days after they were written, and in Redis under"
    yield f"`mq:cw/…` until nothing has moved for {cached} days."


def _section(view: View) -> Iterator[str]:
    yield _sentence(view.summary)
    yield ""
    yield f"- **by** {', or '.join(map(_crossed, view.groupings))}"
    yield f"- **windows** {', '.join(map(_window, view.windows))}"
    yield f"- **of** {'events that were applied' if view.of == 'event' else 'sessions that are over, each once'}"
    if view.leaderboard is not None:
        yield f"- **ranked** by {view.leaderboard}"
    yield ""
    yield from ("| number | unit | what it is | how |", "|---|---|---|---|")
    declared: tuple[Measure | Histogram | Distinct | Extreme | Rate, ...] = (
        *view.measures, *view.histograms, *view.extremes, *view.distincts, *view.rates
    )  # fmt: skip
    for each in declared:
        yield f"| {each.name} | {getattr(each, 'unit', '')} | {each.summary} | {_how(each)} |"
    if view.trend is not None:
        yield f"| score | | how much more than its own past leads to expect | {_trend(view.trend)} |"
    yield ""
    yield from ("| stored in Cassandra | a cell's key | in Redis |", "|---|---|---|")
    for part in view.parts:
        keys = " or ".join(f"({', '.join(map(_dimension, grouping))})" for grouping in part.groupings)
        cached = [window.name for window in part.windows if window.cached]
        redis = ", ".join(f"`mq:{part.name}:{part.logic_version}:{window}:…`" for window in cached) or "no"
        yield f"| `{part.table}` | {keys} | {redis} |"


def _how(each: Measure | Histogram | Distinct | Extreme | Rate) -> str:
    if isinstance(each, Measure):
        return _measured(each)
    if isinstance(each, Histogram):
        on = f" of {each.on} events" if each.on else ""
        quantiles = ", ".join(f"p{quantile * 100:g}" for quantile in each.quantiles)
        return f"{quantiles} of {each.of}{on}, from bins: at most {100 * RELATIVE_ERROR:.2g} % of the value off"
    if isinstance(each, Distinct):
        return f"different ({', '.join(each.of)}), HyperLogLog, united and never added: standard error {100 * STANDARD_ERROR:.2g} %"
    if isinstance(each, Extreme):
        return f"{_KEPT[each.keep]} {each.of}; does not add up"
    times = f"{each.scale:g} × " if each.scale != 1 else ""
    return f"{times}{_summed(each.of)} ÷ {_summed(each.over)}; none where that is 0"


def _measured(measure: Measure) -> str:
    if measure.count_of is not None:
        decays = f", each worth half as much for every {measure.half_life_s // 3600} h that it is old" if measure.half_life_s else ""
        return f"number of {_COUNTED.get(measure.count_of, f'{measure.count_of} events')}{decays}"
    if measure.sum_of is not None:
        return f"sum of {measure.sum_of}" + (f" × {measure.times}" if measure.times else "")
    return "kept by the fold of live sessions; an hour's or a day's is the greatest of its minutes"


def _trend(trend: Trend) -> str:
    spans = " and ".join(f"{span // 60} min" for span in trend.spans_s)
    return f"{trend.count} in the last {spans} ÷ max({trend.floor:g}, what {trend.baseline} leads to expect in so long a span)"


def _summed(names: tuple[str, ...]) -> str:
    return names[0] if len(names) == 1 else f"({' + '.join(names)})"


def _crossed(grouping: tuple[str, ...]) -> str:
    return " × ".join(map(_dimension, grouping)) or "the total"


def _dimension(name: str) -> str:
    return f"bin of {name.removesuffix(BIN_MARK)}" if name.endswith(BIN_MARK) else name


def _window(window: Window) -> str:
    if not window.length_ms:
        return f"{window.name} (in Redis, and in Cassandra behind it)"
    if not window.cached:
        return f"{window.name} (in Cassandra)"
    days, hours = divmod(window.retention_s // 3600, 24)
    kept = f"{days} days" if days > 1 and not hours else f"{24 * days + hours} h"
    return f"{window.name} (in Cassandra, and in Redis until {kept} behind its end)"


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:] + "."

"""The scaling policy: what was measured and what is remembered → how many workers there should be. Pure: no clock, no I/O, no random.

    decide(rules, past, measurement, now_s) → Decision(wanted, why, past)      the past returned goes into the next call

The number wanted is the fewest workers that bear the greatest of three loads, in events a second:

    rate       arrivals as they are about to be when a worker asked for now is there
    lag        what arrives, and all that waits within `drain_s`: the floor
    return     after a break in the line: what was usual before, and what was kept, within `return_s`

**What a fleet bears.** Partitions are what is shared out, so n workers of capacity c bear c · P ÷ ⌈P ÷ n⌉ events a second of P partitions
that are alike: of 8 partitions, 5, 6 and 7 workers bear no more than 4, because one of them has two all the same. Numbers that bring
nothing are passed over, and more workers than partitions never help. Capacity is measured as what a worker sustains with events fresh
within a second; the headroom is in it, since one that is behind folds greater batches and bears more.

**Rate.** A worker takes `start_s` to start, and a rebalance follows. So the forecast is the greatest of the last minute's mean, of the line
through the last `trend_s` led on by `ahead_s` where it rises, and of now's rate times what the time of day did on the days before between
now and then. A trend is trusted for that long and no longer; one that falls is not: going down has time.

**Lag.** Each partition adds what it needs to be even after `drain_s`, but never more than one worker's capacity, since one worker is all
that it can have. Where workers start quickly, `over_share` of what arrives is left out: a minute's rate that is a little more than is
borne costs a second of lag, worked off when that minute is over, while a worker for it costs two rebalances. One that has a backlog and
makes no progress while others do is stuck: it adds nothing, workers do not help it. A backlog that workers who are starting are to drain
is no reason for more of them: for `settle_s` after a rise, lag asks for nothing.

**Return.** People leave over minutes; a rate that falls below half within one minute is a line that broke, and players keep what they
cannot send (so do collectors). Who takes workers away then lacks them when the line is back and everything comes at once, faster than
workers start. So what did not come, against the rate before, is added up, and the fleet is kept able to take it within `return_s` beside
the usual rate: until as much has come in excess, or the line has been back for half of that, and no more comes than before; or until
`forget_s` after the break: by then those viewers are gone.

**Fast up, slow down.** Up at once, to the number needed. Down when for `hold_s` nothing needed more, with room for what the time of day
brings within `usual_ahead_s` and the rest at most `keep_share` busy, so that it can work off what waits after the rebalance; one useful
number at a time, `cool_s` after any change. A worker too many costs a few minutes of one worker, one too few costs freshness and a
rebalance more.

**Measurements.** One that is missing, older than `stale_s`, without a capacity, or with a partition that nobody could ask, holds what was
wanted and is not remembered: nothing is ever read as zero. Only limits are applied then, which may have been changed, and partitions
where any are known.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import ceil, floor, inf
from typing import Final

DAY_S: Final = 86_400
SLOT_S: Final = 600
SLOTS: Final = DAY_S // SLOT_S
"""The time of day is remembered in slots of ten minutes, UTC."""
MINUTE_S: Final = 60
MOST_GROWTH: Final = 2.0
"""What the time of day may multiply a rate by: days differ."""
SETTLED_S: Final = 20.0
"""Beside a worker's start-up, what a forecast looks ahead and what a rise is given: a rebalance, a decision, and as much again."""
LEAST_HELD_S: Final = 60.0
SLOW_S: Final = 20.0
QUICK_S: Final = 7.0
"""Start-ups of workers: from nothing, and out of a fork server on a busy machine."""


@dataclass(frozen=True)
class Rules:
    """Limits, and what the policy goes by: engineering choices, judged by `marquee simulate` on plain days (docs/scaling.md)."""

    least: int = 1
    most: int = 8
    ahead_s: float = 40.0
    """How far a rate is foretold: start-up (20 s), rebalance (3 s), a decision (10 s), and a little. `paced` has it for others."""
    slack_s: float = 1.0
    """A forecast may cost so much lag within ahead_s before it asks for a worker."""
    trend_s: float = 300.0
    """A minute's rate differs from the next one's by 4 % without any trend; over five minutes that is not taken for one."""
    drain_s: float = 30.0
    """Where capacity was measured a tenth too high, a tenth of this is the lag that stays."""
    over_share: float = 0.0
    """By so much more comes than is borne before lag asks for a worker: that which waits asks for one too, once it is over_share · drain_s
    old. Of 6 % that is 1.8 s."""
    settle_s: float = 40.0
    """Twice the start-up."""
    hold_s: float = 180.0
    keep_share: float = 0.94
    usual_ahead_s: float = 300.0
    cool_s: float = 60.0
    stale_s: float = 30.0
    return_s: float = 900.0
    """Events older than a quarter of an hour are late, and players that keep them try sooner than that."""
    forget_s: float = 3_600.0


def paced(least: int, most: int, start_s: float) -> Rules:
    """The rules of who starts a worker within start_s seconds. The sooner one that is missing is there, the less is kept in case it will
    be: from SLOW_S, as Rules has it, to QUICK_S. The fleet is held for nine start-ups (docs/scaling.md, "Quick starts")."""
    settled_s, quick = start_s + SETTLED_S, min(max((SLOW_S - start_s) / (SLOW_S - QUICK_S), 0.0), 1.0)
    return Rules(
        least, most, ahead_s=settled_s, settle_s=settled_s, hold_s=max(9 * start_s, LEAST_HELD_S), keep_share=0.94 + 0.04 * quick,
        over_share=0.06 * quick,
    )  # fmt: skip


@dataclass(frozen=True)
class Partition:
    """What one partition showed: events a second, and events that wait. None where it could not be asked."""

    arrived_per_s: float | None
    applied_per_s: float | None
    backlog: float | None


@dataclass(frozen=True)
class Measurement:
    """What was measured at once, over some seconds until at_s (epoch seconds). capacity_per_s: what one worker was measured to sustain."""

    at_s: float
    capacity_per_s: float | None
    partitions: tuple[Partition, ...]


@dataclass(frozen=True)
class Break:
    """A line that broke: since when, the rate before it, the events that did not come since, and since when it is back."""

    since_s: float
    before_per_s: float
    missing: float
    back_s: float = inf


@dataclass(frozen=True)
class Past:
    """What is remembered from one decision to the next. The first is Past(wanted=those that run)."""

    wanted: int
    rates: tuple[tuple[float, float], ...] = ()
    """(at_s, events a second) of the last `trend_s`, or two minutes where that is shorter."""
    usual: tuple[float | None, ...] = (None,) * SLOTS
    """By slot of the day, the rate as the days before had it, each of them counting half of the one after it."""
    today: tuple[float | None, ...] = (None,) * SLOTS
    """The same of the day that is not over."""
    slot: tuple[int, float, int] = (-1, 0.0, 0)
    """The slot under way: its number since the epoch, the sum of its rates, how many."""
    needs: tuple[tuple[int, int], ...] = ()
    """(minute since the epoch, the most workers needed in it) of the last `hold_s`."""
    broken: Break | None = None
    rose_s: float = float("-inf")
    changed_s: float = float("-inf")


@dataclass(frozen=True)
class Decision:
    """How many workers there should be, the reason in a few words, and what to remember."""

    wanted: int
    why: str
    past: Past


def decide(rules: Rules, past: Past, seen: Measurement | None, now_s: float) -> Decision:
    """The decision of now. The same arguments give the same one; a measurement that was decided on before is not remembered twice."""
    if seen is None or (unknown := _unknown(rules, seen, now_s)):
        wanted = _within(rules, past.wanted, (len(seen.partitions) if seen else 0) or rules.most)
        return Decision(wanted, f"held: {'no measurement' if seen is None else unknown}", replace(past, wanted=wanted))
    partitions, capacity_per_s = len(seen.partitions), seen.capacity_per_s or 0.0
    past = _remembered(rules, past, seen)
    now_per_s = _mean(past.rates, seen.at_s - MINUTE_S)
    ahead_per_s = max(_led_on(past.rates, seen.at_s + rules.ahead_s), now_per_s * growth(past.usual, seen.at_s, rules.ahead_s))
    loads = {
        "rate": ahead_per_s * (1 - rules.slack_s / rules.ahead_s),
        "lag": draining_per_s(rules, seen),
        "return": returning_per_s(rules, past.broken),
    }
    needs = {name: fewest(rules, partitions, load / capacity_per_s) for name, load in loads.items()}
    soon = max(ahead_per_s, now_per_s * growth(past.usual, seen.at_s, rules.usual_ahead_s)) / rules.keep_share
    staying = max(*needs.values(), fewest(rules, partitions, soon / capacity_per_s))
    minutes = _by_minute(rules, past.needs, int(now_s // MINUTE_S), staying)
    past = past if minutes == past.needs else replace(past, needs=minutes)
    return _changed(rules, past, needs, partitions, now_s)


def fewest(rules: Rules, partitions: int, load: float) -> int:
    """The fewest workers within the limits that bear a load, in capacities of one worker; of those that bear the most where none does."""
    numbers = range(_within(rules, rules.least, partitions), _within(rules, rules.most, partitions) + 1)
    for workers in numbers:
        if bears(workers, partitions) >= load:
            return workers
    return max(numbers, key=lambda workers: bears(workers, partitions))


def bears(workers: int, partitions: int) -> float:
    """What so many workers bear of partitions that are alike, in capacities of one worker: the one that has most partitions is the
    bound."""
    return partitions / ceil(partitions / workers)


def growth(usual: tuple[float | None, ...], at_s: float, ahead_s: float) -> float:
    """What the time of day multiplies a rate by between a time and so many seconds later: from 1, where it falls or is not known, to
    MOST_GROWTH."""
    before, after = _usual(usual, at_s), _usual(usual, at_s + ahead_s)
    return min(max(after / before, 1.0), MOST_GROWTH) if before and after else 1.0


def draining_per_s(rules: Rules, seen: Measurement) -> float:
    """What has to be worked off to be even in `drain_s`, events a second."""
    moving = any((partition.applied_per_s or 0.0) > 0 for partition in seen.partitions)
    total = 0.0
    for partition in seen.partitions:
        if moving and partition.backlog and not partition.applied_per_s:
            continue  # stuck: no worker helps it
        arrived_per_s = (partition.arrived_per_s or 0.0) * (1 - rules.over_share)
        total += min(arrived_per_s + (partition.backlog or 0.0) / rules.drain_s, seen.capacity_per_s or 0.0)
    return total


def returning_per_s(rules: Rules, broken: Break | None) -> float:
    """What a broken line would bring if it were back now, events a second; 0 where none is broken."""
    return 0.0 if broken is None else broken.before_per_s + max(broken.missing, 0.0) / rules.return_s


def _changed(rules: Rules, past: Past, needs: dict[str, int], partitions: int, now_s: float) -> Decision:
    wanted = _within(rules, past.wanted, partitions)
    if now_s - past.rose_s < rules.settle_s:
        needs = {name: need for name, need in needs.items() if name != "lag" or need <= wanted}
    why, need = max(needs.items(), key=lambda one: one[1])
    if need > wanted:
        return Decision(need, f"up for {why}", replace(past, wanted=need, rose_s=now_s, changed_s=now_s))
    stay = max(most for _, most in past.needs)
    known = len(past.needs) >= rules.hold_s / MINUTE_S
    if stay < wanted and known and now_s - past.changed_s >= rules.cool_s:
        less = max(number for number in range(stay, wanted) if number == stay or bears(number, partitions) > bears(number - 1, partitions))
        return Decision(less, "down", replace(past, wanted=less, changed_s=now_s))
    stays = past if past.wanted == wanted else replace(past, wanted=wanted)
    return Decision(wanted, f"enough for {why}" if need == wanted else "not yet down", stays)


def _unknown(rules: Rules, seen: Measurement, now_s: float) -> str:
    """Why nothing can be decided on it; empty when it can."""
    if now_s - seen.at_s > rules.stale_s:
        return "the measurement is stale"
    if not seen.capacity_per_s:
        return "no capacity was measured"
    if not seen.partitions:
        return "no partition was measured"
    if any(None in (one.arrived_per_s, one.applied_per_s, one.backlog) for one in seen.partitions):
        return "a partition was not measured"
    return ""


def _within(rules: Rules, wanted: int, partitions: int) -> int:
    return max(min(wanted, rules.most, partitions), min(rules.least, partitions), 1)


def _remembered(rules: Rules, past: Past, seen: Measurement) -> Past:
    """The past with this measurement in it. One that is not newer than the newest is not taken twice."""
    if past.rates and seen.at_s <= past.rates[-1][0]:
        return past
    rate = sum(partition.arrived_per_s or 0.0 for partition in seen.partitions)
    since_s = seen.at_s - max(rules.trend_s, 2 * MINUTE_S)
    elapsed_s = min(seen.at_s - past.rates[-1][0], rules.stale_s) if past.rates else 0.0
    slot = past.slot
    if (number := int(seen.at_s // SLOT_S)) != slot[0]:
        past, slot = _slot_ended(past, number), (number, 0.0, 0)
    broken = _broken(rules, past, seen.at_s, rate, elapsed_s)
    if past.broken and not broken:
        past = replace(past, rates=())  # what came back is not what was before
    rates = (*(one for one in past.rates if one[0] > since_s), (seen.at_s, rate))
    return replace(past, rates=rates, slot=(number, slot[1] + rate, slot[2] + 1), broken=broken)


def _slot_ended(past: Past, number: int) -> Past:
    """The past with the slot that was under way in its day, and with that day in what is usual where the next slot is another day's."""
    before, total, measured = past.slot
    today, usual = past.today, past.usual
    if measured:
        today = (*today[: before % SLOTS], total / measured, *today[before % SLOTS + 1 :])
    if before >= 0 and number // SLOTS != before // SLOTS:
        usual = tuple(old if new is None else new if old is None else (old + new) / 2 for old, new in zip(usual, today, strict=True))
        today = (None,) * SLOTS
    return replace(past, today=today, usual=usual)


def _broken(rules: Rules, past: Past, at_s: float, rate: float, elapsed_s: float) -> Break | None:
    broken = past.broken
    if broken is None:
        before = _mean(past.rates, at_s - 2 * MINUTE_S, at_s - MINUTE_S)
        return Break(at_s, before, (before - rate) * elapsed_s) if rate < before / 2 else None
    missing = broken.missing + (broken.before_per_s - rate) * elapsed_s
    back_s = min(broken.back_s, at_s) if rate >= broken.before_per_s / 2 else inf
    paid = missing <= 0 or at_s - back_s >= rules.return_s / 2
    over = (paid and rate <= broken.before_per_s) or at_s - broken.since_s > rules.forget_s
    return None if over else replace(broken, missing=missing, back_s=back_s)


def _by_minute(rules: Rules, needs: tuple[tuple[int, int], ...], minute: int, need: int) -> tuple[tuple[int, int], ...]:
    """The most workers needed in each of the last minutes, this one with them."""
    if needs and needs[-1][0] == minute:
        return (*needs[:-1], (minute, max(need, needs[-1][1])))
    return (*(one for one in needs if one[0] > minute - ceil(rules.hold_s / MINUTE_S)), (minute, need))


def _mean(rates: tuple[tuple[float, float], ...], after_s: float, until_s: float = inf) -> float:
    """The mean of the rates within a span; 0 without any."""
    found = [rate for at_s, rate in rates if after_s < at_s <= until_s]
    return sum(found) / len(found) if found else 0.0


def _led_on(rates: tuple[tuple[float, float], ...], at_s: float) -> float:
    """Where the straight line through the rates (least squares) is at a time; 0 where it falls."""
    first_s, number = rates[0][0], len(rates)
    times = [one - first_s for one, _ in rates]
    middle_s, mean = sum(times) / number, sum(rate for _, rate in rates) / number
    spread = sum(time * time for time in times) / number - middle_s * middle_s
    covariance = sum(time * rate for time, (_, rate) in zip(times, rates, strict=True)) / number - middle_s * mean
    return mean + covariance / spread * (at_s - first_s - middle_s) if covariance > 0 and spread > 0 else 0.0


def _usual(usual: tuple[float | None, ...], at_s: float) -> float | None:
    """What is usual at a time of day, between the middles of two slots; None where one of them is not known."""
    place = at_s / SLOT_S - 0.5
    slot = floor(place)
    before, after = usual[slot % SLOTS], usual[(slot + 1) % SLOTS]
    return None if before is None or after is None else before + (after - before) * (place - slot)

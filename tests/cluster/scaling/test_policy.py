"""The scaling policy: it holds what it does not know, stays within its limits, goes up at once and down slowly."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cluster.scaling.policy import SLOTS, Break, Measurement, Partition, Past, Rules, bears, decide, fewest, growth, paced
from tests.cluster.scaling.scenes import CAPACITY, follow, measured

RULES = Rules(least=1, most=8)
amounts = st.floats(0, 1e6)
partitions = st.builds(Partition, amounts, amounts, amounts)
measurements = st.builds(Measurement, st.just(1_000.0), st.floats(1, 1e6), st.lists(partitions, min_size=1, max_size=16).map(tuple))
limits = st.tuples(st.integers(1, 20), st.integers(1, 20)).map(lambda two: Rules(least=min(two), most=max(two)))
minutes = st.lists(st.integers(1, 20), max_size=6).map(
    lambda needs: tuple((15 - len(needs) + place, need) for place, need in enumerate(needs))
)
pasts = st.builds(
    Past,
    wanted=st.integers(1, 20),
    rates=st.lists(amounts, max_size=30).map(lambda rates: tuple((990.0 - 10 * (len(rates) - at), rate) for at, rate in enumerate(rates))),
    needs=minutes,
    broken=st.none() | st.builds(Break, st.just(900.0), amounts, amounts),
    rose_s=st.sampled_from([float("-inf"), 970.0]),
    changed_s=st.sampled_from([float("-inf"), 970.0]),
)


@given(limits, pasts, measurements, st.data())
def test_what_is_missing_or_stale_holds_and_is_never_read_as_zero(rules: Rules, past: Past, seen: Measurement, data: st.DataObject) -> None:
    first, *others = seen.partitions
    unknown = data.draw(
        st.sampled_from(
            [
                None,
                replace(seen, at_s=seen.at_s - rules.stale_s - 1),
                replace(seen, capacity_per_s=None),
                replace(seen, capacity_per_s=0.0),
                replace(seen, partitions=()),
                replace(seen, partitions=(replace(first, backlog=None), *others)),
                replace(seen, partitions=(*others, replace(first, arrived_per_s=None))),
                replace(seen, partitions=(replace(first, applied_per_s=None), *others)),
            ]
        )
    )
    held = decide(rules, past, unknown, 1_000.0)
    known = (len(unknown.partitions) if unknown else 0) or rules.most
    assert held.wanted == max(min(past.wanted, rules.most, known), min(rules.least, known))
    assert held.why.startswith("held: ")
    assert held.past == replace(past, wanted=held.wanted)


@given(limits, pasts, measurements)
def test_the_number_is_within_its_limits_and_not_above_the_partitions(rules: Rules, past: Past, seen: Measurement) -> None:
    wanted = decide(rules, past, seen, 1_000.0).wanted
    assert min(rules.least, len(seen.partitions)) <= wanted <= min(rules.most, len(seen.partitions))


@pytest.mark.parametrize("unknown", [None, Measurement(1_000.0, CAPACITY, ())])
def test_where_no_partition_is_known_as_many_stay_as_there_are(unknown: Measurement | None) -> None:
    assert decide(RULES, Past(6), unknown, 1_000.0).wanted == 6


def test_more_workers_than_partitions_are_not_kept_whatever_the_least_is() -> None:
    assert decide(Rules(least=6, most=12), Past(6), measured(0.0, 900.0, partitions=4), 0.0).wanted == 4


@given(limits, pasts, measurements, st.lists(amounts, min_size=16, max_size=16))
def test_more_backlog_never_asks_for_fewer_workers(rules: Rules, past: Past, seen: Measurement, more: list[float]) -> None:
    worse = tuple(
        replace(one, applied_per_s=1.0 + (one.applied_per_s or 0), backlog=(one.backlog or 0) + extra)
        for one, extra in zip(seen.partitions, more, strict=False)
    )
    seen = replace(seen, partitions=tuple(replace(one, applied_per_s=1.0 + (one.applied_per_s or 0)) for one in seen.partitions))
    assert decide(rules, past, replace(seen, partitions=worse), 1_000.0).wanted >= decide(rules, past, seen, 1_000.0).wanted


@given(pasts, measurements, st.floats(1, 1e12))
def test_a_stuck_partition_is_no_reason_for_more_workers(past: Past, seen: Measurement, backlog: float) -> None:
    moving = Partition(10.0, 10.0, 0.0)
    stuck = Partition(10.0, 0.0, backlog)
    with_it = decide(RULES, past, replace(seen, partitions=(*seen.partitions, moving, stuck)), 1_000.0)
    without = decide(
        RULES, past, replace(seen, partitions=(*seen.partitions, moving, replace(stuck, backlog=0.0, applied_per_s=1.0))), 1_000.0
    )
    assert with_it.wanted <= without.wanted


def test_where_nothing_moves_a_backlog_is_one() -> None:
    seen = Measurement(0.0, CAPACITY, (Partition(100.0, 0.0, 60_000.0),) * 8)
    assert decide(RULES, Past(1), seen, 0.0).wanted == 8


def test_who_starts_workers_slowly_has_the_rules_and_who_is_quick_keeps_less() -> None:
    assert paced(1, 8, 20.0) == Rules(1, 8)
    rules = [paced(1, 8, start_s) for start_s in (90.0, 20.0, 10.0, 7.0, 3.5, 0.0)]
    assert [one.hold_s for one in rules] == [810.0, 180.0, 90.0, 63.0, 60.0, 60.0]
    assert [round(one.over_share, 3) for one in rules] == [0, 0, 0.046, 0.06, 0.06, 0.06]
    assert [round(one.keep_share, 3) for one in rules] == [0.94, 0.94, 0.971, 0.98, 0.98, 0.98]
    assert [one.ahead_s for one in rules] == [one.settle_s for one in rules] == [110.0, 40.0, 30.0, 27.0, 23.5, 20.0]


def test_a_little_more_than_is_borne_asks_for_a_worker_once_what_waits_is_old() -> None:
    quick = paced(1, 8, 3.5)

    def wanted(per_s: float, waits_s: float) -> int:
        seen = Measurement(0.0, CAPACITY, (Partition(per_s / 8, CAPACITY / 8, per_s / 8 * waits_s),) * 8)
        return decide(quick, Past(1), seen, 0.0).wanted

    over = 1.04 * CAPACITY
    assert [wanted(over, waits_s) for waits_s in (0.0, 0.5, 1.0, 1.8, 3.0)] == [1, 1, 2, 2, 2]
    assert wanted(1.07 * CAPACITY, 0.0) == 2


def test_one_partition_is_worth_one_worker_however_much_waits_in_it() -> None:
    seen = Measurement(0.0, CAPACITY, (Partition(100.0, 100.0, 1e9), *(Partition(100.0, 100.0, 0.0),) * 7))
    assert decide(RULES, Past(1), seen, 0.0).wanted == 2


@given(pasts, measurements)
def test_the_same_arguments_give_the_same_decision_and_a_measurement_counts_once(past: Past, seen: Measurement) -> None:
    first = decide(RULES, past, seen, 1_000.0)
    assert decide(RULES, past, seen, 1_000.0) == first
    assert decide(RULES, first.past, seen, 1_000.0).past.rates == first.past.rates


@given(st.integers(1, 64), st.floats(0, 100))
def test_the_fewest_workers_that_bear_a_load_are_taken_and_none_that_bring_nothing(number: int, load: float) -> None:
    rules = Rules(least=1, most=12)
    wanted = fewest(rules, number, load)
    assert wanted == 1 or bears(wanted, number) > bears(wanted - 1, number)
    assert wanted == 1 or bears(wanted - 1, number) < load
    assert bears(wanted, number) >= min(load, bears(min(12, number), number))


def test_of_eight_partitions_five_to_seven_workers_bear_no_more_than_four() -> None:
    assert [fewest(RULES, 8, load) for load in (0, 1, 1.1, 2.1, 2.7, 4, 4.1, 9)] == [1, 1, 2, 3, 4, 4, 8, 8]


def test_it_goes_up_at_once_and_as_far_as_needed() -> None:
    decisions = follow(RULES, Past(1), [500.0] * 6 + [3_900.0])
    assert [one.wanted for one in decisions] == [1] * 6 + [4]


def test_a_rising_rate_is_met_before_it_is_there() -> None:
    rising = [600.0 + 12 * place for place in range(34)]
    decisions = follow(RULES, Past(1), rising)
    up = next(place for place, one in enumerate(decisions) if one.wanted == 2)
    assert decisions[up].why == "up for rate"
    assert rising[up] < CAPACITY


def test_the_time_of_day_is_met_before_it_is_there() -> None:
    usual = tuple(400.0 if slot < 60 else 1_400.0 for slot in range(SLOTS))
    early = follow(RULES, Past(1, usual=usual), [900.0] * 60, from_s=60 * 600 - 600)
    assert early[0].wanted == 1
    assert early[-1].wanted == 2
    assert growth(usual, 0.0, 40.0) == 1.0
    assert growth((None,) * SLOTS, 0.0, 40.0) == 1.0


def test_what_a_day_was_like_is_learnt_when_it_is_over() -> None:
    day = follow(RULES, Past(1), [100.0] * 72 + [700.0] * 73, every_s=600.0)
    assert day[143].past.usual == (None,) * SLOTS
    assert day[144].past.usual == (*(100.0,) * 72, *(700.0,) * 72)


def test_it_goes_down_after_a_while_by_one_useful_number_at_a_time() -> None:
    rules = replace(RULES, hold_s=120.0, cool_s=60.0)
    decisions = follow(rules, Past(8), [6_000.0 * 0.7 ** (place / 6) for place in range(90)])
    falls = [(place * 10, one.wanted) for place, one in enumerate(decisions) if one.why == "down"]
    assert [wanted for _, wanted in falls] == [4, 3, 2, 1]
    assert all(later - earlier >= rules.cool_s for (earlier, _), (later, _) in pairwise(falls))


def test_nothing_is_taken_away_before_as_much_was_measured_as_is_held_for() -> None:
    decisions = follow(RULES, Past(8), [100.0] * 40)
    first = next(place for place, one in enumerate(decisions) if one.wanted < 8)
    assert first * 10 >= RULES.hold_s - 60
    gaps = [decide(RULES, decisions[first - 1].past, None, first * 10.0 + more) for more in range(0, 600, 60)]
    assert {one.wanted for one in gaps} == {8}


def test_after_a_change_nothing_is_taken_away_for_a_while() -> None:
    past = Past(4, needs=tuple((minute, 1) for minute in range(10)), changed_s=580.0)
    assert decide(RULES, past, measured(600.0, 100.0), 600.0).wanted == 4
    assert decide(RULES, past, measured(645.0, 100.0), 645.0).wanted == 3


def test_a_backlog_that_started_workers_will_drain_asks_for_no_more() -> None:
    behind = measured(100.0, 900.0, backlog=90_000.0)
    first = decide(RULES, Past(1), behind, 100.0)
    assert (first.wanted, first.why) == (4, "up for lag")
    worse = measured(110.0, 900.0, backlog=250_000.0)
    assert decide(RULES, first.past, worse, 110.0).wanted == 4
    assert decide(RULES, first.past, replace(worse, at_s=150.0), 150.0).wanted == 8


def test_a_line_that_broke_keeps_workers_for_what_will_come_back() -> None:
    decisions = follow(RULES, Past(2), [1_500.0] * 60 + [50.0] * 120)
    kept = [one.wanted for one in decisions[60:]]
    assert min(kept) >= 2
    assert kept == sorted(kept)
    assert kept[-1] == 4  # 1,500 as before, and 20 minutes of them within 15
    assert decisions[-1].past.broken is not None


@pytest.mark.parametrize("excess", [0, 20, 40])
def test_what_came_back_frees_them_again(excess: int) -> None:
    """Nothing of it, less than did not come, and more."""
    returned = follow(RULES, Past(2), [900.0] * 60 + [50.0] * 60 + [2_700.0] * excess + [900.0] * (100 - excess))
    assert returned[119].past.broken is not None
    assert returned[-1].past.broken is None
    assert returned[-1].wanted == 1


def test_viewers_who_leave_over_minutes_are_no_break() -> None:
    leaving = follow(RULES, Past(8), [6_000.0 * 0.7 ** (place / 6) for place in range(60)])
    assert all(one.past.broken is None for one in leaving)


@pytest.mark.parametrize("back", [0.0, 900.0])
def test_a_break_is_forgotten_in_the_end(back: float) -> None:
    decisions = follow(RULES, Past(2), [900.0] * 60 + [50.0] * 60 + [back] * 400)
    assert decisions[-1].past.broken is None

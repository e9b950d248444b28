"""Scenarios: what each shape does to the audience, the same from any number of processes, and files that say what is wrong with them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from loadgen import catalogue
from loadgen.audience import Plan, make_plan, make_world
from loadgen.faults import Faults
from loadgen.load import LoadOptions, shape_of
from loadgen.rows import FINISH, PLAY_REQUEST
from loadgen.scenario import STEADY, Scenario, course_of, moments, scenario_of, shipped
from loadgen.shapes import Binge, Crowd, Curve, Diurnal, Loss, Outage, Premiere
from loadgen.shard import Shard
from tests.loadgen.test_audience import BASE_MS, PARTITIONS, records_of
from topologies.errors import UsageError

TITLES = 2_000
SPAN_S = 900


def plan_of(scenario: Scenario, records: int = 60_000, span_s: int = SPAN_S, *, live: bool = True, seed: int = 3) -> Plan:
    world = make_world(
        seed=seed, span_ms=span_s * 1000, live=live, titles=TITLES, regions=6, vanish=0.0, faults=Faults().limits(), first_hour=0,
        scenario=scenario,
    )  # fmt: skip
    return make_plan(world, records)


def played(scenario: Scenario, records: int = 60_000, span_s: int = SPAN_S) -> tuple[NDArray[Any], NDArray[Any]]:
    """All events by their time, and the lanes that made them."""
    plan = plan_of(scenario, records, span_s)
    shard = Shard(plan, "tag", 6, BASE_MS, PARTITIONS, frozenset(range(PARTITIONS)))
    rows = np.concatenate([chunk.rows for chunk in shard.chunks(60_000)])
    return rows[np.argsort(rows["ts"], kind="stable")], shard.lanes


def with_shapes(*shapes: Any) -> Scenario:
    return Scenario(about="a test", shape=shapes)


@pytest.mark.parametrize("name", shipped())
@pytest.mark.parametrize("live", [True, False])
def test_each_shipped_scenario_makes_the_records_asked_for_whoever_makes_them(name: str, live: bool) -> None:
    plan = plan_of(scenario_of(name), 6_000, live=live)
    alone = records_of(plan, [set(range(PARTITIONS))], 30_000)
    assert sum(map(len, alone.values())) == 6_000
    assert records_of(plan, [{0, 3}, {1, 2, 7}, {4, 5, 6}], 7_000) == alone


def test_steady_is_what_a_load_is_that_names_no_scenario() -> None:
    steady = plan_of(scenario_of("steady"), 3_000)
    assert records_of(steady, [{0, 1}], 30_000) == records_of(plan_of(STEADY, 3_000), [{0, 1}], 30_000)
    assert LoadOptions().scenario == "steady"


def test_a_scenario_says_how_long_it_takes_unless_the_run_does() -> None:
    assert shape_of(LoadOptions(scenario="premiere", rate=10)).span_ms == 900_000
    assert shape_of(LoadOptions(scenario="premiere", rate=10, duration_s=30)).span_ms == 30_000
    with pytest.raises(UsageError, match="say how much"):
        shape_of(LoadOptions(scenario="steady", rate=10))


def test_a_flash_crowd_is_sixty_percent_of_the_audience_within_two_minutes() -> None:
    rows, lanes = played(scenario_of("flash-crowd"), 100_000)
    event = rows[rows["title"] == TITLES]
    fans = [len(np.unique(event["lane"][event["ts"] < second * 1000])) / len(lanes) for second in (269, 330, 391)]
    assert fans[0] == 0
    assert 0.2 < fans[1] < 0.4
    assert 0.55 < fans[2] < 0.65
    watching = len(np.unique(event["lane"][(event["ts"] > 700_000) & (event["ts"] < 711_000)]))
    left = len(np.unique(event["lane"][(event["ts"] > 800_000) & (event["ts"] < 811_000)]))
    assert left < 0.1 * watching


def test_a_crowd_in_a_run_too_short_for_it_comes_in_a_part_of_it() -> None:
    shares = [moment.crowd for moment in moments(with_shapes(Crowd()), 20_000, 0, ["eu"])]
    assert max(shares) == pytest.approx(0.6)
    assert shares[-1] == 0.0


def test_a_cdn_that_fails_breaks_sessions_off_and_then_has_none() -> None:
    rows, _ = played(scenario_of("cdn-outage"), 100_000)
    akamai = [name for name, _ in catalogue.CDNS].index("akamai")
    requests = rows[rows["type"] == PLAY_REQUEST]
    fatal = rows[rows["fatal"] == 1]

    def of_akamai(events: NDArray[Any], first_s: int, end_s: int) -> int:
        return int(((events["cdn"] == akamai) & (events["ts"] >= first_s * 1000) & (events["ts"] < end_s * 1000)).sum())

    assert of_akamai(requests, 360, 420) > 100
    assert of_akamai(requests, 422, 540) == 0
    assert of_akamai(requests, 550, 900) > 100
    assert of_akamai(fatal, 360, 420) > 20 * max(1, of_akamai(fatal, 300, 360))


def test_a_lost_region_is_silent_and_comes_back() -> None:
    rows, lanes = played(scenario_of("region-loss"), 100_000)
    regions = list(dict.fromkeys(place[0] for place in catalogue.places(6)))
    there = lanes["region"][rows["lane"]] == regions.index("eu-west")
    seconds = rows["ts"] / 1000
    assert not (there & (seconds > 361) & (seconds < 494)).any()
    before = (there & (seconds >= 240) & (seconds < 360)).sum()
    back = (there & (seconds >= 500) & (seconds < 620)).sum()
    assert back > 0.7 * before
    assert (~there & (seconds > 361) & (seconds < 494)).sum() > 5_000
    requests = there & (rows["type"] == PLAY_REQUEST)
    assert (requests & (seconds >= 495) & (seconds < 525)).sum() > 3 * (requests & (seconds >= 240) & (seconds < 270)).sum()


def test_a_premiere_takes_its_share_of_new_plays_and_loses_it_by_half_lives() -> None:
    rows, _ = played(with_shapes(Premiere(share=0.5, at=100, half_life=200, surge=1.0, episodes=2)), 900_000)
    requests = rows[rows["type"] == PLAY_REQUEST]

    def share(first_s: int, end_s: int) -> float:
        some = requests[(requests["ts"] >= first_s * 1000) & (requests["ts"] < end_s * 1000)]
        return float((some["title"] > TITLES).mean())

    assert share(50, 100) == 0
    assert abs(share(100, 150) - 0.46) < 0.08
    assert abs(share(300, 350) - 0.23) < 0.08
    assert share(700, 900) < 0.1


def test_a_surge_brings_so_many_times_as_many() -> None:
    course = moments(with_shapes(Premiere(at="50%", surge=3.0, half_life=1e9)), 100_000, 0, ["eu"])
    assert course[400].intensity[0] == 1.0
    assert course[600].intensity[0] == pytest.approx(3.0)


def test_who_binges_goes_on_with_the_next_episode() -> None:
    shapes = (Binge(share=0.7), Premiere(at=0, share=1.0, episodes=20, runtime_s=60, half_life=1e9))
    rows, _ = played(with_shapes(*shapes), 60_000)
    rows = rows[np.lexsort((rows["ts"], rows["lane"]))]
    ends = np.flatnonzero((rows["type"][:-1] == FINISH) & (rows["title"][:-1] > TITLES) & (rows["title"][:-1] < TITLES + 20))
    ends = ends[(rows["lane"][ends + 1] == rows["lane"][ends]) | (rows["ts"][ends] < 800_000)]
    follows = (rows["lane"][ends + 1] == rows["lane"][ends]) & (rows["ts"][ends + 1] - rows["ts"][ends] <= 15_000)
    assert abs(follows.mean() - 0.7) < 0.1
    assert (rows["title"][ends + 1][follows] == rows["title"][ends][follows] + 1).all()


def test_each_region_has_its_own_day() -> None:
    rows, lanes = played(with_shapes(Diurnal()), 1_000_000, 86_400)
    zones = np.array([catalogue.TIME_ZONES[region] for region in dict.fromkeys(place[0] for place in catalogue.places(6))])
    settled = rows[rows["ts"] > 7_200_000]  # who is there at the beginning stays a while
    hours = np.bincount(((settled["ts"] / 3_600_000 + zones[lanes["region"][settled["lane"]]]) % 24).astype(int), minlength=24)
    assert 16 <= int(np.argmax(hours)) <= 21
    assert hours[17:21].mean() > 3 * hours[2:6].mean()  # 9 times by the curve; some who came in the evening watch on


def test_a_day_that_is_shorter_begins_at_its_hour_and_one_of_24_hours_goes_by_the_clock() -> None:
    noon = moments(with_shapes(Diurnal(day="100%", from_h=12)), 1_000_000, 5, ["eu-west"])
    assert noon[0].intensity == pytest.approx(np.array([0.65]) / np.mean(catalogue.DAY_CURVE))
    assert noon[-1].intensity == pytest.approx(noon[0].intensity)
    real = moments(with_shapes(Diurnal(from_h=12)), 1_000_000, 5, ["eu-west"])
    assert real[0].intensity == pytest.approx(np.array([0.25]) / np.mean(catalogue.DAY_CURVE))


def test_a_curve_goes_straight_through_its_points() -> None:
    course = moments(with_shapes(Curve(points=[(0, 1.0), ("50%", 3.0)])), 200_000, 0, ["eu", "us"])
    assert [course[tick].intensity.tolist() for tick in (0, 500, 1_500)] == [[1.0, 1.0], [2.0, 2.0], [3.0, 3.0]]


def test_devices_differ_where_a_scenario_says_so() -> None:
    alike, differing = catalogue.players(by_device=False), catalogue.players(by_device=True)
    assert len(np.unique(alike[:, 1:], axis=0)) == 1
    assert len(np.unique(differing[:, 1:], axis=0)) == len(catalogue.NETWORK)
    shares = np.array([platform[3] for platform in catalogue.PLATFORMS])
    assert abs(np.average(differing[:, 1], weights=shares) - catalogue.WEAK) < 0.01


MINE = """
about = "Mine"
duration_s = 60
[[shape]]
kind = "curve"
points = [[0, 1], ["50%", 2.5]]
"""


def test_a_scenario_of_ones_own_is_given_by_its_path(tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text(MINE)
    scenario = scenario_of(str(tmp_path / "mine.toml"))
    assert scenario == Scenario(about="Mine", duration_s=60, shape=(Curve(points=[(0, 1), ("50%", 2.5)]),))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("about = ", "no TOML"),
        ("duration_s = 5", "about"),
        ('about = ""\n[[shape]]\nkind = "meteor"', "meteor"),
        ('about = ""\n[[shape]]\nkind = "crowd"\nshare = 2', "shape"),
        ('about = ""\n[[shape]]\nkind = "crowd"\nwhen = 2', "when"),
        ('about = ""\n[[shape]]\nkind = "crowd"\nat = "noon"', "shape"),
        ('about = ""\n[[shape]]\nkind = "crowd"\n[[shape]]\nkind = "crowd"', "one crowd"),
    ],
)
def test_a_file_that_is_no_scenario_is_refused_with_its_reason(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "mine.toml").write_text(text)
    with pytest.raises(UsageError, match=said):
        scenario_of(str(tmp_path / "mine.toml"))


def test_a_name_that_there_is_not_is_refused_with_those_there_are() -> None:
    with pytest.raises(UsageError, match="flash-crowd"):
        scenario_of("flashcrowd")
    with pytest.raises(UsageError, match="no scenario file"):
        scenario_of("./nowhere.toml")


@pytest.mark.parametrize("shape", [Loss(region="atlantis"), Outage(cdn="nowhere"), Curve(points=[]), Curve(points=[(9, 1), (3, 1)])])
def test_a_shape_that_does_not_fit_the_run_is_refused(shape: Any) -> None:
    with pytest.raises(UsageError):
        course_of(with_shapes(shape), 10_000, 0, ["eu-west"])

"""What there is to watch, where, and on what: the tables from which the audience draws.

Letters after a figure are loadmodel.md's: M measured, V read in its source, E an engineering choice.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from loadgen.draws import units

KINDS: Final = ("film", "episode", "live")
FILM, EPISODE, LIVE = range(3)
KIND_SHARE: Final = (0.26, 0.67, 0.07)
"""Share of viewing (NPAW 2023, V); the rest taken as live (E)."""

_SHARE_AT: Final = ((1 / 18_214, 0.0087), (18 / 18_214, 0.074), (0.01, 0.267), (0.1, 0.711), (0.2, 0.856), (1.0, 1.0))
"""Share of the viewing that goes to the most popular part of a catalogue (Netflix Jan-Jun 2023, 18,214 titles, M)."""

PLACES: Final[tuple[tuple[str, str, str, float], ...]] = (
    ("us-east", "US", "AS7922", 0.12), ("us-east", "US", "AS701", 0.07), ("us-east", "CA", "AS577", 0.04),
    ("us-west", "US", "AS20115", 0.10), ("us-west", "US", "AS7018", 0.07), ("us-west", "MX", "AS8151", 0.03),
    ("eu-west", "GB", "AS2856", 0.09), ("eu-west", "FR", "AS3215", 0.06), ("eu-west", "ES", "AS3352", 0.05),
    ("eu-central", "DE", "AS3320", 0.09), ("eu-central", "PL", "AS5617", 0.04), ("eu-central", "IT", "AS3269", 0.04),
    ("ap-south", "IN", "AS55836", 0.08), ("ap-south", "IN", "AS24560", 0.04),
    ("sa-east", "BR", "AS28573", 0.06), ("sa-east", "AR", "AS7303", 0.02),
)  # fmt: skip
"""region, country, asn, share (E)."""

PLATFORMS: Final[tuple[tuple[str, str, str, float], ...]] = (
    ("tv", "tizen", "tv-7.4", 0.14), ("tv", "webos", "tv-7.4", 0.11), ("tv", "androidtv", "tv-7.3", 0.103),
    ("stick", "fireos", "tv-7.4", 0.13), ("stick", "rokuos", "roku-5.1", 0.146), ("stick", "tvos", "tv-7.2", 0.07),
    ("console", "playstation", "console-3.9", 0.04), ("console", "xbox", "console-3.9", 0.028),
    ("phone", "android", "mobile-11.2", 0.07), ("phone", "ios", "mobile-11.3", 0.05),
    ("tablet", "ipados", "mobile-11.3", 0.03), ("tablet", "android", "mobile-11.1", 0.01),
    ("desktop", "windows", "web-2026.3", 0.048), ("desktop", "macos", "web-2026.3", 0.025),
)  # fmt: skip
"""device, os, app, share: by device Conviva Q2 2022 (V), within it E."""
PLATFORM_SHIFT: Final = {"tv": 0.3, "stick": 0.3, "console": 0.1, "phone": -0.9, "tablet": -0.4, "desktop": -0.2}
"""Added to the logarithm of the watch time: a TV's play lasts 28.7 min, a phone's 8.6 (Conviva Q4 2020, V)."""

WEAK: Final = 0.15
"""Share of sessions on a weak network (E): with their stalls (loadgen.viewer), 0.2 % of watch time is stalled (M: 0.10-0.25 %)."""
NETWORK: Final = {
    "tv": (0.10, 1.0), "stick": (0.15, 1.1), "console": (0.12, 1.5),
    "phone": (0.28, 0.8), "tablet": (0.20, 0.85), "desktop": (0.12, 0.7),
}  # fmt: skip
"""By device: share of sessions on a weak network, and time to the first frame against all devices' (E; over all 0.15 and 1)."""
WEAK_STARTUP: Final = 1.8
"""By how much longer the first frame takes on a weak network (E)."""

TIME_ZONES: Final = {"us-east": -5.0, "us-west": -8.0, "eu-west": 0.0, "eu-central": 1.0, "ap-south": 5.5, "sa-east": -3.0}
"""Hours that a region's clock is ahead of UTC."""
DAY_CURVE: Final = (
    0.7, 0.5, 0.35, 0.25, 0.22, 0.25, 0.35, 0.4, 0.45, 0.5, 0.55, 0.6,
    0.65, 0.7, 0.8, 0.95, 1.2, 1.9, 2.2, 2.35, 2.1, 1.65, 1.45, 1.1,
)  # fmt: skip
"""Viewers by hour of the day, mean 1 (Puffer, measured on one day; smoothed)."""

CDNS: Final[tuple[tuple[str, float], ...]] = (("akamai", 0.4), ("cloudfront", 0.3), ("fastly", 0.2), ("own-edge", 0.1))
ERRORS: Final = ("manifest_timeout", "segment_404", "decoder", "license_denied", "network")
LADDER_KBPS: Final = (300, 570, 950, 1450, 2500, 3900, 6000, 8500, 11_900)
"""Renditions, at the quantiles of delivered bitrate (Puffer, M)."""


def popularity(titles: int, besides: int = 0) -> NDArray[np.float64]:
    """Cumulative share of plays by rank, f8[titles + besides], ending with 1: `besides` titles follow that nobody comes upon.

    A broken power law through the measured points, at the same fractions of a catalogue of any size: a share below the
    first point goes on with the first piece's slope.
    """
    fraction = np.arange(1, titles + 1) / titles
    points = np.log(np.array(_SHARE_AT))
    share: NDArray[np.float64] = np.exp(np.interp(np.log(fraction), points[:, 0], points[:, 1]))
    share[-1] = 1.0
    return np.concatenate([share, np.ones(besides)])


def cumulative(shares: list[float]) -> NDArray[np.float64]:
    """Cumulative shares, ending with exactly 1."""
    total: NDArray[np.float64] = np.cumsum(np.array(shares, dtype=np.float64)) / sum(shares)
    total[-1] = 1.0
    return total


def kinds_and_runtimes(titles: int, episodes: int = 0, runtime_s: int = 0) -> tuple[NDArray[np.uint8], NDArray[np.int32]]:
    """Kind and runtime in seconds (0 for live) of each title, the same for every seed; then of a live event and of a release's episodes.

    u1 and i4 [titles + 1 + episodes].
    """
    chance = units(0x7171E, 2 * titles).reshape(titles, 2)
    kinds = np.searchsorted(cumulative(list(KIND_SHARE)), chance[:, 0], side="right").astype(np.uint8)
    film = 4800 + 3600 * chance[:, 1]
    episode = 1200 + 2400 * chance[:, 1]
    runtimes = np.select([kinds == FILM, kinds == EPISODE], [film, episode], 0).astype(np.int32)
    more_kinds = np.array([LIVE, *[EPISODE] * episodes], np.uint8)
    more_runtimes = np.array([0, *[runtime_s] * episodes], np.int32)
    return np.concatenate([kinds, more_kinds]), np.concatenate([runtimes, more_runtimes])


def players(*, by_device: bool) -> NDArray[np.float64]:
    """What each platform is like, f8[platforms, 4] (loadgen.rows.WATCHES …): by its device, or all alike but for how long is watched."""
    alike = (WEAK, 1.0, 1.0)
    rows = [
        (PLATFORM_SHIFT[device], *((*NETWORK[device], WEAK_STARTUP) if by_device else alike)) for device, *_ in PLATFORMS
    ]  # fmt: skip
    return np.array(rows, np.float64)


def places(regions: int) -> list[tuple[str, str, str, float]]:
    """The places of the first `regions` regions; past the known six, regions of one place each."""
    known = list(dict.fromkeys(region for region, *_ in PLACES))
    chosen = [place for place in PLACES if place[0] in known[:regions]]
    return chosen + [(f"region-{number}", "ZZ", f"AS{64_512 + number}", 0.1) for number in range(len(known) + 1, regions + 1)]


def regions_of(regions: int) -> list[str]:
    """The names of so many regions."""
    return list(dict.fromkeys(place[0] for place in places(regions)))


def title_name(index: int) -> str:
    """Rank 1 is t00001."""
    return f"t{index + 1:05d}"

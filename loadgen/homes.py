"""Where a load's viewers are at home, when there are several regions, each with a log of its own.

A region's log has as many partitions as every other's, and an account the same number in each. The generator numbers them all: partition p
of the log of region r is *place* r · P + p, so that a run is made, numbered and told place by place, as one of one log is by partition. A
place's records are in its own region's log, but for those that were sent elsewhere while that region was lost (loadgen.moves).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from loadgen import catalogue

_CONTINENT: Final = "-"


def homes_of_regions(viewers: int, regions: Sequence[str]) -> NDArray[np.int32]:
    """For each of the first `viewers` regions that viewers are of (the dimension), which of the system's is their home, i4[viewers].

    The one that is named after it (us-east: us-east-1), else the first that is of its continent, else each in turn.
    """
    found = []
    for number, name in enumerate(catalogue.regions_of(viewers)):
        continent = name.partition(_CONTINENT)[0] + _CONTINENT
        named = [at for at, region in enumerate(regions) if region.startswith(name)]
        near = [at for at, region in enumerate(regions) if region.startswith(continent)]
        found.append((*named, *near, number % max(1, len(regions)))[0])
    return np.array(found, np.int32)

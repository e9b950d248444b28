"""The metrics of a process of the API, the collector or both: the one list of their names. `/metrics` serves them, docs/metrics.md is
generated from this list.

All of them tell what this process did, or stands at: they begin at 0 with it.

Labels: route (as OpenAPI writes it; what leads nowhere is "(none)"), status, and a few fixed words; never what was asked, and by whom.
"""

from __future__ import annotations

from typing import Final

from connectors.metrics import Metrics

_METRICS: Final = Metrics()
REGISTRY: Final = _METRICS.registry
DECLARED: Final = _METRICS.declared
_counter, _gauge, _histogram = _METRICS.counter, _METRICS.gauge, _METRICS.histogram
_SECONDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)

# -- every request ----------------------------------------------------------------------------------------------------------------
REQUESTS: Final = _counter("marquee_http_requests", "requests answered", "route", "status")
SECONDS: Final = _histogram(
    "marquee_http_request_seconds",
    "from a request's head to the last byte of its response, seconds; streams are left out",
    _SECONDS,
    "route",
)

# -- questions --------------------------------------------------------------------------------------------------------------------
READINGS: Final = _counter("marquee_http_readings", "questions that were read from the stores")
UNDER_WAY: Final = _gauge("marquee_http_questions", "questions that are being answered or wait for a thread")
SUBSCRIBERS: Final = _gauge("marquee_http_subscribers", "streams that are open")
HISTORY: Final = _counter(
    "marquee_history_windows", "stored windows of answers; store: memcached, which had them, or cassandra, which was asked", "store"
)

# -- events that are sent in ------------------------------------------------------------------------------------------------------
EVENTS: Final = _counter(
    "marquee_collector_events",
    "events sent in; outcome: accepted (in the log), rejected, or ignored (reports about no playback)",
    "outcome",
)
REFUSED: Final = _counter("marquee_collector_refused", "requests of which nothing was accepted, whatever their events", "status")
IN_FLIGHT: Final = _gauge("marquee_collector_in_flight_bytes", "bytes of events that Kafka has not acknowledged yet")

# -- the audit log ----------------------------------------------------------------------------------------------------------------
OPERATIONS_KEPT: Final = _counter("marquee_operations_kept", "entries of the audit log that Cassandra has")
OPERATIONS_UNKEPT: Final = _counter("marquee_operations_unkept", "entries of the audit log that stand in this process' log alone")

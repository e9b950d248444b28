"""CMCD event reports become events as docs/collector.md's table says."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.collector.cmcd import Given, NotStructured, parse_dictionary, read_reports
from topologies.events import decode_event

GIVEN = Given({"account": "a-1", "profile": "p", "region": "eu", "device": "tv", "title": "fallback", "runtime_s": "5400"})
HEAD = 'sid="s-1",sn=3,ts=1767225600000,cid="t1",v=2'


def become(line: str, given: Given = GIVEN) -> Any:
    """The event of one report, or the reason, or None."""
    (found,) = read_reports(line.encode(), given)
    return json.loads(found) if isinstance(found, bytes) else found


@pytest.mark.parametrize(
    ("report", "fields"),
    [
        ("e=ps,sta=s", {"type": "play_request"}),
        ("e=ps,sta=p,msd=800", {"type": "play_start", "startup_ms": 800}),
        ("e=t,sta=p,msd=800", {"type": "play_start", "startup_ms": 800}),
        ("e=ps,sta=p", {"type": "resume"}),
        ("e=ps,sta=a", {"type": "pause"}),
        ("e=ps,sta=a,msd=800", {"type": "pause"}),
        ("e=ps,sta=w", {"type": "pause"}),
        ("e=ps,sta=k", {"type": "seek"}),
        ("e=ps,sta=r", {"type": "stall", "stalls": 1}),
        ("e=ps,sta=e", {"type": "finish"}),
        ("e=ps,sta=q", {"type": "stop"}),
        ('e=ps,sta=f,ec=("E1" "E2")', {"type": "error", "fatal": True, "error_code": "E1"}),
        ('e=e,ec=("E1"),sta=f', {"type": "error", "fatal": False, "error_code": "E1"}),
        ("e=as", {"type": "ad_start"}),
        ("e=ae", {"type": "ad_end"}),
        ("e=bc,br=(5000;v 128;a)", {"type": "rendition", "bitrate_kbps": 5000}),
        ("e=bc,br=(128;a 5000;v)", {"type": "rendition", "bitrate_kbps": 5000}),
        ("e=t,br=(5000;v),pb=(3000;v)", {"type": "heartbeat", "bitrate_kbps": 3000}),
        ("e=t,br=900", {"type": "heartbeat", "bitrate_kbps": 900}),
        ("e=t,pt=130999", {"type": "heartbeat", "position_s": 130}),
        ("e=t,bsd=(740;v)", {"type": "heartbeat", "stall_ms": 740}),
        ("e=t,st=ll", {"type": "heartbeat", "kind": "live"}),
        ("e=t,st=v,bg,bl=(5000;v 5000;a),bs,ltc=2100,pr=1.5,mtp=(9000)", {"type": "heartbeat"}),
        ('e=t,cdn="cdn-b"', {"type": "heartbeat", "cdn": "cdn-b"}),
        ("e=t,dfa=12", {"type": "heartbeat"}),
        ("e=t,marquee-watched-ms=10000,marquee-dropped-frames=2", {"type": "heartbeat", "watched_ms": 10_000, "dropped_frames": 2}),
        ('e=t,marquee-account="a-9",com.example-x="y"', {"type": "heartbeat", "account": "a-9"}),
        ("e=rr,url=\"https://x/1\",rc=200", {"type": "heartbeat"}),
    ],
)  # fmt: skip
def test_a_report_becomes_an_event(report: str, fields: dict[str, Any]) -> None:
    whole = {
        "v": 1, "session": "s-1", "seq": 3, "ts": 1_767_225_600_000, "title": "t1", "account": "a-1", "profile": "p", "region": "eu",
        "device": "tv", "runtime_s": 5400,
    } | fields  # fmt: skip
    found = become(f"{report},{HEAD}")
    assert found == whole
    assert decode_event(json.dumps(found).encode()) is not None


def test_what_a_report_lacks_the_request_gives() -> None:
    assert become('e=t,sid="s",sn=1,ts=5,v=2')["title"] == "fallback"


def test_preloading_is_no_playback_yet() -> None:
    assert become(f"e=ps,sta=d,{HEAD}") is None
    assert become(f"e=t,sta=d,{HEAD}") is None


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ('e=t,sid="s",sn=1,ts=5', "version"),
        ('e=t,sid="s",sn=1,ts=5,v=1', "version"),
        (f"e=zz,{HEAD}", "type"),
        (f"e=ps,{HEAD}", "type"),
        (HEAD, "type"),
        ("e=t,,v=2", "not_cmcd"),
        ('e=t,sid="s', "not_cmcd"),
        ("E=t", "not_cmcd"),
        ("v=2,br=(1 2", "not_cmcd"),
        ("v=2,", "not_cmcd"),
        ("v=1234567890123456789", "not_cmcd"),
    ],
)
def test_what_is_no_report_has_its_reason(line: str, reason: str) -> None:
    assert become(line) == reason


def test_each_line_is_a_report_of_its_own() -> None:
    body = f"e=ps,sta=s,{HEAD}\r\n\ngarbage(\ne=ps,sta=d,{HEAD}\n".encode() + b"\xff=1\n"
    found = list(read_reports(body, GIVEN))
    assert isinstance(found[0], bytes)
    assert found[1:] == ["not_cmcd", None, "encoding"]


def test_a_dictionary_is_read_as_rfc_8941_writes_it() -> None:
    found = parse_dictionary('a=1, b="x \\"y\\" \\\\",\tc=?0,d,e=to/k;p=1;q,f=(1;v  "z" tok);r=2, g=-1.5,a=2, h=()')
    values = {key: [item.value for item in items] for key, items in found.items()}
    assert values == {"a": [2], "b": ['x "y" \\'], "c": [False], "d": [True], "e": ["to/k"], "f": [1, "z", "tok"], "g": [-1.5], "h": []}
    assert found["e"][0].parameters == {"p", "q"}
    assert found["f"][0].parameters == {"v"}


@given(st.text(alphabet='ab1=,;()" \\?.-', max_size=60))
def test_whatever_the_line_it_is_read_or_said_to_be_none(line: str) -> None:
    try:
        parse_dictionary(line)
    except NotStructured:
        return

"""The dashboard's documents and files, as a browser gets them."""

from __future__ import annotations

import re
from dataclasses import replace

import httpx

from serving.api.pages import PAGES
from tests.serving.api.conftest import served
from tests.serving.test_answers import World


def test_pages_are_guarded_kept_by_their_tags_and_load_nothing_of_others(api: httpx.Client) -> None:
    for path in PAGES:
        answer = api.get(path)
        assert answer.status_code == 200
        assert "default-src 'self'" in answer.headers["content-security-policy"]
        assert "unsafe" not in answer.headers["content-security-policy"]
        assert answer.headers["x-content-type-options"] == "nosniff"
        again = api.get(path, headers={"If-None-Match": answer.headers["etag"]})
        assert (again.status_code, again.content) == (304, b"")
        loaded = re.findall(r'(?:src|href)="(/assets/[^"]+)"', answer.text)
        assert {f"/assets/dashboard/pages/{name}.js" for name in PAGES[path]} < set(loaded)
        answers = [api.get(file) for file in loaded]
        assert {file.status_code for file in answers} == {200}
        assert {file.headers["content-encoding"] for file in answers if len(file.content) > 1_000} == {"gzip"}
        assert sum(int(file.headers["content-length"]) for file in answers) < 64 << 10  # what a page costs, all of it
    assert api.get("/assets/../serving/api/pages.py").status_code == 404
    assert api.get("/assets/%2e%2e/api/pages.py").status_code == 404
    assert api.get("/assets/dashboard/nothing.js").status_code == 404


def test_every_module_that_a_page_is_made_of_is_fetched_at_once(api: httpx.Client) -> None:
    for path in PAGES:
        named = set(re.findall(r'"(/assets/dashboard/[^"]+\.js)"', api.get(path).text))
        for file in sorted(named):
            stem = file.rpartition("/")[0]
            for imported in re.findall(r'^import .* from "(\.\.?)/([^"]+)";$', api.get(file).text, re.MULTILINE):
                folder = stem if imported[0] == "." else stem.rpartition("/")[0]
                assert f"{folder}/{imported[1]}" in named, (path, file, imported)


def test_a_page_says_who_may_ask(world: World, api: httpx.Client) -> None:
    assert '<meta name="access" content="loopback">' in api.get("/").text
    for access in ("tokens", "open"):
        with served(replace(world.settings, api=replace(world.settings.api, access=access))) as other:
            assert f'<meta name="access" content="{access}">' in other.get("/pipeline").text  # the page itself is for all

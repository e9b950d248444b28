"""The HTTP API: what HTTP asks becomes the questions of serving/, what they answer becomes JSON, CSV or Arrow.

server.py       the process: socket, ready file, drain          app.py      routes, errors and lifetime as one ASGI application
routes.py       which address asks what                         asking.py   questions answered on threads, equal ones once
parameters.py   a query string → a question                     forms.py    an answer → bytes of the form that was asked for
paging.py       pages of an answer, cursors                     tags.py     ETag and Cache-Control
described.py    what OpenAPI says of a view                     problems.py errors as problem+json
    metrics.py      what /metrics says                             push.py     answers that go on being told, as they change
    ranges.py       parts of an answer's bytes                     pages.py    the dashboard, and the files of serving/assets
"""

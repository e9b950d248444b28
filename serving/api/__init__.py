"""The HTTP API: what HTTP asks becomes the questions of serving/, what they answer becomes JSON, CSV or Arrow.

server.py      the process: socket, ready file, drain      app.py        routes, errors and lifetime as one ASGI application
routes.py      which address asks what                     answering.py  a request is answered, or goes on being told
parameters.py  a query string → a question                 asking.py     questions answered on threads, equal ones once
forms.py       an answer → bytes of a form                 paging.py     pages of an answer, cursors
tags.py        ETag and Cache-Control                      ranges.py     parts of an answer's bytes
push.py        answers told anew as they change            access.py     tokens: who may ask what, and how much
negotiation.py what a client takes                         described.py  what OpenAPI says of a view
audit.py       operate calls, told and kept                metrics.py    what /metrics says
pages.py       the dashboard, and the files of serving/assets
addresses.py   names that have a slash in them
"""

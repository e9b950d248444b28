#!/bin/bash
# --bootstrap-server HOST:PORT: asks for the versions of its requests (ApiVersions v0, correlation 1), and says whether an answer came.
set -euo pipefail
server=$2
exec 3<>"/dev/tcp/${server%:*}/${server##*:}"
printf '\0\0\0\12\0\22\0\0\0\0\0\1\377\377' >&3
answer=$(head -c 10 <&3 | od -An -tx1 | tr -d ' \n')
[ "${answer:8}" = 000000010000 ] || { echo "no answer to ApiVersions: $answer" >&2; exit 1; }

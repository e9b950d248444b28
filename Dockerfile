# Marquee as an image: `docker build --tag marquee:0.1.0 .`, then `docker run marquee worker|serve|load|audit …` (docs/containers.md).
# Where the base cannot be pulled, give another with Python 3.11 and its venv: --build-arg BASE=…
ARG BASE=python:3.11.13-slim-bookworm

FROM ${BASE} AS build
WORKDIR /src
COPY pyproject.toml requirements.lock README.md LICENSE ./
# uv, and what builds the wheel, as locked; then what Marquee needs, as locked, and none of what its tests need. Of pyarrow, which is large,
# not what speaks to Flight servers and to S3, nor headers and tests.
RUN python3 -m venv /opt/tools \
    && awk '/^uv==/ { found = 1 } found { print; if (!/\\$/) exit }' requirements.lock >uv.lock \
    && /opt/tools/bin/pip install --no-cache-dir --require-hashes --no-deps --requirement uv.lock \
    && export UV_NO_CACHE=1 UV_LINK_MODE=copy UV_COMPILE_BYTECODE=1 \
    && /opt/tools/bin/uv pip install --python /opt/tools/bin/python --constraint requirements.lock hatchling \
    && python3 -m venv --without-pip /opt/marquee \
    && /opt/tools/bin/uv pip install --python /opt/marquee/bin/python --constraint requirements.lock --requirement pyproject.toml \
         --extra aws --extra azure --extra kubernetes \
    && site=$(/opt/marquee/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))') \
    && rm -r "$site"/pyarrow/include "$site"/pyarrow/tests "$site"/pyarrow/*arrow_flight* "$site"/pyarrow/_flight* \
         "$site"/pyarrow/libarrow_s3* "$site"/pyarrow/_s3fs* "$site"/numba/tests
COPY topologies topologies
COPY connectors connectors
COPY streams streams
COPY serving serving
COPY loadgen loadgen
COPY cluster cluster
COPY marquee marquee
RUN /opt/tools/bin/uv build --no-cache --wheel --no-build-isolation --python /opt/tools/bin/python --out-dir /dist . \
    && /opt/tools/bin/uv pip install --no-cache --link-mode copy --compile-bytecode --no-deps --python /opt/marquee/bin/python /dist/*.whl

FROM ${BASE}
LABEL org.opencontainers.image.title="Marquee" \
      org.opencontainers.image.description="Real-time viewing analytics for a streaming service: every play counted once, live." \
      org.opencontainers.image.licenses="Apache-2.0"
COPY --from=build /opt/marquee /opt/marquee
# All that is ever written to: runs and ledgers, compiled kernels, the ready file (a tmpfs where the root is read-only, which takes the
# directory's mode and not its owner), /tmp.
ENV PATH=/opt/marquee/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    NUMBA_CACHE_DIR=/var/cache/marquee \
    MARQUEE_LOCAL__DIRECTORY=/var/lib/marquee \
    MARQUEE_READY_FILE=/run/marquee/ready.json
# Kernels are compiled here rather than where they were installed: numba takes a kernel for stale when its source's time differs, and a
# layer keeps times to the second. Another kind of processor than the builder's compiles its own, once, into the volume.
RUN groupadd --gid 10001 marquee \
    && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /var/lib/marquee --shell /usr/sbin/nologin marquee \
    && install -d -o marquee -g marquee /var/lib/marquee /var/cache/marquee \
    && install -d -m 1777 /run/marquee \
    && setpriv --reuid marquee --regid marquee --clear-groups python -m topologies.warm
USER 10001:10001
WORKDIR /var/lib/marquee
VOLUME ["/var/lib/marquee", "/var/cache/marquee"]
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=5s --timeout=6s --start-period=120s --retries=6 CMD ["python", "-m", "marquee.healthy"]
ENTRYPOINT ["marquee"]
CMD ["--help"]

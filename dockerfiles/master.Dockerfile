# The three Dockerfiles are the same down to the line “The role”, so that the engine builds these
# stages once. Build from the root of the repository, or all of them by registry/build-all-images.sh:
#     docker build -f dockerfiles/master.Dockerfile -t hpczmq-master .
# BASE is any Debian (or Ubuntu) with Python 3.11 or newer as python3, the same for every stage.
ARG BASE=python:3.11-slim-bookworm

FROM ${BASE} AS builder
# Debian's own Python keeps its headers and venv in packages of their own; other ones have them.
# Packages as the release of the base has them: a pinned version is gone with its next fix.
# hadolint ignore=DL3008,SC2086
RUN apt-get update \
 && extra="$(python3 -c 'import ensurepip' 2>/dev/null || echo python3-venv)" \
 && header="$(python3 -c 'import sysconfig; print(sysconfig.get_path("include") + "/Python.h")')" \
 && if [ ! -e "$header" ]; then extra="$extra python3-dev"; fi \
 && apt-get install --yes --no-install-recommends gcc libc6-dev tini $extra \
 && rm -rf /var/lib/apt/lists/*
WORKDIR /src
COPY constraints-run.txt ./
RUN python3 -m venv /opt/hpczmq \
 && /opt/hpczmq/bin/pip install --no-cache-dir --require-hashes --no-deps -r constraints-run.txt
COPY pyproject.toml setup.py MANIFEST.in README.md LICENSE cli.py ./
COPY hpczmq hpczmq/
COPY kernels kernels/
COPY nodes nodes/
# Without its compiled kernel the package installs as well; an image without it is none. What only
# building takes goes, and numpy's own tests, a tenth of it all. What is left is tried.
WORKDIR /
RUN /opt/hpczmq/bin/pip install --no-cache-dir --no-deps --no-build-isolation /src \
 && /opt/hpczmq/bin/python -c 'import hpczmq.kernels._julia' \
 && /opt/hpczmq/bin/pip uninstall --yes --quiet cython setuptools \
 && /opt/hpczmq/bin/pip uninstall --yes --quiet pip \
 && find /opt/hpczmq -type d -path '*/numpy/*' -name tests -prune -exec rm -rf {} + \
 && /opt/hpczmq/bin/hpczmq render --width 160 --height 90 -o /tmp/works.png

FROM ${BASE} AS runtime
RUN groupadd --gid 10001 hpczmq \
 && useradd --uid 10001 --gid 10001 --home-dir /var/lib/hpczmq --shell /usr/sbin/nologin hpczmq \
 && install -d -o 10001 -g 10001 -m 0700 /var/lib/hpczmq /var/lib/hpczmq/tmp
COPY --from=builder /usr/bin/tini-static /usr/local/bin/tini
COPY --from=builder /opt/hpczmq /opt/hpczmq
# All that a node keeps is in its volume: its keys, a memoria's history, a master's results.
ENV PATH=/opt/hpczmq/bin:$PATH \
    HOME=/var/lib/hpczmq \
    HPCZMQ_KEYS=/var/lib/hpczmq/keys
USER 10001:10001
WORKDIR /var/lib/hpczmq
VOLUME /var/lib/hpczmq
ENTRYPOINT ["tini", "--", "hpczmq"]

# --- The role ---------------------------------------------------------------------------------
FROM runtime
# Results that nobody has fetched yet are files of its volume, not of the root or of memory.
ENV TMPDIR=/var/lib/hpczmq/tmp \
    HPCZMQ_BIND=0.0.0.0 \
    HPCZMQ_CONTROL_BIND=0.0.0.0
EXPOSE 5001 5011
HEALTHCHECK --interval=30s --timeout=15s --start-period=30s \
    CMD ["hpczmq", "ping", "127.0.0.1:5001"]
CMD ["master"]
# The same commit gives the same labels: no date but the commit's.
ARG VERSION=unknown
ARG REVISION=unknown
ARG CREATED=
LABEL org.opencontainers.image.title="hpczmq-master" \
      org.opencontainers.image.description="owns the queue, places the tasks" \
      org.opencontainers.image.licenses="MIT" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.created="${CREATED}"

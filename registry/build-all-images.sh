#!/usr/bin/env bash
# Builds the three images.
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

usage() {
    cat <<'TEXT'
usage: build-all-images.sh [--dry-run]

Builds hpczmq-master, hpczmq-slave and hpczmq-memoria from this checkout, for the registry
$HPC_REGISTRY (192.168.56.1:5000), with two tags each: $HPC_VERSION (the version of the source) and
latest. What has not changed since the last time is taken from there.

    --dry-run   prints what it would do, and does nothing
    --help      this text
Variables: HPC_REGISTRY, HPC_VERSION; HPC_BASE, an image of Debian with Python 3.11 or newer to
build from (python:3.11-slim-bookworm).
TEXT
}

option() { return 1; }

options "$@"
settings
need_docker

revision=unknown created=''
if git -C "$root" rev-parse HEAD >/dev/null 2>&1; then
    revision=$(git -C "$root" rev-parse HEAD)
    created=$(git -C "$root" show -s --format=%cI HEAD)
    # BuildKit dates files and layers by it; the older builder does not read it.
    SOURCE_DATE_EPOCH=$(git -C "$root" show -s --format=%ct HEAD)
    export SOURCE_DATE_EPOCH
    # What the images are built from; a changed page of the documentation makes no other image.
    [ -z "$(git -C "$root" status --porcelain -- hpczmq kernels nodes cli.py dockerfiles .dockerignore \
        constraints-run.txt pyproject.toml setup.py MANIFEST.in README.md LICENSE)" ] ||
        revision=$revision-dirty
fi
for role in "${roles[@]}"; do
    run docker build --file "$root/dockerfiles/$role.Dockerfile" \
        ${HPC_BASE:+--build-arg "BASE=$HPC_BASE"} \
        --build-arg "VERSION=$HPC_VERSION" \
        --build-arg "REVISION=$revision" \
        --build-arg "CREATED=$created" \
        --tag "$(image "$role")" --tag "$(image "$role" latest)" "$root" ||
        fail "$(image "$role"): is not built: what went wrong stands above; without the internet name a base that is here with HPC_BASE"
done
done_is "built: hpczmq-{master,slave,memoria}, tags $HPC_VERSION and latest"

#!/usr/bin/env bash
# Pushes the images to the registry.
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

usage() {
    cat <<'TEXT'
usage: push.sh [--dry-run]

Pushes the images that build-all-images.sh has built to the registry $HPC_REGISTRY
(192.168.56.1:5000), with their tags $HPC_VERSION and latest. Layers that are there are not sent.

    --dry-run   prints what it would do, and does nothing
    --help      this text
Variables: HPC_REGISTRY, HPC_VERSION. A registry with a password: `docker login` first.
TEXT
}

option() { return 1; }

options "$@"
settings
need_docker
[ -n "$dry" ] || need_registry

for role in "${roles[@]}"; do
    docker image inspect "$(image "$role")" >/dev/null 2>&1 || [ -n "$dry" ] ||
        fail "$(image "$role"): is not here: build it first (registry/build-all-images.sh)"
done
for role in "${roles[@]}"; do
    # It may be that of a later build.
    run docker tag "$(image "$role")" "$(image "$role" latest)"
    for tag in "$HPC_VERSION" latest; do
        run docker push "$(image "$role" "$tag")" ||
            fail "$(image "$role" "$tag"): is not pushed: if Docker speaks of HTTPS, have it trust the registry (registry/trust.sh); if of authentication, docker login $HPC_REGISTRY"
    done
done
done_is "pushed: hpczmq-{master,slave,memoria}, tags $HPC_VERSION and latest, to $HPC_REGISTRY"

#!/usr/bin/env bash
# Lists what is in the registry.
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

usage() {
    cat <<'TEXT'
usage: catalog.sh [--dry-run]

Lists each image in the registry $HPC_REGISTRY (192.168.56.1:5000): its tags, digest, size (as it
is sent) and age (since it was built). Exit code 1 if no registry answers.

    --dry-run   prints what it would ask, and does not
    --help      this text
Variables: HPC_REGISTRY; HPC_REGISTRY_USER and HPC_REGISTRY_PASSWORD if it wants a password.
TEXT
}

option() { return 1; }

options "$@"
settings
if [ -n "$dry" ]; then
    say "+ GET $HPC_REGISTRY/v2/_catalog, and the tags and manifests of each image"
    exit 0
fi
need python3 'Debian: apt-get install python3'
need_registry
exec python3 "$registry_folder/catalog.py"

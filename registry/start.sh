#!/usr/bin/env bash
# Starts the registry of the images on this host.
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

usage() {
    cat <<'TEXT'
usage: start.sh [--remove] [--dry-run]

Starts the registry at $HPC_REGISTRY (192.168.56.1:5000), and waits until it answers. It keeps its
images in a volume. One that runs already stays as it is.

    --remove    stops it and removes its images
    --dry-run   prints what it would do, and does nothing
    --help      this text

It speaks plain HTTP to everybody who reaches that address, which is meant for a network of your
own machines; each Docker there must be told to trust it (registry/trust.sh). With a certificate:
    mkdir registry/certs; openssl req -x509 -newkey rsa:3072 -nodes -days 825 -subj /CN=registry \
        -addext subjectAltName=IP:192.168.56.1 \
        -keyout registry/certs/registry.key -out registry/certs/registry.crt
and with a password (apache2-utils has htpasswd; then `docker login 192.168.56.1:5000` on
each machine, as root):
    mkdir registry/auth; htpasswd -Bc registry/auth/htpasswd NAME
Both are used from the next start on. Variables: HPC_REGISTRY, HPC_REGISTRY_IMAGE (registry:2).
TEXT
}

remove=''
option() { [ "$1" = --remove ] && remove=yes; }

options "$@"
settings
need_docker

files=(-f "$registry_folder/compose.yaml")
[ ! -f "$registry_folder/certs/registry.key" ] || files+=(-f "$registry_folder/compose.tls.yaml")
[ ! -f "$registry_folder/auth/htpasswd" ] || files+=(-f "$registry_folder/compose.auth.yaml")
export HPC_REGISTRY_BIND=$HPC_REGISTRY
# Named after its address: one host may have several.
project=$COMPOSE_PROJECT_NAME-registry-${HPC_REGISTRY//[.:]/-}

if [ -n "$remove" ]; then
    run "${compose_command[@]}" "${files[@]}" -p "$project" down --volumes
    exit 0
fi
run "${compose_command[@]}" "${files[@]}" -p "$project" up -d ||
    fail "$HPC_REGISTRY: the registry does not start there: it must be an address of this host (for the machines' network: bring one of them up first), and its port free; HPC_REGISTRY names another"
[ -n "$dry" ] || until_well "${HPC_READY_S:-60}" "the registry at $HPC_REGISTRY" registry_url
done_is "the registry is at $HPC_REGISTRY"

#!/usr/bin/env bash
# On a machine, as root: Docker with Compose, from the distribution's packages.
set -euo pipefail

fail() {
    echo "docker.sh: $1" >&2
    exit 1
}

has_compose() { docker compose version >/dev/null 2>&1 || command -v docker-compose >/dev/null; }

if command -v docker >/dev/null && has_compose; then
    echo "docker: is there already"
else
    command -v apt-get >/dev/null || fail 'apt-get: not found: HPC_BOX must be a Debian, or have Docker with Compose'
    echo "docker: installs it"
    export DEBIAN_FRONTEND=noninteractive
    # Another one may be at work just after the start: the machine's own upgrades.
    apt=(apt-get -q -y -o DPkg::Lock::Timeout=300 -o Acquire::Retries=3)
    "${apt[@]}" update >/dev/null || fail 'apt-get update: failed: this machine must reach the packages of its distribution'
    # From Debian 13 on the program `docker` is a package of its own.
    client=''
    ! apt-cache show docker-cli >/dev/null 2>&1 || client=docker-cli
    # shellcheck disable=SC2086 # none, or one
    "${apt[@]}" install --no-install-recommends docker.io $client docker-compose iptables python3 curl ca-certificates >/dev/null ||
        fail 'apt-get install docker.io docker-compose: failed; what it said stands above'
fi
systemctl enable --quiet --now docker || fail 'docker: does not start: see journalctl -u docker'

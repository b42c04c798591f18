#!/usr/bin/env bash
# Everything on this host: registry, images, keys, the cluster.
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

usage() {
    cat <<'TEXT'
usage: full-deploy.sh [--dry-run]

Builds a cluster on this host and starts it: a registry, the images through it, keys, master, two
memorias and $HPC_SLAVES slaves (2) on a network of their own. Run again, it brings what runs to
what is here: containers whose image is another one are replaced, and jobs of a master that is
replaced are gone (registry/update.sh goes gently instead).

    --dry-run   prints what it would do, and does nothing
    --help      this text
From then on `docker compose …` in dockerfiles/ is about this cluster: its settings are in
dockerfiles/.env (or $HPC_ENV_FILE).
Variables: HPC_REGISTRY (127.0.0.1:5000 here, which Docker trusts), HPC_NET (192.168.56: the master
is .10, the memorias .13 and .14), HPC_SLAVES, HPC_VERSION, HPC_BASE.
TEXT
}

option() { return 1; }

options "$@"
settings 127.0.0.1:5000
need_docker
dry_run=(${dry:+--dry-run})

say "[1/5] the registry"
"$registry_folder/start.sh" "${dry_run[@]+"${dry_run[@]}"}"
say "[2/5] the images"
"$registry_folder/build-all-images.sh" "${dry_run[@]+"${dry_run[@]}"}"
"$registry_folder/push.sh" "${dry_run[@]+"${dry_run[@]}"}"
say "[3/5] keys"
"$root/dockerfiles/keys.sh" "${dry_run[@]+"${dry_run[@]}"}"
say "[4/5] the cluster"
export COMPOSE_PROFILES=one-host
# Docker takes no more processors than there are.
[ "$(docker info --format '{{.NCPU}}')" != 1 ] || export HPC_MASTER_CPUS=1.0
[ -n "$dry" ] || remember COMPOSE_PROJECT_NAME COMPOSE_PROFILES HPC_REGISTRY HPC_VERSION HPC_NET HPC_SECRETS
[ -n "$dry" ] || [ -z "${HPC_MASTER_CPUS:-}" ] || remember HPC_MASTER_CPUS
run "${one_host[@]}" pull --quiet ||
    fail "$HPC_REGISTRY: the images can't be pulled: what went wrong stands above (registry/trust.sh, if Docker speaks of HTTPS)"
run "${one_host[@]}" up -d --scale "slave=$HPC_SLAVES" ||
    fail "the cluster does not start: what went wrong stands above; if the network is there already, HPC_NET names another"
say "[5/5] waits until all slaves are ready and every container is healthy"
[ -z "$dry" ] || exit 0

# The slaves that are ready, as the master says.
ready() {
    "${one_host[@]}" exec -T master sh -c \
        "hpczmq slaves --json | python3 -c 'import json, sys; print(sum(s[\"state\"] == \"ready\" for s in json.load(sys.stdin)))'"
}
all_ready() { [ "$(ready)" -ge "$HPC_SLAVES" ]; }
# The engine looks every 30 s.
all_healthy() {
    local ids
    ids=$(docker ps --all --quiet --filter "label=com.docker.compose.project=$COMPOSE_PROJECT_NAME")
    # shellcheck disable=SC2086 # one word for each
    ! docker inspect -f '{{.State.Health.Status}}' $ids | grep -qvx healthy
}
until_well "${HPC_READY_S:-120}" "$HPC_SLAVES slaves are ready" all_ready
until_well "${HPC_READY_S:-120}" "every container is healthy" all_healthy
"${one_host[@]}" exec -T master hpczmq status
say "use it from here: HPCZMQ_KEY=$HPC_SECRETS/admin.key hpczmq status --master $HPC_NET.10"

#!/usr/bin/env bash
# Makes the keys of the cluster of compose.yaml, and what its nodes join by. The keys are in the
# master's volume; the master's image makes them, so that the host needs no hpczmq.
set -euo pipefail

usage() {
    cat <<'TEXT'
usage: keys.sh [--renew] [--dry-run]

Makes, where they are not there yet, the cluster's keys in the master's volume, and in secrets/
beside this script (or in $HPC_SECRETS):
    slave.token, memoria.token   with which slaves and memorias join: good for a year, 1000 times
    fingerprint                  of the cluster's key, without which nobody says a token
    admin.key                    for commands from this host: HPCZMQ_KEY=…/admin.key hpczmq status
What is there and still fits the cluster's key stays. A machine of a slave needs slave.token and
fingerprint, and nothing else of it.

    --renew     makes the tokens anew; the old ones stay good until they expire
    --dry-run   prints what it would do, and does nothing
    --help      this text
Variables: HPC_REGISTRY, HPC_VERSION, HPC_SECRETS, COMPOSE_PROJECT_NAME, as in compose.yaml; .env
beside this script is read for those that are not set.
TEXT
}

fail() { echo "keys.sh: $1" >&2; exit "${2:-1}"; }

renew='' dry=''
for argument in "$@"; do
    case $argument in
        --renew) renew=yes ;;
        --dry-run) dry=yes ;;
        -h | --help) usage; exit 0 ;;
        *) usage >&2; fail "$argument: is no option" 2 ;;
    esac
done

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
env_file=${HPC_ENV_FILE:-$here/.env}

# A variable's value: the environment's, else that of .env, else the default.
setting() {
    local line=''
    if [ -n "${!1:-}" ]; then echo "${!1}"; return; fi
    [ ! -f "$env_file" ] || line=$(grep -E "^$1=" "$env_file" | tail -n 1) || true
    line=${line#*=} line=${line%$'\r'} # as Windows ends lines
    echo "${line:-$2}"
}

image=$(setting HPC_REGISTRY 192.168.56.1:5000)/hpczmq-master:$(setting HPC_VERSION latest)
project=$(setting COMPOSE_PROJECT_NAME hpczmq)
secrets=$(setting HPC_SECRETS "$here/secrets")
case $secrets in /*) ;; *) secrets=$here/$secrets ;; esac
volume=${project}_master

command -v docker >/dev/null || fail "docker: not found: install it (Debian: apt-get install docker.io)"

# A command in the master's volume, without a network: `hpczmq keys` works on files alone.
inside() {
    docker run --rm --network none --volume "$volume:/var/lib/hpczmq" --entrypoint "$1" "$image" \
        "${@:2}"
}

say() { echo "${dry:+would: }$*"; }

# A file for its owner's folder alone. Containers read it under a user of their own, and the folder
# keeps everybody else out.
keep() {
    local text
    text=$(cat)
    [ -n "$text" ] || fail "$1: nothing came out of the image $image"
    printf '%s\n' "$text" >"$secrets/$1.new"
    chmod "$2" "$secrets/$1.new"
    mv "$secrets/$1.new" "$secrets/$1"
}

known() { [ -s "$secrets/$1" ]; }

if [ -n "$dry" ]; then
    say "make the volume $volume and the folder $secrets, if they are not there"
    say "hpczmq keys init, if there are no keys in it (image $image)"
    say "hpczmq keys show cluster -> $secrets/fingerprint"
    say "hpczmq keys token --role slave -> slave.token, --role memoria -> memoria.token"
    say "admin.key -> $secrets/admin.key"
    exit 0
fi

docker image inspect "$image" >/dev/null 2>&1 || docker pull "$image" >/dev/null ||
    fail "$image: is not there and can't be pulled: registry/build-all-images.sh builds it, registry/push.sh pushes it"
# With Compose's own labels, or it would take the volume for somebody else's.
docker volume inspect "$volume" >/dev/null 2>&1 ||
    docker volume create --label com.docker.compose.project="$project" \
        --label com.docker.compose.volume=master "$volume" >/dev/null
(umask 077 && mkdir -p "$secrets")
chmod 700 "$secrets"

if inside sh -c 'test -e keys/cluster.key'; then
    say "$volume: the cluster's keys are there"
else
    say "$volume: makes the cluster's keys"
    inside hpczmq keys init >/dev/null
fi

fingerprint=$(inside hpczmq keys show cluster | awk '$1 == "fingerprint" { print $2 }')
if known fingerprint && [ "$(cat "$secrets/fingerprint")" = "$fingerprint" ]; then
    say "$secrets/fingerprint: stays"
else
    # Another cluster than the last time: none of its tokens is good here.
    renew=yes
    say "$secrets/fingerprint: writes it"
    keep fingerprint 444 <<<"$fingerprint"
fi
for role in slave memoria; do
    if [ -z "$renew" ] && known "$role.token"; then
        say "$secrets/$role.token: stays"
        continue
    fi
    say "$secrets/$role.token: makes it"
    inside hpczmq keys token --role "$role" --expires 365d --uses 1000 | sed -n 1p |
        keep "$role.token" 444
done
say "$secrets/admin.key: writes it"
inside cat keys/admin.key | keep admin.key 600

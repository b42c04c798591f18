#!/usr/bin/env bash
# Makes the keys of the cluster of compose.yaml, and what its nodes join by. The keys are in the
# master's volume; the master's image makes them, so that the host needs no hpczmq.
source "$(dirname "${BASH_SOURCE[0]}")/../registry/common.sh"

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

renew=''
option() {
    [ "$1" = --renew ] || return 1
    renew=yes
}

options "$@"
here=$root/dockerfiles
image=$(setting HPC_REGISTRY 192.168.56.1:5000)/hpczmq-master:$(setting HPC_VERSION latest)
project=$(setting COMPOSE_PROJECT_NAME hpczmq)
secrets=$(setting HPC_SECRETS "$here/secrets")
case $secrets in /*) ;; *) secrets=$here/$secrets ;; esac
volume=${project}_master

need docker 'Debian: apt-get install docker.io'

# A command in the master's volume, without a network: `hpczmq keys` works on files alone.
inside() {
    docker run --rm --network none --volume "$volume:/var/lib/hpczmq" --entrypoint "$1" "$image" \
        "${@:2}"
}

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
    say "would: make the volume $volume and the folder $secrets, if they are not there"
    say "would: hpczmq keys init, if there are no keys in it (image $image)"
    say "would: hpczmq keys show cluster -> $secrets/fingerprint"
    say "would: hpczmq keys token --role slave -> slave.token, --role memoria -> memoria.token"
    say "would: admin.key -> $secrets/admin.key"
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

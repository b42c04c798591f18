# What scripts ask of a running cluster; sourced after common.sh by those that define `in_master`, a
# command in the master's container. Its image has Python, where this is read; the host may not.
# shellcheck shell=bash

# A few lines of Python on the slaves, as `hpczmq slaves --json` gives them.
# shellcheck disable=SC2016 # the shell in the container puts them in
asked() { in_master sh -c 'hpczmq slaves --json | python3 -c "$0" "$@"' "$@"; }

# The slave of that name, or of one that goes on with a dash (esclavo1 is not esclavo10), the newest
# of several: its name, state, and how many leases it has.
slave_like() {
    asked 'import json, re, sys
for s in sorted(json.load(sys.stdin), key=lambda s: -s["silent_s"]):
    if re.match(re.escape(sys.argv[1]) + r"(?!\w)", s["name"]): found = s
print(found["name"], found["state"], found["leases"])' "$1" 2>/dev/null
}

is_ready() { [[ $(slave_like "$1") == *" ready "* ]]; }
is_idle() { [[ $(slave_like "$1") == *" 0" ]]; }

# Keep new work from a slave, and wait until it has ended what it runs: drain NAME SECONDS
drain() {
    local name end=$((SECONDS + $2))
    name=$(slave_like "$1") || return 0 # gone already
    name=${name%% *}
    say "  $name gets nothing new, and ends what it runs"
    in_master hpczmq drain "$name" >/dev/null || return 0
    until is_idle "$1"; do
        if [ $SECONDS -ge $end ]; then
            say "  $name is not done after $2 s: what it runs is run again elsewhere"
            return 0
        fi
        sleep 1
    done
}

# Revoke the keys of a slave: of its name, and those numbered -2, -3, … that it had after it.
forget() {
    local name
    # shellcheck disable=SC2016 # as above
    for name in $(in_master sh -c 'hpczmq keys list --json | python3 -c "$0" "$@"' 'import json, re, sys
for key in json.load(sys.stdin):
    known = not key["revoked"] and key["role"] == "slave"
    if known and re.fullmatch(re.escape(sys.argv[1]) + r"(-\d+)?", key["name"]): print(key["name"])' "$1"); do
        in_master hpczmq keys revoke "$name" >/dev/null && say "the key $name is revoked"
    done
}

# Fail if there are jobs that a new master would not know.
no_jobs() {
    local jobs
    # shellcheck disable=SC2016 # the shell in the container puts it in
    jobs=$(in_master sh -c 'hpczmq jobs --json | python3 -c "$0"' 'import json, sys
print(*[j["id"] for j in json.load(sys.stdin) if j["state"] in ("queued", "running")])') ||
        fail 'the master does not tell its jobs: see its log, and try again; or stop it first'
    [ -z "$jobs" ] || fail "jobs run or wait, and would be gone with this master ($jobs): wait for them (hpczmq jobs), or cancel them, and try again"
}

# Whether nodes of an image can work with the master that runs; if not, mixed says what they speak.
# An image that does not tell is tried: a node that is refused is not ready, and its log says why.
mixes() {
    local theirs ours program='from hpczmq.messages import PROTOCOL; print(PROTOCOL)'
    theirs=$(docker run --rm --network none --entrypoint python3 "$1" -c "$program" 2>/dev/null) || return 0
    ours=$(in_master python3 -c "$program" 2>/dev/null) || return 0
    # shellcheck disable=SC2034 # for those who source this
    mixed="the new images speak protocol $theirs, the master that runs $ours"
    [ "$theirs" = "$ours" ]
}

# A line on a container: what it is, what it runs, what is to come: tell_version WHAT CONTAINER IMAGE
tell_version() {
    local is comes
    is=$(described "$(docker inspect -f '{{.Image}}' "$2")")
    comes=$(described "$3") || comes="${3##*:}, which is not here yet"
    if [ "$is" = "$comes" ]; then comes='stays'; else comes="gets $comes"; fi
    say "  $1: runs $is, $comes"
}

# What an image says of itself, and the start of its id.
described() {
    docker image inspect -f '{{index .Config.Labels "org.opencontainers.image.version"}} ({{slice .Id 7 19}})' "$1" 2>/dev/null
}

# Whether a container runs what an image's name stands for now: runs CONTAINER IMAGE
runs() {
    [ -n "$1" ] && [ "$(docker inspect -f '{{.Image}}' "$1")" = "$(docker image inspect -f '{{.Id}}' "$2" 2>/dev/null)" ]
}

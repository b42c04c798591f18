#!/usr/bin/env bash
# On a machine of the cluster, as root: makes it the master's or a slave's. deploy-distributed and
# Vagrant's provisioning bring this here, with what it needs, and run it.
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

usage() {
    cat <<'TEXT'
usage: machine.sh master [--dry-run]
       machine.sh slave [--dry-run]  <token-and-fingerprint
       machine.sh join | status | ready

Makes this machine the master's (master and both memorias) or a slave's, in $HPC_FOLDER (/opt/hpczmq):
trusts the registry, puts compose.yaml and its settings there, pulls the images, starts them, and
waits until they are healthy. `join` prints, on the master's machine, the two lines that a slave's
wants on standard input: token and fingerprint; one that has both needs none. `status` prints there
how the cluster is, and `ready` is an error as long as the slave $ESCLAVO is not ready.

    --dry-run   prints what it would do, and does nothing
    --help      this text
Variables: HPC_REGISTRY, HPC_VERSION, MAESTRO_IP, ESCLAVO (the slave's name), HPC_FOLDER, and those
of dockerfiles/env.example.
TEXT
}

what=''
option() {
    [[ -z $what && $1 =~ ^(master|slave|join|status|ready)$ ]] || return 1
    what=$1
}

options "$@"
[ -n "$what" ] || { usage >&2 && fail 'say what this machine is: master or slave' 2; }
folder=${HPC_FOLDER:-/opt/hpczmq}
secrets=$folder/secrets

if [ "$what" = join ]; then
    [ -s "$secrets/slave.token" ] || fail "$secrets/slave.token: is not here: run machine.sh master first"
    cat "$secrets/slave.token" "$secrets/fingerprint"
    exit 0
fi

# A command in the master's container.
in_master() {
    local id
    id=$(docker ps --quiet --filter label=com.docker.compose.service=vm-master)
    [ -n "$id" ] || fail 'no master runs here: run machine.sh master first'
    docker exec "$id" "$@"
}

# Whether a slave of this name is ready, by its newest process.
ready='import json, sys; print([s["state"] for s in json.load(sys.stdin) if s["name"] == sys.argv[1]])'
case $what in
    status)
        in_master hpczmq status
        exit 0
        ;;
    ready)
        # shellcheck disable=SC2016 # the shell in the container puts them in
        state=$(in_master sh -c 'hpczmq slaves --json | python3 -c "$0" "$1"' "$ready" "${ESCLAVO:-esclavo1}")
        [[ $state == *"'ready'"* ]] || fail "${ESCLAVO:-esclavo1}: is ${state:-not there}"
        exit 0
        ;;
esac

HPC_ENV_FILE=$folder/.env
env_file=$HPC_ENV_FILE
HPC_SECRETS=$secrets
export HPC_ENV_FILE HPC_SECRETS
settings
COMPOSE_PROFILES=$what-vm
ESCLAVO=$(setting ESCLAVO esclavo1)
kept=(COMPOSE_PROJECT_NAME COMPOSE_PROFILES HPC_REGISTRY HPC_VERSION HPC_SECRETS MAESTRO_IP
    ESCLAVO HPC_MASTER_CPUS HPC_SLAVE_CPUS HPC_SLAVE_MEMORY)
# The machine is the node's: it may have all of it, and Docker takes no more processors than there
# are. The system keeps 128 MiB, or what a slave takes too much would cost the machine.
HPC_MASTER_CPUS=$(setting HPC_MASTER_CPUS "$(nproc)")
HPC_SLAVE_CPUS=$(setting HPC_SLAVE_CPUS "$(nproc)")
HPC_SLAVE_MEMORY=$(setting HPC_SLAVE_MEMORY "$(awk '/^MemTotal:/ { print int($2 / 1024) - 128 }' /proc/meminfo)m")
export COMPOSE_PROFILES ESCLAVO HPC_MASTER_CPUS HPC_SLAVE_CPUS HPC_SLAVE_MEMORY
need_docker

here() { "${compose_command[@]}" --project-directory "$folder" -f "$folder/compose.yaml" -p "$COMPOSE_PROJECT_NAME" "$@"; }

# What was given on standard input, where nobody else may look.
take_secrets() {
    local token fingerprint
    mkdir -p "$secrets"
    chmod 700 "$secrets"
    if [ -s "$secrets/slave.token" ] && [ -s "$secrets/fingerprint" ] && [ -t 0 ]; then return; fi
    read -r token || token=''
    read -r fingerprint || fingerprint=''
    token=${token%$'\r'} fingerprint=${fingerprint%$'\r'} # as Windows ends lines
    if [ -z "$token" ] && [ -s "$secrets/slave.token" ]; then return; fi
    [[ $token =~ ^[a-z2-7]{32}$ && $fingerprint =~ ^[0-9a-f]{64}$ ]] ||
        fail "standard input: must have a token and a fingerprint, a line each, as machine.sh join prints them"
    printf '%s\n' "$token" >"$secrets/slave.token"
    printf '%s\n' "$fingerprint" >"$secrets/fingerprint"
    # Containers read them under a user of their own; the folder keeps everybody else out.
    chmod 444 "$secrets/slave.token" "$secrets/fingerprint"
}

say "$what: trusts $HPC_REGISTRY"
"$registry_folder/trust.sh" ${dry:+--dry-run}
say "$what: settings in $folder"
if [ -z "$dry" ]; then
    (umask 022 && mkdir -p "$folder")
    cmp -s "$root/dockerfiles/compose.yaml" "$folder/compose.yaml" || cp "$root/dockerfiles/compose.yaml" "$folder/compose.yaml"
    remember "${kept[@]}"
fi
say "$what: pulls $HPC_VERSION"
case $what in
    master) services=(vm-master vm-memoria1 vm-memoria2) ;;
    slave) services=(vm-slave) ;;
esac
run here pull --quiet "${services[@]}" ||
    fail "$HPC_REGISTRY: the images can't be pulled: push them there (registry/push.sh), and let this machine reach it"
say "$what: secrets"
case $what in
    master) "$root/dockerfiles/keys.sh" ${dry:+--dry-run} ;;
    slave) [ -n "$dry" ] || take_secrets ;;
esac
say "$what: starts"
run here up -d "${services[@]}"
[ -z "$dry" ] || exit 0

# Beside a node: whether it answers, without waiting for the engine to look again.
answers() {
    case $1 in
        vm-master) port=5001 ;;
        vm-memoria1) port=5003 ;;
        vm-memoria2) port=5004 ;;
        vm-slave) port=5002 ;;
    esac
    here exec -T "$1" hpczmq ping "127.0.0.1:$port"
}
for service in "${services[@]}"; do
    until_well "${HPC_WAIT_S:-180}" "$service answers" answers "$service"
done
say "$what: ready"

#!/usr/bin/env bash
# On a machine of the cluster, as root: makes it the master's or a slave's. deploy-distributed and
# Vagrant's provisioning bring this here, with what it needs, and run it.
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"
source "$registry_folder/cluster.sh"

usage() {
    cat <<'TEXT'
usage: machine.sh master | memorias [--dry-run]
       machine.sh slave [--dry-run]  <token-and-fingerprint
       machine.sh join | status | ready | drain | forget | no-jobs | mixes | versions
       machine.sh current ROLE

Makes this machine the master's (master and both memorias, or those only) or a slave's, in
$HPC_FOLDER (/opt/hpczmq): trusts the registry, puts compose.yaml and its settings there, pulls the
images, starts them, and waits until they answer. On the master's machine:
    join      prints the two lines that a slave's wants on standard input: token and fingerprint;
              one that has both needs none
    status    prints how the cluster is
    ready     is an error as long as the slave $ESCLAVO is not ready
    drain     keeps new work from $ESCLAVO, and waits until it has ended what it runs ($HPC_DRAIN_S)
    forget    revokes the keys of $ESCLAVO, whose machine is gone
    no-jobs   is an error if a job runs or waits
    mixes     is an error if nodes of the images that are to come can't work with this master
and on any, `versions` says what runs and what is to come, and `current` (slave, memorias, master)
pulls, and is an error if that runs another image.

    --dry-run   prints what it would do, and does nothing
    --help      this text
Variables: HPC_REGISTRY, HPC_VERSION, MAESTRO_IP, ESCLAVO (the slave's name), HPC_FOLDER, and those
of dockerfiles/env.example.
TEXT
}

what='' of=''
option() {
    if [[ $what = current && $1 =~ ^(master|memorias|slave)$ ]]; then
        of=$1
    elif [[ -z $what && $1 =~ ^(master|memorias|slave|join|status|ready|drain|forget|no-jobs|mixes|versions|current)$ ]]; then
        what=$1
    else
        return 1
    fi
}

options "$@"
[ -n "$what" ] || { usage >&2 && fail 'say what this machine is: master or slave' 2; }
folder=${HPC_FOLDER:-/opt/hpczmq}
secrets=$folder/secrets
ESCLAVO=${ESCLAVO:-$(setting ESCLAVO esclavo1)}

# --- Questions about the cluster, on the master's machine ---------------------------------------

in_master() {
    local id
    id=$(docker ps --quiet --filter label=com.docker.compose.service=vm-master)
    [ -n "$id" ] || fail 'no master runs here: run machine.sh master first'
    docker exec "$id" "$@"
}

case $what in
    join)
        [ -s "$secrets/slave.token" ] || fail "$secrets/slave.token: is not here: run machine.sh master first"
        cat "$secrets/slave.token" "$secrets/fingerprint"
        exit 0
        ;;
    status)
        in_master hpczmq status
        exit 0
        ;;
    ready)
        is_ready "$ESCLAVO" || fail "$ESCLAVO: is not ready: it is $(slave_like "$ESCLAVO" || echo 'not there')"
        exit 0
        ;;
    drain)
        drain "$ESCLAVO" "${HPC_DRAIN_S:-300}"
        exit 0
        ;;
    forget)
        forget "$ESCLAVO"
        exit 0
        ;;
    no-jobs)
        no_jobs
        exit 0
        ;;
esac

# --- What this machine runs ---------------------------------------------------------------------

HPC_ENV_FILE=$folder/.env
env_file=$HPC_ENV_FILE
HPC_SECRETS=$secrets
export HPC_ENV_FILE HPC_SECRETS
settings
part=${of:-$what}
case $part in
    master) services=(vm-master vm-memoria1 vm-memoria2) COMPOSE_PROFILES=master-vm ;;
    memorias) services=(vm-memoria1 vm-memoria2) COMPOSE_PROFILES=master-vm ;;
    slave) services=(vm-slave) COMPOSE_PROFILES=slave-vm ;;
    mixes | versions) services=() ;;
esac
# Compose 1.29 makes the network of one-host here, too, though nothing uses it. With the machines' own
# addresses it would take the gateway's, which is where the registry is: so it gets some that no
# network has (RFC 2544).
HPC_NET=198.18.0
kept=(COMPOSE_PROJECT_NAME COMPOSE_PROFILES HPC_REGISTRY HPC_VERSION HPC_SECRETS MAESTRO_IP HPC_NET
    ESCLAVO HPC_MASTER_CPUS HPC_MASTER_MEMORY HPC_SLAVE_CPUS HPC_SLAVE_MEMORY)
# The machine is the node's: it may have all of it, and Docker takes no more processors than there
# are. Of memory the system keeps 128 MiB, or what a slave takes too much would cost the machine; and
# the memorias may have 384 MiB each.
# Not what the file says: the machine may be another size today.
HPC_MASTER_CPUS=${HPC_MASTER_CPUS:-$(nproc)}
HPC_SLAVE_CPUS=${HPC_SLAVE_CPUS:-$(nproc)}
megabytes=$(awk '/^MemTotal:/ { print int($2 / 1024) }' /proc/meminfo)
HPC_MASTER_MEMORY=${HPC_MASTER_MEMORY:-$((megabytes - 768 > 256 ? megabytes - 768 : 256))m}
HPC_SLAVE_MEMORY=${HPC_SLAVE_MEMORY:-$((megabytes - 128))m}
export COMPOSE_PROFILES ESCLAVO HPC_MASTER_CPUS HPC_MASTER_MEMORY HPC_SLAVE_CPUS HPC_SLAVE_MEMORY
need_docker
# The older Compose warns of each secret of services that are not for this machine.
[ "${compose_command[0]}" = docker ] || compose_command+=(--log-level ERROR)

here=("${compose_command[@]}" --project-directory "$folder" -f "$folder/compose.yaml" -p "$COMPOSE_PROJECT_NAME")

# The role of a service: vm-memoria1 is a memoria's.
role_of() { local name=${1#vm-} && echo "${name%[12]}"; }

case $what in
    versions)
        for id in $(docker ps --quiet --filter "label=com.docker.compose.project=$COMPOSE_PROJECT_NAME"); do
            service=$(docker inspect -f '{{index .Config.Labels "com.docker.compose.service"}}' "$id")
            tell_version "$service" "$id" "$(image "$(role_of "$service")")"
        done
        exit 0
        ;;
    mixes)
        docker pull --quiet "$(image master)" >/dev/null || fail "$HPC_REGISTRY: the images can't be pulled"
        mixes "$(image master)" ||
            fail "$mixed: it would refuse them by name: when no job is there, update.sh --distributed --master replaces the master first"
        exit 0
        ;;
esac

if [ "$what" = current ]; then
    "${here[@]}" pull --quiet "${services[@]}" >/dev/null || fail "$HPC_REGISTRY: the images can't be pulled"
    for service in "${services[@]}"; do
        id=$(docker ps --quiet --filter "label=com.docker.compose.service=$service")
        runs "$id" "$(image "$(role_of "$service")")" || fail "$service: runs another image"
    done
    exit 0
fi

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
bash "$registry_folder/trust.sh" ${dry:+--dry-run}
say "$what: settings in $folder"
if [ -z "$dry" ]; then
    (umask 022 && mkdir -p "$folder")
    cmp -s "$root/dockerfiles/compose.yaml" "$folder/compose.yaml" || cp "$root/dockerfiles/compose.yaml" "$folder/compose.yaml"
    remember "${kept[@]}"
fi
say "$what: pulls $HPC_VERSION"
run "${here[@]}" pull --quiet "${services[@]}" ||
    fail "$HPC_REGISTRY: the images can't be pulled: push them there (registry/push.sh), let this machine reach it, and if it wants a password, docker login $HPC_REGISTRY here, as root"
say "$what: secrets"
case $what in
    master | memorias) bash "$root/dockerfiles/keys.sh" ${dry:+--dry-run} ;;
    slave) [ -n "$dry" ] || take_secrets ;;
esac
[ -z "$dry" ] || exit 0
# Beside a node: whether it answers, without waiting for the engine to look again.
answers() {
    case $1 in
        vm-master) port=5001 ;;
        vm-memoria1) port=5003 ;;
        vm-memoria2) port=5004 ;;
        vm-slave) port=5002 ;;
    esac
    "${here[@]}" exec -T "$1" hpczmq ping "127.0.0.1:$port"
}
# A master with another image is about to go, and its jobs with it.
master=$(docker ps --quiet --filter label=com.docker.compose.service=vm-master)
if [ "$what" = master ] && [ -n "$master" ] && ! runs "$master" "$(image master)"; then no_jobs; fi
# One after the other: of two memorias one always watches.
for service in "${services[@]}"; do
    say "$what: starts $service"
    run "${here[@]}" up -d --no-deps "$service"
    until_well "${HPC_WAIT_S:-180}" "$service answers" answers "$service"
done
say "$what: ready"

# What the scripts here share; they source it. Bash 3.2 and newer.
# shellcheck shell=bash
set -euo pipefail

registry_folder=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(dirname "$registry_folder")
program=$(basename "$0")
dry=''

# --- Words ------------------------------------------------------------------------------------

say() { echo "$*"; }

# What has come of it, unless nothing was done.
done_is() { [ -n "$dry" ] || say "$*"; }

# A fault, with its remedy; 1, or 2 for bad usage.
fail() {
    echo "$program: $1" >&2
    exit "${2:-1}"
}

# The options that each script has, and its own: options "$@". Usage comes from the script's
# function `usage`; other options are for its function `option`, which says no to what it does not
# know.
options() {
    local argument
    for argument in "$@"; do
        case $argument in
            -h | --help) usage && exit 0 ;;
            --dry-run) dry=yes ;;
            *) option "$argument" || { usage >&2 && fail "$argument: is no option" 2; } ;;
        esac
    done
}

# Say a command and run it; only say it in a dry run. For what changes something. It is said where
# the script talks, wherever what the command has to say goes.
exec 3>&1
run() {
    printf '+ %s\n' "$*" >&3
    [ -n "$dry" ] || "$@"
}

# --- Settings ---------------------------------------------------------------------------------

# What this host's cluster goes by: Compose and keys.sh read it, too.
env_file=${HPC_ENV_FILE:-$root/dockerfiles/.env}

# Machines are another cluster: what goes there is told nothing of this host's.
other_cluster() { env_file=''; }

# A variable's value: the environment's, else that of the file, else the default.
setting() {
    local line=''
    if [ -n "${!1:-}" ]; then echo "${!1}" && return; fi
    [ ! -f "$env_file" ] || line=$(grep -E "^$1=" "$env_file" | tail -n 1) || true
    line=${line#*=} line=${line%$'\r'} # as Windows ends lines
    echo "${line:-$2}"
}

# Keep variables in that file, so that Compose by hand means the same cluster, the same images.
remember() {
    local name
    for name in "$@"; do
        { [ ! -f "$env_file" ] || grep -v "^$name=" "$env_file" || true; } >"$env_file.new"
        printf '%s=%s\n' "$name" "${!name}" >>"$env_file.new"
        mv "$env_file.new" "$env_file"
    done
}

# What the source says of itself, as tag of the images.
source_version() {
    local version=''
    [ ! -f "$root/hpczmq/_version.py" ] ||
        version=$(sed -n 's/^__version__.* = "\(.*\)"$/\1/p' "$root/hpczmq/_version.py")
    echo "${version:-latest}" # without the source beside it, as on a machine
}

# The settings that all have in common, checked and exported: compose.yaml reads them, too.
settings() {
    local registry_given=${HPC_REGISTRY:-}
    HPC_REGISTRY=$(setting HPC_REGISTRY "${1:-192.168.56.1:5000}")
    # Not what runs here: what is to come, which is what the source is.
    HPC_VERSION=${HPC_VERSION:-$(source_version)}
    HPC_NET=$(setting HPC_NET 192.168.56)
    HPC_SLAVES=$(setting HPC_SLAVES "${2:-2}")
    HPC_SECRETS=$(setting HPC_SECRETS "$root/dockerfiles/secrets")
    MAESTRO_IP=$(setting MAESTRO_IP "$HPC_NET.10")
    COMPOSE_PROJECT_NAME=$(setting COMPOSE_PROJECT_NAME hpczmq)
    case $HPC_SECRETS in /*) ;; *) HPC_SECRETS=$root/dockerfiles/$HPC_SECRETS ;; esac
    check HPC_REGISTRY '^[A-Za-z0-9.-]+:[0-9]+$' 'HOST:PORT'
    check HPC_VERSION '^[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}$' 'a tag: letters, digits, dots and dashes'
    check HPC_NET '^[0-9]{1,3}\.[0-9]{1,3}\.[0-9]{1,3}$' 'three numbers, like 192.168.56'
    check HPC_SLAVES '^[1-9][0-9]{0,2}$' '1..999'
    check MAESTRO_IP '^[A-Za-z0-9.-]+$' 'an address'
    [ -n "$registry_given" ] || [ "$HPC_REGISTRY" = "${1:-192.168.56.1:5000}" ] ||
        echo "$program: the registry is $HPC_REGISTRY, as $env_file says; HPC_REGISTRY names another" >&2
    export HPC_REGISTRY HPC_VERSION HPC_NET HPC_SLAVES HPC_SECRETS MAESTRO_IP COMPOSE_PROJECT_NAME
}

check() { [[ ${!1} =~ $2 ]] || fail "$1 = ${!1}: must be $3" 2; }

# shellcheck disable=SC2034 # for those who source this
roles=(master slave memoria)

# The name of a role's image, with a tag.
image() { echo "$HPC_REGISTRY/hpczmq-$1:${2:-$HPC_VERSION}"; }

# --- Tools ------------------------------------------------------------------------------------

need() {
    command -v "$1" >/dev/null || fail "$1: not found: install it ($2)"
}

need_docker() {
    need docker 'Debian: apt-get install docker.io docker-compose'
    docker info >/dev/null 2>&1 || fail "docker: the engine does not answer: start it (systemctl start docker), or add yourself to the group docker"
    if docker compose version >/dev/null 2>&1; then
        compose_command=(docker compose)
    else
        need docker-compose 'Debian: apt-get install docker-compose'
        compose_command=(docker-compose)
    fi
    # Compose on the cluster of this host.
    # shellcheck disable=SC2034 # for those who source this
    one_host=("${compose_command[@]}" -f "$root/dockerfiles/compose.yaml" -p "$COMPOSE_PROJECT_NAME"
        --profile one-host)
}

# Where the registry answers: by https if there is a certificate, else by http. It may ask for a
# password.
registry_url() {
    local scheme=http certificate=$registry_folder/certs/registry.crt code
    if [ -f "$certificate" ]; then scheme=https; else certificate=''; fi
    code=$(curl -s -o /dev/null -m 20 --connect-timeout 5 -w '%{http_code}' \
        ${certificate:+--cacert "$certificate"} "$scheme://$HPC_REGISTRY/v2/") || return 1
    case $code in 200 | 401) echo "$scheme://$HPC_REGISTRY" ;; *) return 1 ;; esac
}

need_registry() {
    need curl 'Debian: apt-get install curl'
    registry_url >/dev/null ||
        fail "$HPC_REGISTRY: no registry answers there: start it (registry/start.sh), or name it with HPC_REGISTRY; of one with a certificate registry/certs/registry.crt must be here"
}

# Whether a command is well before so many seconds have passed: within SECONDS COMMAND…
within() {
    local end=$((SECONDS + $1))
    shift
    until "$@" >/dev/null 2>&1; do
        [ $SECONDS -lt $end ] || return 1
        sleep 1
    done
}

# Wait until a command is well, or fail: until_well SECONDS 'what for' COMMAND…
until_well() {
    within "$1" "${@:3}" || fail "$2: not in $1 s: see the logs (docker compose … logs)"
}

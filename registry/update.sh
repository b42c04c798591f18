#!/usr/bin/env bash
# Brings new images to a cluster, node by node, while jobs run.
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"
source "$registry_folder/cluster.sh"

usage() {
    cat <<'TEXT'
usage: update.sh [--distributed] [--master] [--dry-run]

Pushes the images $HPC_VERSION (that of the source) and replaces the nodes that run others:
slaves one at a time, each when it has ended what it runs, then the memorias. Jobs go on, and no
result is lost. Nodes that run these images already are left alone.

    --distributed  the cluster that deploy-distributed.sh or Vagrant made; without it, this host's
    --master       the master, too, if no job waits or runs: its jobs end with it
    --dry-run      prints what it would do, and does nothing
    --help         this text
Variables: HPC_REGISTRY, HPC_VERSION, HPC_DRAIN_S: how long a slave may take to end what it runs
(300 s); after that it is stopped, and what it still runs is run again elsewhere. With
--distributed also those of deploy-distributed.sh.
TEXT
}

distributed='' with_master=''
option() {
    case $1 in
        --distributed) distributed=yes ;;
        --master) with_master=yes ;;
        *) return 1 ;;
    esac
}

options "$@"
if [ -n "$distributed" ]; then settings 192.168.56.1:5000 1; else settings 127.0.0.1:5000; fi
HPC_DRAIN_S=$(setting HPC_DRAIN_S 300)
check HPC_DRAIN_S '^[0-9]+$' 'whole seconds'
need_docker
[ -n "$dry" ] || need_registry

# --- This host ----------------------------------------------------------------------------------

containers() { one_host ps --quiet "$1"; }
hostname_of() { docker inspect -f '{{.Config.Hostname}}' "$1"; }

update_one_host() {
    in_master() { one_host exec -T master "$@"; }
    [ -n "$(containers master)" ] || fail 'no cluster runs here: start it (registry/full-deploy.sh), or say --distributed'
    say "[1/4] pulls"
    run one_host pull --quiet
    # Compose by hand means these images from now on.
    [ -n "$dry" ] || remember HPC_VERSION
    say "[2/4] slaves"
    local old=() id count new
    for id in $(containers slave); do
        runs "$id" "$(image slave)" || old+=("$id")
    done
    [ ${#old[@]} -gt 0 ] || say "  nothing to do: they run it already"
    for id in "${old[@]+"${old[@]}"}"; do
        # One more first, so that there are never fewer than there were.
        count=$(containers slave | wc -l)
        new=$(start_slave $((count + 1)))
        [ -n "$dry" ] || until_well 120 "the new slave is ready" is_ready "$(hostname_of "$new")"
        replace_slave "$id"
    done
    say "[3/4] memorias"
    update_service memoria1 memoria 5003
    update_service memoria2 memoria 5004
    say "[4/4] master"
    update_master master one_host
}

# Start one more slave; prints its container.
start_slave() {
    local before
    before=$(containers slave)
    run one_host up -d --no-deps --no-recreate --scale "slave=$1" slave >&2
    containers slave | grep -vxF "$before" || true
}

replace_slave() {
    local host name
    host=$(hostname_of "$1")
    if [ -n "$dry" ]; then
        say "  would drain, stop and remove the slave in $host"
        return
    fi
    drain "$host" "$HPC_DRAIN_S"
    name=$(slave_like "$host") && name=${name%% *} || name=''
    run docker stop --time 30 "$1" >/dev/null
    # Its key went with its volume: nobody is to come with it again.
    run docker rm --volumes "$1" >/dev/null
    [ -z "$name" ] || in_master hpczmq keys revoke "$name" >/dev/null || true
}

# A node that is replaced in its place: SERVICE ROLE PORT
update_service() {
    local id
    id=$(containers "$1")
    if runs "$id" "$(image "$2")"; then
        say "  $1: nothing to do: it runs it already"
        return
    fi
    run one_host up -d --no-deps "$1"
    [ -n "$dry" ] || until_well 120 "$1 answers" one_host exec -T "$1" hpczmq ping "127.0.0.1:$3"
}

update_master() {
    if runs "$(containers master)" "$(image master)"; then
        say "  nothing to do: it runs it already"
    elif [ -z "$with_master" ]; then
        say "  stays, with the jobs that it has: update.sh --master replaces it when there are none"
    else
        no_jobs
        update_service master master 5001
    fi
}

# --- Machines -----------------------------------------------------------------------------------

update_distributed() {
    source "$registry_folder/over-ssh.sh"
    need_ssh
    say "[1/4] brings the files to ${machines[*]}"
    reach
    bring_files
    say "[2/4] slaves"
    local number=0 address
    for address in "${slaves[@]}"; do
        number=$((number + 1))
        say " esclavo$number on $address"
        if [ -z "$dry" ] && there "$address" "esclavo$number" 'current slave'; then
            say "  nothing to do: it runs it already"
            continue
        fi
        run machine "$MAESTRO_IP" "esclavo$number" drain </dev/null
        run machine "$address" "esclavo$number" slave </dev/null
        [ -n "$dry" ] || until_well 120 "esclavo$number is ready" there "$MAESTRO_IP" "esclavo$number" ready
    done
    say "[3/4] memorias"
    run machine "$MAESTRO_IP" maestro memorias </dev/null
    say "[4/4] master"
    if [ -z "$dry" ] && there "$MAESTRO_IP" maestro 'current master'; then
        say "  nothing to do: it runs it already"
    elif [ -z "$with_master" ]; then
        say "  stays, with the jobs that it has: update.sh --distributed --master replaces it when there are none"
    else
        run machine "$MAESTRO_IP" maestro no-jobs </dev/null
        run machine "$MAESTRO_IP" maestro master </dev/null
    fi
}

# machine.sh there, which only answers yes or no.
there() { machine "$@" </dev/null >/dev/null 2>&1; }

say "pushes $HPC_VERSION to $HPC_REGISTRY"
"$registry_folder/push.sh" ${dry:+--dry-run}
if [ -n "$distributed" ]; then update_distributed; else update_one_host; fi
say "all nodes that were to be replaced run $HPC_VERSION"

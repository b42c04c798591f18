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
    --master       the master, too, if no job waits or runs: it forgets those that have ended, and
                   results that nobody has fetched
    --dry-run      prints what it would do, and does nothing
    --help         this text
Variables: HPC_REGISTRY, HPC_VERSION, HPC_DRAIN_S: how long a slave may take to end what it runs
(300 s); after that it is stopped, and what it still runs is run again elsewhere; HPC_READY_S: how
long a new node may take (120 s). With --distributed also those of deploy-distributed.sh.
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
if [ -n "$distributed" ]; then other_cluster && settings 192.168.56.1:5000 1; else settings 127.0.0.1:5000; fi
HPC_DRAIN_S=$(setting HPC_DRAIN_S 300)
HPC_READY_S=${HPC_READY_S:-120}
check HPC_DRAIN_S '^[0-9]+$' 'whole seconds'
need_docker
[ -n "$dry" ] || need_registry

# --- This host ----------------------------------------------------------------------------------

# The containers of a service that run (or are paused); with a state those that are in it.
containers() {
    docker ps --quiet ${2:+--all --filter "status=$2"} \
        --filter "label=com.docker.compose.project=$COMPOSE_PROJECT_NAME" \
        --filter "label=com.docker.compose.service=$1"
}
hostname_of() { docker inspect -f '{{.Config.Hostname}}' "$1"; }
in_master() { docker exec "$master" "$@"; }

update_one_host() {
    master=$(containers master)
    [ -n "$master" ] || fail 'no cluster runs here: start it (registry/full-deploy.sh), or say --distributed'
    say "[1/4] pulls"
    run "${one_host[@]}" pull --quiet ||
        fail "$HPC_REGISTRY: the images can't be pulled: what went wrong stands above"
    local id service
    for service in master memoria1 memoria2 slave; do
        for id in $(containers "$service"); do
            tell_version "$service in $id" "$id" "$(image "${service%[12]}")"
        done
    done
    may_mix
    say "[2/4] slaves"
    update_slaves
    say "[3/4] memorias"
    update_service memoria1 memoria 5003
    update_service memoria2 memoria 5004
    say "[4/4] master"
    update_master
    # Compose by hand means these images from now on.
    [ -n "$dry" ] || remember HPC_VERSION
}

# Nodes that the master would refuse come after it.
may_mix() {
    if [ -n "$dry" ] || runs "$master" "$(image master)" || mixes "$(image master)"; then return; fi
    [ -n "$with_master" ] ||
        fail "$mixed: it would refuse them by name: when no job is there, update.sh --master replaces the master first"
    say "  $mixed: the master comes first"
    update_master
}

update_slaves() {
    local old=() id new host
    for id in $(containers slave); do
        runs "$id" "$(image slave)" || old+=("$id")
    done
    [ ${#old[@]} -gt 0 ] || say "  nothing to do: they run it already"
    # One that was stopped would be started again instead of a new one.
    for id in $(containers slave exited) $(containers slave created); do
        say "  a slave that was stopped is taken away"
        forget "$id" "$(name_in "$id")"
    done
    for id in "${old[@]+"${old[@]}"}"; do
        # One more first, so that there are never fewer than there were.
        new=$(start_slave)
        if [ -z "$dry" ]; then
            host=$(hostname_of "$new")
            within "$HPC_READY_S" is_ready "$host" || take_back "$new"
            say "  $(slave_like "$host" | cut -d ' ' -f 1) is ready"
        fi
        replace_slave "$id"
    done
}

# Start one more slave; prints its container.
start_slave() {
    local before count
    before=$(containers slave)
    count=$(($(wc -w <<<"$before") + 1))
    run "${one_host[@]}" up -d --no-deps --no-recreate --scale "slave=$count" slave >&2 ||
        fail 'one more slave does not start: what went wrong stands above; nothing was taken away'
    containers slave | grep -vxF "$before" | head -n 1 || true
}

# A new slave that is of no use goes again, and all is as it was.
take_back() {
    docker logs --tail 15 "$1" >&2 || true
    run docker rm --force --volumes "$1" >/dev/null
    fail "the new slave was not ready after $HPC_READY_S s, and is taken away; its last words stand above. The slaves that ran run on"
}

replace_slave() {
    local host name
    host=$(hostname_of "$1")
    name=$(name_in "$1")
    if [ -n "$dry" ]; then
        say "  would drain the slave in $host, and then:"
    else
        drain "$host" "$HPC_DRAIN_S"
    fi
    run docker stop --time 30 "$1" >/dev/null
    forget "$1" "$name"
}

# The name of the slave in a container, if the master knows it still.
name_in() {
    local told
    [ -n "$dry" ] || ! told=$(slave_like "$(hostname_of "$1")") || echo "${told%% *}"
}

# Remove a container that has ended. Its key goes with its volume: nobody is to come with it again.
forget() {
    run docker rm --volumes "$1" >/dev/null
    [ -z "$2" ] || in_master hpczmq keys revoke "$2" >/dev/null 2>&1 || true
}

# A node that is replaced in its place: SERVICE ROLE PORT
update_service() {
    local id
    id=$(containers "$1")
    if runs "$id" "$(image "$2")"; then
        say "  $1: nothing to do: it runs it already"
        return
    fi
    run "${one_host[@]}" up -d --no-deps "$1" || fail "$1: does not start: what went wrong stands above"
    [ -n "$dry" ] || until_well "$HPC_READY_S" "$1 answers" "${one_host[@]}" exec -T "$1" hpczmq ping "127.0.0.1:$3"
}

update_master() {
    if runs "$master" "$(image master)"; then
        say "  nothing to do: it runs it already"
    elif [ -z "$with_master" ]; then
        say "  stays, with the jobs that it has: update.sh --master replaces it when there are none"
        say "  (docker compose up would, too, whatever runs: say --no-recreate)"
    else
        no_jobs
        update_service master master 5001
        [ -n "$dry" ] || master=$(containers master)
    fi
}

# --- Machines -----------------------------------------------------------------------------------

update_distributed() {
    source "$registry_folder/over-ssh.sh"
    need_ssh
    say "[1/4] brings the files to ${machines[*]}"
    reach
    bring_files
    local number=0 address
    for address in "${machines[@]}"; do
        say " $address"
        [ -n "$dry" ] || ask_machine "$address" '' versions || fail "$address: does not tell what it runs: see above"
    done
    if [ -z "$dry" ] && ! there "$MAESTRO_IP" maestro mixes; then
        # Nodes that the master would refuse come after it. What is wrong is said once more.
        [ -n "$with_master" ] || ask_machine "$MAESTRO_IP" maestro mixes || exit 1
        say "  the master comes first: it would refuse the others"
        update_distant_master
    fi
    say "[2/4] slaves"
    for address in "${slaves[@]}"; do
        number=$((number + 1))
        say " esclavo$number on $address"
        if [ -z "$dry" ] && there "$address" "esclavo$number" 'current slave'; then
            say "  nothing to do: it runs it already"
            continue
        fi
        machine "$MAESTRO_IP" "esclavo$number" drain </dev/null || fail "esclavo$number: can't be drained: see above"
        machine "$address" "esclavo$number" slave </dev/null ||
            fail "$address: what went wrong stands above; until it is mended the slave gets nothing (hpczmq drain --undo esclavo$number)"
        [ -n "$dry" ] || until_well "$HPC_READY_S" "esclavo$number is ready" there "$MAESTRO_IP" "esclavo$number" ready
    done
    say "[3/4] memorias"
    if [ -z "$dry" ] && there "$MAESTRO_IP" maestro 'current memorias'; then
        say "  nothing to do: they run it already"
    else
        machine "$MAESTRO_IP" maestro memorias </dev/null || fail "$MAESTRO_IP: what went wrong stands above"
    fi
    say "[4/4] master"
    update_distant_master
}

update_distant_master() {
    if [ -z "$dry" ] && there "$MAESTRO_IP" maestro 'current master'; then
        say "  nothing to do: it runs it already"
    elif [ -z "$with_master" ]; then
        say "  stays, with the jobs that it has: update.sh --distributed --master replaces it when there are none"
    else
        machine "$MAESTRO_IP" maestro no-jobs </dev/null || exit 1
        machine "$MAESTRO_IP" maestro master </dev/null || fail "$MAESTRO_IP: what went wrong stands above"
    fi
}

# machine.sh there, which only answers yes or no.
there() { ask_machine "$@" >/dev/null 2>&1; }

say "pushes $HPC_VERSION to $HPC_REGISTRY"
"$registry_folder/push.sh" ${dry:+--dry-run}
if [ -n "$distributed" ]; then update_distributed; else update_one_host; fi
done_is "all nodes that were to be replaced run $HPC_VERSION"

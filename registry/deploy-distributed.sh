#!/usr/bin/env bash
# The cluster on machines that are there: over ssh, from the host that has the registry.
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

usage() {
    cat <<'TEXT'
usage: deploy-distributed.sh [--dry-run]

Deploys the cluster to machines that run Docker and let $HPC_SSH_USER (vagrant) in by ssh, with
sudo: the master and both memorias to $MAESTRO_IP (192.168.56.10), a slave each to the
$HPC_SLAVES (1) addresses behind it (.11, .12, …). The registry runs and has the images: see
start.sh, build-all-images.sh, push.sh. Run again, it brings what runs to what is here; jobs of a
master that is replaced are gone (update.sh --distributed goes gently instead).

    --dry-run   prints what it would do, and does nothing
    --help      this text
Variables: HPC_REGISTRY, HPC_VERSION, HPC_NET, HPC_SLAVES, MAESTRO_IP, HPC_SSH_USER;
HPC_SSH_OPTIONS, of ssh and scp (-i KEY, -F FILE); HPC_SLAVE_ADDRESSES, if they are others.
deploy-distributed.ps1 does the same steps on Windows.
TEXT
}

option() { return 1; }

options "$@"
other_cluster
settings 192.168.56.1:5000 1
source "$registry_folder/over-ssh.sh"

say "[1/7] tools, registry"
need_ssh
[ -n "$dry" ] || need_registry

say "[2/7] reaches each machine: ${machines[*]}"
reach

say "[3/7] brings the files"
bring_files

say "[4/7] the master and the memorias on $MAESTRO_IP"
machine "$MAESTRO_IP" maestro master </dev/null || fail "$MAESTRO_IP: what went wrong stands above"

say "[5/7] what the slaves join by"
joins=''
[ -n "$dry" ] || joins=$(ask_machine "$MAESTRO_IP" maestro join) ||
    fail "$MAESTRO_IP: does not tell what slaves join by: see above"
number=0
for address in "${slaves[@]}"; do
    number=$((number + 1))
    say "[6/7] esclavo$number on $address"
    machine "$address" "esclavo$number" slave <<<"$joins" || fail "$address: what went wrong stands above"
done

say "[7/7] waits until each slave is ready, and takes the admin's key"
[ -z "$dry" ] || exit 0
for number in $(seq ${#slaves[@]}); do
    until_well "${HPC_READY_S:-120}" "esclavo$number is ready" ask_machine "$MAESTRO_IP" "esclavo$number" ready
done
key=$HPC_SECRETS/admin-$MAESTRO_IP.key
(umask 077 && mkdir -p "$HPC_SECRETS" && ask_on "$MAESTRO_IP" "sudo -n cat /opt/hpczmq/secrets/admin.key" </dev/null >"$key.new" && mv "$key.new" "$key") ||
    fail "$MAESTRO_IP: does not give the admin's key: see above"
ask_machine "$MAESTRO_IP" maestro status
say "use it from here: HPCZMQ_KEY=$key hpczmq status --master $MAESTRO_IP"

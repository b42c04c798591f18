# Machines over ssh; sourced after common.sh and `settings` by what works on them from the host.
# shellcheck shell=bash disable=SC2154,SC2029 # common.sh has root; all is put together here

user=$(setting HPC_SSH_USER vagrant)
ssh_options=(-o BatchMode=yes -o ConnectTimeout=10)
read -r -a more_options <<<"$(setting HPC_SSH_OPTIONS '')"
ssh_options+=("${more_options[@]+"${more_options[@]}"}")
read -r -a slaves <<<"${HPC_SLAVE_ADDRESSES:-}"
if [ ${#slaves[@]} -eq 0 ]; then
    [ "$HPC_SLAVES" -le 244 ] || fail "HPC_SLAVES = $HPC_SLAVES: must be at most 244: the network has no more addresses behind .10" 2
    for number in $(seq "$HPC_SLAVES"); do slaves+=("$HPC_NET.$((10 + number))"); done
fi
machines=("$MAESTRO_IP" "${slaves[@]}")
# In the user's home: what root runs from there nobody else may change.
bundle=hpczmq-deploy

# A command there, and one that only asks; standard input goes there, too.
on() { run ssh "${ssh_options[@]}" "$user@$1" "$2"; }
ask_on() { ssh "${ssh_options[@]}" "$user@$1" "$2"; }

# machine.sh there, with the settings of here: machine ADDRESS NAME WHAT
machine() { on "$1" "$(machine_command "$2" "$3")"; }
ask_machine() { ask_on "$1" "$(machine_command "$2" "$3")" </dev/null; }
machine_command() {
    echo "sudo -n env HPC_REGISTRY=$HPC_REGISTRY HPC_VERSION=$HPC_VERSION MAESTRO_IP=$MAESTRO_IP HPC_DRAIN_S=${HPC_DRAIN_S:-300} ESCLAVO=$1 bash $bundle/registry/machine.sh $2"
}

need_ssh() {
    need ssh 'Debian: apt-get install openssh-client'
    need scp 'Debian: apt-get install openssh-client'
}

reach() {
    local address
    for address in "${machines[@]}"; do
        on "$address" 'sudo -n docker info >/dev/null' </dev/null ||
            fail "$address: can't be used: let $user in by ssh with a key (HPC_SSH_USER, HPC_SSH_OPTIONS) and know that host (ssh-keyscan), with sudo without a password, and have Docker run there"
    done
}

# What machine.sh needs there, beside it.
bring_files() {
    local address file files
    files=(registry/{common,cluster,machine,trust}.sh dockerfiles/{compose.yaml,keys.sh})
    [ ! -f "$registry_folder/certs/registry.crt" ] || files+=(registry/certs/registry.crt)
    for address in "${machines[@]}"; do
        on "$address" "rm -rf $bundle && mkdir -p -m 700 $bundle && mkdir -p $bundle/registry/certs $bundle/dockerfiles" </dev/null ||
            fail "$address: $bundle can't be made there: is there room in the home of $user?"
        for file in "${files[@]}"; do
            run scp -q "${ssh_options[@]}" "$root/$file" "$user@$address:$bundle/$file" ||
                fail "$address: $file can't be brought there: is there room in the home of $user?"
        done
    done
}

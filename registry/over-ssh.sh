# Machines over ssh; sourced after common.sh and `settings` by what works on them from the host.
# shellcheck shell=bash disable=SC2154 # common.sh has root and registry_folder

user=$(setting HPC_SSH_USER vagrant)
read -r -a ssh_options <<<"$(setting HPC_SSH_OPTIONS '')"
read -r -a slaves <<<"${HPC_SLAVE_ADDRESSES:-}"
if [ ${#slaves[@]} -eq 0 ]; then
    for number in $(seq "$HPC_SLAVES"); do slaves+=("$HPC_NET.$((10 + number))"); done
fi
machines=("$MAESTRO_IP" "${slaves[@]}")
bundle=/tmp/hpczmq-deploy

# A command there; standard input goes there, too.
on() { ssh -o BatchMode=yes -o ConnectTimeout=10 "${ssh_options[@]+"${ssh_options[@]}"}" "$user@$1" "$2"; }

# machine.sh there, with the settings of here: machine ADDRESS NAME WHAT
machine() {
    on "$1" "sudo -n env HPC_REGISTRY=$HPC_REGISTRY HPC_VERSION=$HPC_VERSION MAESTRO_IP=$MAESTRO_IP ESCLAVO=$2 bash $bundle/registry/machine.sh $3"
}

need_ssh() {
    need ssh 'Debian: apt-get install openssh-client'
    need scp 'Debian: apt-get install openssh-client'
}

reach() {
    local address
    for address in "${machines[@]}"; do
        run on "$address" 'sudo -n docker info >/dev/null' </dev/null ||
            fail "$address: can't be used: let $user in by ssh with a key (HPC_SSH_USER, HPC_SSH_OPTIONS), with sudo without a password, and have Docker run there"
    done
}

# What machine.sh needs there, beside it.
bring_files() {
    local address file files
    files=(registry/{common,cluster,machine,trust}.sh dockerfiles/{compose.yaml,keys.sh})
    [ ! -f "$registry_folder/certs/registry.crt" ] || files+=(registry/certs/registry.crt)
    for address in "${machines[@]}"; do
        run on "$address" "rm -rf $bundle && mkdir -p $bundle/registry/certs $bundle/dockerfiles" </dev/null
        for file in "${files[@]}"; do
            run scp -q -o BatchMode=yes "${ssh_options[@]+"${ssh_options[@]}"}" "$root/$file" "$user@$address:$bundle/$file" ||
                fail "$address: $file can't be brought there: is there room in /tmp?"
        done
    done
}

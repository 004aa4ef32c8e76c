# Completion of popward's command line for bash: /usr/share/bash-completion/completions/popward.
_popward() {
    local now=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD - 1]} words="" files=""
    case $before in
        --config | -c) files=yes ;;
        --uidl) words="native x-uidl popa3d solid-pop3d tpop3d dovecot-md5 dovecot uw" ;;
        --scheme) words="SCRAM-SHA-256 SCRAM-SHA-1 CRAM-MD5 ARGON2ID PLAIN" ;;
        --pid | --wait | --iterations) ;;
        *)
            case ${COMP_WORDS[1]}:$COMP_CWORD in
                *:1) words="config reload spool secret import-popauth --config --check --help --version" ;;
                config:*) words="-n --config --help" ;;
                reload:*) words="--pid --wait --help" ;;
                spool:*) words="--uidl --json --help --version" files=yes ;;
                secret:*) words="--scheme --iterations --stand-in --help" ;;
                import-popauth:*) words="--help" files=yes ;;
                *) words="--config --check --help --version" ;;
            esac
            ;;
    esac
    COMPREPLY=()
    local word
    while read -r word; do COMPREPLY+=("$word"); done < <(
        compgen -W "$words" -- "$now" || true
        if [ "$files" ] && [[ $now != -* ]]; then compgen -f -- "$now" || true; fi
    )
}
complete -o filenames -F _popward popward

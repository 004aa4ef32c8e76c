# Completion of popwardctl's command line for bash: /usr/share/bash-completion/completions/popwardctl.
_popwardctl() {
    local now=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD - 1]} words="" files="" users=""
    case $before in
        --config | -c) files=yes ;;
        --from)
            words="dovecot qpopper"
            if [[ ${COMP_WORDS[1]} = adopt ]]; then words="x-uidl popa3d solid-pop3d tpop3d dovecot-md5 dovecot uw"; fi
            ;;
        --passwords) files=yes ;;
        --jobs | --verify | --master) ;;
        --uidl) words="native x-uidl popa3d solid-pop3d tpop3d dovecot-md5 dovecot uw" ;;
        --scheme) words="SCRAM-SHA-256 SCRAM-SHA-1 CRAM-MD5 ARGON2ID PLAIN" ;;
        --iterations) ;;
        --user) users=yes ;;
        *)
            case ${COMP_WORDS[1]}:$COMP_CWORD in
                *:1) words="status sessions top kick user adopt index recover import-config spool secret --help --version" ;;
                adopt:*) words="--user --all --from --dry-run --jobs --verify --passwords --master --json --config --help" ;;
                index:2) words="check rebuild" ;;
                index:*) words="--all --json --config --help" users=yes ;;
                recover:*) words="--all --json --config --help" users=yes ;;
                import-config:*) words="--from --help" files=yes ;;
                status:*) words="--json --help" ;;
                sessions:*) words="--json --help" ;;
                top:*) words="--help" ;;
                kick:*) words="--user --help" ;;
                user:*) words="--json --config --help" users=yes ;;
                spool:*) words="--uidl --json --help --version" files=yes ;;
                secret:*) words="--scheme --iterations --stand-in --help" ;;
            esac
            ;;
    esac
    COMPREPLY=()
    local word
    while read -r word; do COMPREPLY+=("$word"); done < <(
        compgen -W "$words" -- "$now" || true
        if [[ $now != -* ]]; then
            if [ "$files" ]; then compgen -f -- "$now" || true; fi
            if [ "$users" ]; then compgen -u -- "$now" || true; fi
        fi
    )
}
complete -o filenames -F _popwardctl popwardctl

#compdef popwardctl
# Completion of popwardctl's command line for zsh: a file _popwardctl in $fpath.
_popwardctl() {
    local context state line
    _arguments -C \
        '(-h --help)'{-h,--help}'[print the options]' \
        '--version[print the version]' \
        '1:command:((status\:"show the running server" sessions\:"show who has a maildrop open" top\:"show both, anew every two seconds" kick\:"end sessions" user\:"show one account end to end" adopt\:"give users the UIDLs of the server before" index\:"compare indexes with spools, or write them anew" recover\:"finish updates that a crash broke off" import-config\:"make popward.toml of the configuration of another server" spool\:"show what popward reads in a file" secret\:"make a line for a password file"))' \
        '*::argument:->arguments'
    [[ $state == arguments ]] || return
    case ${line[1]} in
        status)
            _arguments '--json[print JSON]' '--help[print the options]'
            ;;
        sessions)
            _arguments '--json[print JSON]' '--help[print the options]'
            ;;
        top)
            _arguments '--help[print the options]'
            ;;
        kick)
            _arguments '--user[all sessions of a user]:account:_users' '--help[print the options]' '1:session:'
            ;;
        user)
            _arguments '--json[print JSON]' '(-c --config)'{-c,--config}'[the configuration]:file:_files' \
                '--help[print the options]' '1:account:_users'
            ;;
        adopt)
            _arguments '*--user[this user]:account:_users' '--all[all users]' \
                '--from[the servers before]:scheme:(x-uidl popa3d solid-pop3d tpop3d dovecot-md5 dovecot uw)' \
                '--dry-run[write nothing]' '--jobs[so many users at once]:number:' \
                '--verify[compare with the old server]:host and port:' '--passwords[lines of USER\:PASSWORD]:file:_files' \
                '--master[what follows each name in a login there]:suffix:' '--json[print JSON]' \
                '(-c --config)'{-c,--config}'[the configuration]:file:_files' '--help[print the options]'
            ;;
        index)
            _arguments '1:work:(check rebuild)' '--all[all users]' '--json[print JSON]' \
                '(-c --config)'{-c,--config}'[the configuration]:file:_files' '--help[print the options]' '*:account:_users'
            ;;
        recover)
            _arguments '--all[all users]' '--json[print JSON]' \
                '(-c --config)'{-c,--config}'[the configuration]:file:_files' '--help[print the options]' '*:account:_users'
            ;;
        import-config)
            _arguments '--from[the server before]:server:(dovecot qpopper)' '--help[print the options]' '1:file:_files'
            ;;
        spool)
            _arguments '--uidl[UIDLs by the first of these that has one]:scheme:(native x-uidl popa3d solid-pop3d tpop3d dovecot-md5 dovecot uw)' \
                '--json[print JSON]' '--help[print the options]' '--version[print the version]' '*:file:_files'
            ;;
        secret)
            _arguments '--scheme[how the secret is kept]:scheme:(SCRAM-SHA-256 SCRAM-SHA-1 CRAM-MD5 ARGON2ID PLAIN)' \
                '--iterations[rounds for SCRAM]:number:' '--stand-in[print a line for users that are not in the file]' '--help[print the options]'
            ;;
    esac
}
_popwardctl "$@"

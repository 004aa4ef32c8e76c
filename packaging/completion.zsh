#compdef popward
# Completion of popward's command line for zsh: a file _popward in $fpath.
_popward() {
    local context state line
    _arguments -C \
        '(-c --config)'{-c,--config}'[the configuration]:file:_files' \
        '--check[check the configuration, start nothing]' \
        '(-h --help)'{-h,--help}'[print the options]' \
        '--version[print the version]' \
        '1:command:((config\:"print the configuration in force" reload\:"read the configuration again" spool\:"show what popward reads in a file" secret\:"make a line for a password file" import-popauth\:"read the passwords of Qpopper"))' \
        '*::argument:->arguments'
    [[ $state == arguments ]] || return
    case ${line[1]} in
        config)
            _arguments '-n[print only what differs from the defaults]' \
                '--config[the configuration]:file:_files' '--help[print the options]'
            ;;
        reload)
            _arguments '--pid[the process of the server]:process id:' '--wait[how long to wait]:seconds:' '--help[print the options]'
            ;;
        spool)
            _arguments '--uidl[UIDLs by the first of these that has one]:scheme:(native x-uidl popa3d solid-pop3d tpop3d dovecot-md5 dovecot uw)' \
                '--json[print JSON]' '--help[print the options]' '--version[print the version]' '*:file:_files'
            ;;
        secret)
            _arguments '--scheme[how the secret is kept]:scheme:(SCRAM-SHA-256 SCRAM-SHA-1 CRAM-MD5 ARGON2ID PLAIN)' \
                '--iterations[rounds for SCRAM]:number:' '--stand-in[print a line for users that are not in the file]' '--help[print the options]'
            ;;
        import-popauth)
            _arguments '--help[print the options]' '*:file:_files'
            ;;
    esac
}
_popward "$@"

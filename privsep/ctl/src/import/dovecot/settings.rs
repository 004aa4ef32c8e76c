//! Dovecot's settings for which popward needs no line, or has no equal.

/// Settings that popward needs no line for.
pub(super) const SAME: &[(&[&str], &str)] = &[
    (
        &["mbox_read_locks", "mbox_write_locks"],
        "A session takes all locks (spool.locks), and holds them to its end.",
    ),
    (
        &["mbox_lock_timeout"],
        "spool.lock_timeout is 10 s: no client waits for minutes.",
    ),
    (&["pop3_lock_session"], "Always."),
    (&["pop3_no_flag_updates"], "Always: reading does not write."),
    (
        &["pop3_uidl_duplicates"],
        "Equal UIDLs get -2, -3 and so on, as with `rename`.",
    ),
    (
        &[
            "syslog_facility",
            "log_path",
            "info_log_path",
            "debug_log_path",
        ],
        "See [log]; the facility is mail.",
    ),
    (
        &["ssl_client_ca_dir", "ssl_client_ca_file"],
        "popward opens no connection to other servers.",
    ),
    (
        &["ssl_dh", "ssl_server_dh_file"],
        "No key exchange of popward needs it.",
    ),
    (
        &["mail_driver", "mail_path"],
        "spool.path is the path of INBOX.",
    ),
    (
        &["dovecot_config_version", "dovecot_storage_version"],
        "It is Dovecot's own.",
    ),
];

/// Settings that have no equal.
pub(super) const LEFT_OUT: &[(&[&str], &str)] = &[
    (&["pop3_enable_last"], "RFC 1725 replaced LAST with UIDL."),
    (
        &["pop3_delete_type", "pop3_deleted_flag"],
        "QUIT removes deleted messages.",
    ),
    (&["pop3_client_workarounds"], "popward rewrites no message."),
    (&["mail_plugins"], "Plugins are Dovecot's."),
    (
        &[
            "login_log_format",
            "login_log_format_elements",
            "pop3_logout_format",
        ],
        "docs/log.md has the form.",
    ),
    (
        &["login_trusted_networks"],
        "It has three meanings: proxy.xclient, proxy.plaintext, auth.source_exempt. Set those that are meant.",
    ),
    (
        &["ssl_cipher_list", "ssl_cipher_suites", "ssl_curve_list"],
        "TLS has what is safe today.",
    ),
    (
        &["ssl_key_password", "ssl_server_key_password"],
        "Keys have no passphrase.",
    ),
    (
        &["ssl_ca", "ssl_server_ca_file"],
        "Write it into tls.client_ca if clients show certificates.",
    ),
    (
        &[
            "ssl_verify_client_cert",
            "ssl_server_request_client_cert",
            "auth_ssl_username_from_cert",
        ],
        "See tls.client_ca and auth.certificate_user.",
    ),
    (
        &["auth_master_user_separator"],
        "Nobody logs in as another.",
    ),
    (&["protocols"], "It does not have pop3."),
];

/// How the names of settings of other protocols begin.
pub(super) const OTHER_PROTOCOLS: &[&str] = &[
    "imap",
    "lmtp",
    "lda_",
    "submission",
    "sieve",
    "managesieve",
    "quota",
    "doveadm",
    "postmaster",
];

/// Why a whole section has no equal.
pub(super) fn of_section(kind: &str) -> &'static str {
    match kind {
        "namespace" | "mailbox" => "POP3 has one mailbox.",
        "protocol" | "service" => "Of another protocol, or of a process of Dovecot.",
        "plugin" => "Plugins are Dovecot's.",
        "local_name" | "local" => {
            "popward chooses a certificate by the names in it: add a [[certificate]]."
        }
        "remote" => "popward has no settings for networks.",
        _ => "popward has no such section.",
    }
}

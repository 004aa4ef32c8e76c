use super::*;
use crate::load::from_text;
use crate::names::Names;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

/// A directory with all files that a configuration can name. `@` in a text is its path.
struct Place(tempfile::TempDir);

impl Place {
    fn new() -> Self {
        let place = Self(tempfile::tempdir().unwrap());
        let mode = |path: &str, mode| {
            let mode = PermissionsExt::from_mode(mode);
            std::fs::set_permissions(place.0.path().join(path), mode).unwrap();
        };
        mode("", 0o755);
        std::fs::create_dir(place.0.path().join("state")).unwrap();
        mode("state", 0o711);
        let parts = [
            "monitor",
            "sessions",
            "log",
            "adopt",
            "front",
            "auth",
            "auth-pam",
            "auth-program",
            "auth-proof",
            "keys",
            "worker",
        ];
        let files = parts.map(|part| format!("popward-{part}"));
        for file in files.iter().map(String::as_str).chain(["users", "list"]) {
            std::fs::write(place.0.path().join(file), "").unwrap();
            mode(file, 0o711);
        }
        let made = Command::new("openssl")
            .args([
                "req",
                "-x509",
                "-newkey",
                "ec",
                "-pkeyopt",
                "ec_paramgen_curve:P-256",
                "-nodes",
            ])
            .args([
                "-subj",
                "/CN=mail.example",
                "-keyout",
                "key.pem",
                "-out",
                "chain.pem",
            ])
            .current_dir(place.0.path())
            .output();
        assert!(made.unwrap().status.success());
        mode("key.pem", 0o600);
        mode("chain.pem", 0o644);
        place
    }

    fn load(&self, text: &str) -> Config {
        let text = text.replace('@', self.0.path().to_str().unwrap());
        let host = Host::this(Names::of_a_thread());
        from_text(Path::new("/c.toml"), &text, &host).unwrap()
    }
}

/// What popward-config hands over.
fn handed_over(config: &Config) -> String {
    let (base, auth, tables) = (&config.base, &config.auth, &config.tables);
    let (supervisor, sessions) = (&config.supervisor, &config.sessions);
    let authorities = config.client_ca.as_ref().map(|(path, _)| path);
    let paths = config.certificates.iter();
    let paths: Vec<_> = paths.map(|both| (&both.chain.0, &both.key.0)).collect();
    let members = &config.members;
    format!(
        "{supervisor:#?}\n{sessions:#?}\n{base:#?}\n{auth:#?}\n{tables:#?}\n{members:#?}\n{authorities:#?}\n{paths:#?}"
    )
}

/// What a configuration needs on a host without popward's users and files.
const NEEDED: &str = "[server]\nlibexec = \"@\"\nstate = \"@/state\"\n\
    [accounts]\nfront = 64101\nauth = 64102\nkeys = 64103\nprogram = 64104\npam = 64105\n\
    [auth]\npasswd_file = \"@/users\"\n";

/// Configurations that set many keys, to come behind [`NEEDED`].
const RICH: [&str; 3] = [
    "allow_file = \"@/list\"\ntrim_domain = [\"example.org\", \"*\"]\ngroups = [\"mail\", 7]\n\
     login_delay = \"90s\"\nsource_exempt = []\nconversations = 1024\nlower_case = true\n\
     mechanisms = [\"scram-sha-256\"]\n\
     [limits]\nconnections = 100\nyield_to_newcomer = \"never\"\nrate = \"0B\"\nopen = \"4s\"\n\
     connections_per_address = 3\nsession = \"1d\"\n\
     [[account]]\nusers = [\"alice\"]\nspool.path = \"{home}/m \\\"\\\\box\"\nspool.hide = []\n\
     [[account]]\ngroups = [\"mail\", 65]\nlimits.sessions_per_user = 1\nauth.login_delay = \"0s\"\n",
    "[auth.oauth2]\nprogram = \"@/popward-auth\"\n\
     [tls]\nclient_ca = \"@/chain.pem\"\nminimum = \"1.3\"\nticket_rotation = \"0s\"\n\
     [[certificate]]\nchain = \"@/chain.pem\"\nkey = \"@/key.pem\"\n\
     [[certificate]]\nchain = \"@/chain.pem\"\nkey = \"@/key.pem\"\n\
     [[listen]]\naddress = \"[::]:995\"\ntls = true\n\
     [[listen]]\naddress = \"127.0.0.1:110\"\nproxy = \"only\"\n\
     [proxy]\nnetworks = [\"192.0.2.0/24\", \"::1\"]\nheader = \"1500ms\"\n",
    "[auth.oauth2]\nkeys = \"@/list\"\nissuer = \"i\"\naudience = \"a\"\nscope = [\"one\", \"two\"]\n\
     [spool]\npath = \"@/{user:1}/{user}\"\ngroup = \"mail\"\nlocks = [\"fcntl\"]\nlock_timeout = \"7s\"\n\
     hide = [\"lines\"]\n[adopt]\nfrom = [\"popa3d\", \"x-uidl\"]\n\
     [pop3]\ngreeting = \"hello\"\nimplementation = \"\"\nutf8 = \"off\"\nlanguage = \"de\"\n\
     [log]\nto = \"syslog\"\nlevel = \"debug\"\nqpopper = true\n",
];

/// The example, with the users and files of the tests.
fn example() -> String {
    let text = include_str!("../../../../packaging/popward.toml");
    let changed = text
        .replace("source = \"pam\"", "passwd_file = \"@/users\"")
        .replace("/etc/popward/", "@/")
        .replace(
            "[server]\n",
            "[server]\nlibexec = \"@\"\nstate = \"@/state\"\n",
        )
        .replace(
            "[accounts]\n",
            "[accounts]\nfront = 64101\nauth = 64102\nkeys = 64103\n",
        );
    assert_eq!(changed.lines().count(), text.lines().count() + 5);
    changed
}

#[test]
fn the_printed_configuration_has_the_same_effect() {
    let place = Place::new();
    let rich = RICH.map(|text| format!("{NEEDED}{text}"));
    let hasty = format!("{NEEDED}[limits]\nopen = \"0s\"\n");
    for text in rich
        .into_iter()
        .chain([NEEDED.to_owned(), example(), hasty])
    {
        let config = place.load(&text);
        let expected = handed_over(&config);
        for only_changed in [false, true] {
            let file = place.load(&text).file;
            let printed = super::printed(*file, only_changed).unwrap();
            let again = place.load(&printed);
            assert_eq!(handed_over(&again), expected, "{printed}");
            assert_eq!(super::printed(*again.file, only_changed).unwrap(), printed);
        }
    }
}

#[test]
fn only_what_differs_from_the_defaults_is_printed_with_n() {
    let printed = |text: &str| super::printed(toml::from_str(text).unwrap(), true).unwrap();
    for nothing in [
        "",
        "[limits]\nlogin = \"180s\"\nrate = \"64B\"\n",
        "listen = []\n[auth]\ngroups = []\n",
    ] {
        assert_eq!(printed(nothing), "");
    }
    let text = "[limits]\nconnections = 800\nopen = \"120s\"\n[proxy]\nconnections = 512\n\
        [auth]\nsource_exempt = []\n[[listen]]\naddress = \"[::]:110\"\n\
        [[account]]\nusers = [\"bob\"]\nspool.lock_timeout = \"10s\"\n";
    let expected = "[[account]]\nusers = [\"bob\"]\n\n[account.spool]\nlock_timeout = \"10s\"\n\n\
        [auth]\nsource_exempt = []\n\n[limits]\nconnections = 800\nopen = \"2m\"\n\n\
        [[listen]]\naddress = \"[::]:110\"\n";
    assert_eq!(printed(text), expected);
}

#[test]
fn defaults_that_follow_from_other_keys_are_printed() {
    let text = "[limits]\nconnections = 800\nconnections_per_address = 5\nopen = \"4s\"\n";
    let printed = super::printed(toml::from_str(text).unwrap(), false).unwrap();
    for line in [
        "unauthenticated = 700",
        "connections_per_prefix = 40",
        "lock_timeout = \"3s\"",
    ] {
        assert!(
            printed.contains(&format!("\n{line}\n")),
            "{line}: {printed}"
        );
    }
}

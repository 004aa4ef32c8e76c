use super::*;
use crate::load::load;
use crate::names::Names;
use std::os::unix::fs::PermissionsExt;

/// A configuration and the directory beside it, with the files that a test adds.
struct Place(tempfile::TempDir);

impl Place {
    fn new(main: &str) -> Self {
        let place = Self(tempfile::tempdir().unwrap());
        std::fs::create_dir(place.at("popward.toml.d")).unwrap();
        place.mode("", 0o755);
        place.mode("popward.toml.d", 0o755);
        place.write("popward.toml", main);
        place
    }

    fn at(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn mode(&self, name: &str, mode: u32) {
        std::fs::set_permissions(self.at(name), PermissionsExt::from_mode(mode)).unwrap();
    }

    fn write(&self, name: &str, text: &str) {
        std::fs::write(self.at(name), text).unwrap();
        self.mode(name, 0o644);
    }

    fn add(&self, name: &str, text: &str) {
        self.write(&format!("popward.toml.d/{name}"), text);
    }

    /// The files that are read, without the main one.
    fn names(&self) -> Vec<String> {
        let host = Host::this(Names::of_a_thread());
        let sources = Sources::read(&self.at("popward.toml"), &host).unwrap();
        let beside = sources.files.iter().skip(1);
        beside
            .map(|(path, _)| {
                path.strip_prefix(self.at("popward.toml.d"))
                    .unwrap()
                    .display()
                    .to_string()
            })
            .collect()
    }

    /// The error, with the directory of the test as `@`.
    fn error(&self, with_excerpts: bool) -> String {
        let host = Host::this(Names::of_a_thread());
        let error = load(&self.at("popward.toml"), &host).0.unwrap_err();
        let text = if with_excerpts {
            error.with_excerpts()
        } else {
            error.to_string()
        };
        text.replace(self.0.path().to_str().unwrap(), "@")
    }
}

#[test]
fn files_are_read_in_the_byte_order_of_their_names() {
    let place = Place::new("");
    assert_eq!(place.names(), [""; 0]);
    for name in [
        "b.toml",
        "B.toml",
        "10.toml",
        "9.toml",
        "\u{e9}.toml",
        "a.toml",
    ] {
        place.add(name, "");
    }
    for other in [
        ".toml",
        ".a.toml",
        "a.toml~",
        "a.TOML",
        "toml",
        "a.toml.bak",
    ] {
        place.add(other, "nonsense");
    }
    let expected = [
        "10.toml",
        "9.toml",
        "B.toml",
        "a.toml",
        "b.toml",
        "\u{e9}.toml",
    ];
    assert_eq!(place.names(), expected);
    std::fs::remove_dir_all(place.at("popward.toml.d")).unwrap();
    assert_eq!(place.names(), [""; 0], "the directory need not be there");
}

#[test]
fn tables_of_several_files_are_one_and_lists_of_tables_add_up() {
    let host = Host::this(Names::of_a_thread());
    let place = Place::new(
        "[limits]\nlogin = \"1m\"\n[[listen]]\naddress = \"a\"\n[[account]]\nusers = [\"x\"]\n",
    );
    place.add(
        "2.toml",
        "[[listen]]\naddress = \"c\"\n[auth.oauth2]\nkeys = \"k\"",
    );
    place.add("1.toml", "limits = { idle = \"2m\" }\n[[listen]]\naddress = \"b\"\n[[listen]]\naddress = \"b2\"\n[auth]\noauth2.issuer = \"i\"\n");
    let sources = Sources::read(&place.at("popward.toml"), &host).unwrap();
    let parts = sources.parts(sources.text());
    let Ok(merged) = sources.merged(&parts) else {
        panic!("merged");
    };
    let file: crate::file::File =
        serde::Deserialize::deserialize(toml::de::Deserializer::from(merged)).unwrap();
    let addresses: Vec<&String> = file
        .listen
        .iter()
        .map(|listen| listen.address.get_ref())
        .collect();
    assert_eq!(addresses, ["a", "b", "b2", "c"]);
    assert_eq!(file.limits.login.get_ref().ms, 60_000);
    assert_eq!(file.limits.idle.get_ref().ms, 120_000);
    let oauth2 = file.auth.oauth2.unwrap().into_inner();
    assert_eq!(
        (oauth2.keys.as_deref(), oauth2.issuer.as_deref()),
        (Some("k"), Some("i"))
    );
}

#[test]
fn a_key_that_two_files_set_is_a_mistake_that_names_both_places() {
    let place = Place::new("[limits]\n\nlogin = \"1m\"");
    place.add(
        "a.toml",
        "# A comment.\n[limits]\nidle = \"1m\"\nlogin = \"2m\"\n",
    );
    place.add("b.toml", "limits.idle = \"1m\"\nproxy.tls = []\n");
    place.add("c.toml", "proxy.tls = [\"::1\"]\nlimits = 3\n");
    let expected = [
        "@/popward.toml.d/a.toml:4: limits.login: expected it in one file, but @/popward.toml:3 has it too",
        "  |",
        "4 | login = \"2m\"",
        "  | ^^^^^^^^^^^^",
        "@/popward.toml.d/b.toml:1: limits.idle: expected it in one file, but @/popward.toml.d/a.toml:3 has it too",
        "  |",
        "1 | limits.idle = \"1m\"",
        "  |        ^^^^^^^^^^^",
        "@/popward.toml.d/c.toml:1: proxy.tls: expected it in one file, but @/popward.toml.d/b.toml:2 has it too",
        "  |",
        "1 | proxy.tls = [\"::1\"]",
        "  |       ^^^^^^^^^^^^^",
        "@/popward.toml.d/c.toml:2: limits: expected it in one file, but @/popward.toml:1 has it too",
        "  |",
        "2 | limits = 3",
        "  | ^^^^^^^^^^",
    ];
    let error = place.error(true);
    assert!(error.starts_with(&expected.join("\n")), "{error}");
}

#[test]
fn the_mistakes_of_all_files_are_shown_with_their_lines() {
    let place = Place::new("[limits]\nlogin = 180\n");
    place.add("a.toml", "\n[server]\nhots = \"mail\"\n");
    place.add("b.toml", "[spool]\nlock_timeout = \"1w\"\n");
    let expected = [
        "@/popward.toml:2: limits.login: expected a time with its unit, such as \"180s\"; the units are ms, s, m, h, d",
        "  |",
        "2 | login = 180",
        "  |         ^^^",
        "@/popward.toml.d/a.toml:3: unknown key hots, did you mean host?; the keys here are libexec, state, host, shutdown_grace, fronts",
        "  |",
        "3 | hots = \"mail\"",
        "  | ^^^^",
        "@/popward.toml.d/b.toml:2: spool.lock_timeout: expected a time with its unit, such as \"10s\"; the units are ms, s, m, h, d",
    ];
    let error = place.error(true);
    assert!(error.starts_with(&expected.join("\n")), "{error}");
}

#[test]
fn what_is_no_toml_is_named_in_its_file() {
    let place = Place::new("");
    place.add("a.toml", "[limits]\nlogin = perhaps\n");
    let error = place.error(false);
    assert!(error.starts_with("@/popward.toml.d/a.toml:2: "), "{error}");
}

#[test]
fn files_that_others_can_change_are_refused() {
    let owner = "and writable by nobody else, like all directories above it";
    for name in ["popward.toml", "popward.toml.d", "popward.toml.d/a.toml"] {
        let place = Place::new("");
        place.add("a.toml", "");
        place.mode(name, 0o777);
        let error = place.error(false);
        assert!(
            error.starts_with(&format!("@/{name}: expected @/{name} to be ")),
            "{error}"
        );
        assert!(error.ends_with(owner), "{error}");
    }
}

#[test]
fn only_regular_files_are_read() {
    let place = Place::new("");
    std::fs::create_dir(place.at("popward.toml.d/a.toml")).unwrap();
    assert_eq!(
        place.error(false),
        "@/popward.toml.d/a.toml: expected a regular file"
    );
    std::fs::remove_dir(place.at("popward.toml.d/a.toml")).unwrap();
    let fifo = place.at("popward.toml.d/a.toml");
    nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRUSR).unwrap();
    assert_eq!(
        place.error(false),
        "@/popward.toml.d/a.toml: expected a regular file"
    );
    std::fs::remove_file(&fifo).unwrap();
    std::os::unix::fs::symlink("nowhere", &fifo).unwrap();
    let missing = "@/popward.toml.d/a.toml: No such file or directory (os error 2)";
    assert_eq!(place.error(false), missing);
    std::fs::remove_dir_all(place.at("popward.toml.d")).unwrap();
    place.write("popward.toml.d", "");
    assert_eq!(
        place.error(false),
        "@/popward.toml.d: Not a directory (os error 20)"
    );
}

#[test]
fn the_number_of_files_and_their_bytes_are_bounded() {
    let place = Place::new("");
    for number in 0..=FILES_MAX {
        place.add(&format!("{number}.toml"), "");
    }
    assert_eq!(
        place.error(false),
        "@/popward.toml.d: expected at most 64 files"
    );
    let place = Place::new("");
    place.add("a.toml", &"#\n".repeat(BYTES_MAX / 2 - 1));
    assert_eq!(place.names().len(), 1);
    place.add("b.toml", "#\n");
    let error = place.error(false);
    let expected = "expected at most 1048576 bytes in all files together";
    assert_eq!(error, format!("@/popward.toml.d/b.toml: {expected}"));
}

#[test]
fn an_empty_file_hides_no_other_and_repeats_none() {
    let place = Place::new("[auth]\nsource = \"pam\"\n");
    place.add("10-empty.toml", "");
    place.add(
        "20-more.toml",
        "\u{feff}[limits]\nlogin = \"1m\"\n[[listen]]\naddress = 7\n",
    );
    let error = place.error(false);
    assert!(error.contains("20-more.toml:4: "), "{error}");
    assert!(!error.contains("expected it in one file"), "{error}");
}

#[test]
fn a_text_that_does_not_end_is_a_mistake_of_its_own_file() {
    let place = Place::new("[pop3]\ngreeting = \"\"\"hello\n");
    place.add("10-more.toml", "[limits]\nlogin = \"1m\"\n");
    let error = place.error(false);
    assert!(!error.contains("10-more.toml"), "{error}");
    assert!(error.contains("popward.toml:"), "{error}");
}

#[test]
fn a_directory_that_is_a_link_to_nothing_is_a_mistake() {
    let place = Place::new("");
    std::fs::remove_dir(place.at("popward.toml.d")).unwrap();
    std::os::unix::fs::symlink("/nonexistent", place.at("popward.toml.d")).unwrap();
    let host = Host::this(Names::of_a_thread());
    let (path, _) = Sources::read(&place.at("popward.toml"), &host).unwrap_err();
    assert_eq!(path, place.at("popward.toml.d"));
}

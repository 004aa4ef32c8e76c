//! Conversations that last: with a program and with PAM that do not answer. Also tokens, whose
//! conversations are short.

use super::host::{Client, Host, descendants, skipped, spool, until, user};
use base64ct::{Base64, Encoding};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// How both hosts let clients log in.
pub const MECHANISMS: &str = "mechanisms = [\"user\", \"plain\", \"oauthbearer\"]\nplaintext = \"always\"\nconversation_limit = \"1h\"\n";

/// The name of a program that does not answer.
const SILENT: &str = "silent";

/// Begins a login of `name` with a token.
pub fn begin_token(host: &Host, name: &str) -> Client {
    let mut client = host.connect_any();
    client.send(token(name).as_bytes());
    client
}

/// The command that begins a login of `name` with a token.
pub fn token(name: &str) -> String {
    let token = format!("n,a={name},\x01auth=Bearer e30.e30.e30\x01\x01");
    let token = Base64::encode_string(token.as_bytes());
    format!("AUTH OAUTHBEARER {token}\r\n")
}

/// Writes a program that does not answer. Returns its path.
pub fn silent_program(directory: &Path) -> PathBuf {
    let program = directory.join(SILENT);
    std::fs::write(&program, "#!/bin/sh\nsleep 1000\n").unwrap();
    std::fs::set_permissions(&program, PermissionsExt::from_mode(0o755)).unwrap();
    program
}

/// A conversation with a program, and the process that holds it.
pub fn of_program(host: &Host) -> (Client, i32) {
    let client = begin_token(host, "games");
    (client, guarded(host, "popward-auth-program"))
}

/// The process of this executable whose parent, its guard, runs the same one. It has asked
/// somebody.
fn guarded(host: &Host, executable: &str) -> i32 {
    let mut found = None;
    until(executable, || {
        let processes = host.children(executable);
        let held = processes.iter().flat_map(|guard| descendants(*guard));
        let mut held = held.filter(|pid| processes.contains(pid));
        found = held.find(|pid| !descendants(*pid).is_empty());
        found.is_some()
    });
    found.unwrap()
}

/// A host whose users are those of the system, with a PAM service whose module does not answer. It
/// checks tokens itself. Dropping it removes the service.
pub struct PamHost {
    pub host: Host,
    service: PathBuf,
    _client: Client,
}

/// The key of RFC 8037, appendix A. Nobody signs with it here.
const KEYS: &str =
    r#"{"keys":[{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}"#;

impl PamHost {
    /// Starts it. [`silent_program`] has made its program in this directory. `None`: this system
    /// has no module that runs programs.
    pub fn start(directory: &Path) -> Option<Self> {
        let machine = format!("{}-linux-gnu/security", std::env::consts::ARCH);
        let roots = ["/lib", "/usr/lib", "/usr/lib64"].map(Path::new);
        let places = roots.map(|root| [root.join(&machine), root.join("security")]);
        let has = |place: &PathBuf| place.join("pam_exec.so").exists();
        if !places.as_flattened().iter().any(has) {
            skipped("breaking into auth-pam and auth-proof: it takes libpam-modules");
            return None;
        }
        let name = format!("popward-test-break-in-{}", std::process::id());
        let service = PathBuf::from("/etc/pam.d").join(&name);
        // A program that runs cannot be written anew. So this is the other host's.
        let program = directory.join(SILENT);
        let lines = format!(
            "auth required pam_exec.so expose_authtok quiet {}\naccount required pam_permit.so\n",
            program.display()
        );
        std::fs::write(&service, lines).unwrap();
        let keys = directory.join("keys.json");
        std::fs::write(&keys, KEYS).unwrap();
        let auth = format!(
            "[auth]\n{MECHANISMS}source = \"pam\"\npam_service = \"{name}\"\n\
             oauth2 = {{ keys = \"{}\", issuer = \"https://id.example.org\", audience = \"popward\" }}\n",
            keys.display()
        );
        let host = Host::with(&[user("games", 5, &spool(1))], "", &[("[auth]\n", &auth)]);
        let mut client = host.connect();
        client.ask("USER games");
        client.send(b"PASS secret\r\n");
        Some(Self {
            host,
            service,
            _client: client,
        })
    }

    /// The process that waits for PAM's module.
    pub fn held(&self) -> i32 {
        guarded(&self.host, "popward-auth-pam")
    }
}

impl Drop for PamHost {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.service);
    }
}

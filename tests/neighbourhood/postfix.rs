//! A postfix of this test's own. Its configuration, queue and data are in a directory that goes
//! away. It listens to no network and sends nothing out. local(8) delivers to the mailboxes.

use super::kill_group;
use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// postfix's owner and the group of its drop. It must own no spool that is used. Not `postfix`,
/// which need not exist.
const OWNER: &str = "uucp";
const DROP: &str = "news";

const MASTER: &str = "
pickup    unix  n - n 1 1 pickup
cleanup   unix  n - n - 0 cleanup
qmgr      unix  n - n 1 1 qmgr
rewrite   unix  - - n - - trivial-rewrite
bounce    unix  - - n - 0 bounce
defer     unix  - - n - 0 bounce
trace     unix  - - n - 0 bounce
error     unix  - - n - - error
retry     unix  - - n - - error
local     unix  - n n - - local
postlog   unix-dgram n - n - 1 postlogd
";

pub struct Postfix {
    /// Where the files of its package are: `/`, or where they were unpacked to.
    root: PathBuf,
    base: PathBuf,
    master: Child,
}

impl Postfix {
    /// Starts postfix in `base`, for the mailboxes in `mail`. `None` if it is neither installed nor
    /// unpacked at `$POPWARD_POSTFIX`. Its package and exim's exclude each other.
    pub fn start(base: &Path, mail: &Path) -> Option<Self> {
        let root = match std::env::var_os("POPWARD_POSTFIX") {
            Some(root) => PathBuf::from(root),
            None => PathBuf::from("/"),
        };
        if !root.join("usr/lib/postfix/sbin/master").exists() {
            return None;
        }
        let owner = nix::unistd::User::from_name(OWNER).unwrap()?;
        let drop = nix::unistd::Group::from_name(DROP).unwrap()?;
        let (owner, drop) = (owner.uid.as_raw(), drop.gid.as_raw());
        let directory = |name: &str, mode: u32, uid: u32, gid: u32| {
            let path = base.join(name);
            fs::create_dir(&path).unwrap();
            chown(&path, Some(uid), Some(gid)).unwrap();
            fs::set_permissions(&path, PermissionsExt::from_mode(mode)).unwrap();
        };
        for name in ["", "etc", "queue", "queue/pid"] {
            directory(name, 0o755, 0, 0);
        }
        directory("data", 0o700, owner, 0);
        for name in ["active", "bounce", "corrupt", "defer", "deferred", "flush"]
            .into_iter()
            .chain(["hold", "incoming", "private", "saved", "trace"])
        {
            directory(&format!("queue/{name}"), 0o700, owner, 0);
        }
        directory("queue/maildrop", 0o730, owner, drop);
        directory("queue/public", 0o710, owner, drop);
        let (at, from) = (base.display(), root.display());
        let main = format!(
            "compatibility_level = 3.6\nqueue_directory = {at}/queue\ndata_directory = {at}/data\nmeta_directory = {at}/etc\n\
             command_directory = {from}/usr/sbin\ndaemon_directory = {from}/usr/lib/postfix/sbin\nshlib_directory = {from}/usr/lib/postfix\n\
             mail_owner = {OWNER}\nsetgid_group = {DROP}\nimport_environment = MAIL_CONFIG LD_LIBRARY_PATH\n\
             export_environment = MAIL_CONFIG LD_LIBRARY_PATH\ninet_interfaces = loopback-only\nmyhostname = mail.invalid\n\
             mydestination = localhost\nmynetworks_style = host\ndefault_transport = error:no way out\nrelayhost =\nalias_maps =\n\
             alias_database =\nforward_path =\nmail_spool_directory = {}\nmailbox_command =\nbiff = no\nmaillog_file = {at}/log\n\
             maillog_file_prefixes = {at}\nminimal_backoff_time = 1s\nmaximal_backoff_time = 2s\nqueue_run_delay = 1s\n\
             transport_retry_time = 1s\nlocal_destination_concurrency_limit = 2\n",
            mail.display()
        );
        fs::write(base.join("etc/main.cf"), main).unwrap();
        fs::write(base.join("etc/master.cf"), MASTER).unwrap();
        fs::write(base.join("etc/dynamicmaps.cf"), "").unwrap();
        let master = command(&root, base, "usr/lib/postfix/sbin/master")
            .args(["-d", "-c"])
            .arg(base.join("etc"))
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let postfix = Self {
            root,
            base: base.to_owned(),
            master,
        };
        let until = Instant::now() + Duration::from_secs(30);
        while !postfix.log().contains("daemon started") {
            assert!(Instant::now() < until, "postfix does not start");
            std::thread::sleep(Duration::from_millis(20));
        }
        Some(postfix)
    }

    /// The command that takes a message for a user of this host.
    pub fn sendmail(&self, user: &str) -> Command {
        let mut command = command(&self.root, &self.base, "usr/sbin/sendmail");
        command
            .arg("-C")
            .arg(self.base.join("etc"))
            .args(["-i", "-f", "sender@example.org"])
            .arg(format!("{user}@localhost"));
        command
    }

    pub fn log(&self) -> String {
        fs::read_to_string(self.base.join("log")).unwrap_or_default()
    }

    /// How often postfix has deferred a delivery.
    pub fn deferred(&self) -> u32 {
        self.log().matches("status=deferred").count() as u32
    }
}

fn command(root: &Path, base: &Path, program: &str) -> Command {
    let mut command = Command::new(root.join(program));
    command
        .env_clear()
        .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
        .env("MAIL_CONFIG", base.join("etc"))
        .env("LD_LIBRARY_PATH", root.join("usr/lib/postfix"));
    command
}

impl Drop for Postfix {
    fn drop(&mut self) {
        // postfix's daemons stay in its process group.
        kill_group(self.master.id());
        let _ = self.master.wait();
    }
}

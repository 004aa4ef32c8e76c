//! Delivery agents. Each gets a message, and delivers it into a user's spool now, later, or not
//! yet.

use super::postfix::Postfix;
use super::{Account, MAIL, as_user, find, run, say};
use crate::host::{dovecot_has_new_settings, skipped};
use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;
use std::time::{Duration, Instant};

/// What an agent did with a message.
#[derive(Debug, PartialEq, Eq)]
pub enum Delivery {
    Done,
    /// The message is in the agent's queue. The agent delivers it by itself.
    Queued,
    /// The agent did not get the spool and must be called again. The exit code, or the negative
    /// number of the signal that ended it.
    Deferred(i32),
}

/// Where the agents work.
pub struct Post {
    pub base: PathBuf,
    pub mail: PathBuf,
    pub postfix: Option<Postfix>,
    pub agents: Vec<&'static str>,
    exim_user: u32,
    /// maildrop 2.9.3 does not sleep while it waits for a dotlock. It uses a whole processor, so
    /// only one may run at a time.
    pub busy: Mutex<()>,
}

/// No agent waits longer. mailutils and dovecot-lda give up after 5 minutes.
const PATIENCE: Duration = Duration::from_secs(330);

impl Post {
    /// The agents that are installed. Prints the names of the others. `dovecot_waits` is dovecot's
    /// lock timeout.
    pub fn new(base: &Path, mail: &Path, accounts: &[Account], dovecot_waits: &str) -> Self {
        fs::create_dir(base).unwrap();
        fs::set_permissions(base, PermissionsExt::from_mode(0o755)).unwrap();
        let postfix = Postfix::start(&base.join("postfix"), mail);
        let mut agents = Vec::new();
        for name in ["procmail", "maildrop", "dovecot-lda", "exim4", "putmail"] {
            if find(name).is_some() {
                agents.push(name);
            } else {
                skipped(&format!("{name} is not installed"));
            }
        }
        if postfix.is_some() {
            agents.push("postfix");
        } else {
            skipped("postfix is neither installed nor unpacked at $POPWARD_POSTFIX");
        }
        let exim_user = nix::unistd::User::from_name("Debian-exim").unwrap();
        let post = Self {
            base: base.to_owned(),
            mail: mail.to_owned(),
            postfix,
            agents,
            exim_user: exim_user.map_or(0, |user| user.uid.as_raw()),
            busy: Mutex::default(),
        };
        for account in accounts {
            post.home(account);
        }
        fs::write(base.join("dovecot.conf"), post.dovecot(dovecot_waits)).unwrap();
        post
    }

    /// Makes a home directory with what the programs want there.
    fn home(&self, account: &Account) {
        let home = self.home_of(account);
        fs::create_dir(&home).unwrap();
        let spool = self.mail.join(account.name);
        let spool = spool.display();
        let path = home.join("maildroprc");
        fs::write(&path, format!("DEFAULT=\"{spool}\"\n")).unwrap();
        fs::set_permissions(&path, PermissionsExt::from_mode(0o600)).unwrap();
        chown(&path, Some(account.uid), Some(account.gid)).unwrap();
        // c-client takes no absolute paths.
        std::os::unix::fs::symlink(&self.mail, home.join("spools")).unwrap();
        chown(&home, Some(account.uid), Some(account.gid)).unwrap();
    }

    pub fn home_of(&self, account: &Account) -> PathBuf {
        self.base.join(account.name)
    }

    fn dovecot(&self, waits: &str) -> String {
        let base = self.base.display();
        let mail = self.mail.display();
        let places = if dovecot_has_new_settings() {
            format!(
                "dovecot_config_version = 2.4.0\ndovecot_storage_version = 2.4.0\nmail_driver = mbox\nmail_path = ~/dovecot\n\
                 mail_inbox_path = {mail}/%{{user}}\nmail_index_path = MEMORY\n"
            )
        } else {
            format!("mail_location = mbox:~/dovecot:INBOX={mail}/%u:INDEX=MEMORY\n")
        };
        format!(
            "{places}base_dir = {base}\nstate_dir = {base}\nlog_path = /dev/stderr\n\
             mail_privileged_group = mail\nhostname = mail.invalid\npostmaster_address = postmaster@mail.invalid\nfirst_valid_uid = 1\n\
             stats_writer_socket_path =\nmbox_lock_timeout = {waits}\n"
        )
    }

    /// Makes an exim for each queue, so that a deliverer waits only for its own queue.
    fn exim(&self, queue: &str) -> PathBuf {
        let config = self.base.join(format!("{queue}.conf"));
        let spool = self.base.join(format!("exim-{queue}"));
        if !config.exists() {
            fs::create_dir(&spool).unwrap();
            chown(&spool, Some(self.exim_user), None).unwrap();
            let text = format!(
                "primary_hostname = mail.invalid\nspool_directory = {0}\nlog_file_path = {0}/%slog\nlocal_interfaces = <; 127.0.0.1\n\
                 qualify_domain = localhost\nnever_users =\ntrusted_users = root\nkeep_environment =\nbegin routers\nlocal:\n  driver = accept\n  \
                 check_local_user\n  domains = localhost\n  transport = mail_spool\nbegin transports\nmail_spool:\n  driver = appendfile\n  \
                 file = {1}/$local_part_data\n  home_directory = /\n  current_directory = /\n  delivery_date_add\n  envelope_to_add\n  return_path_add\n  group = mail\n  mode = 0660\n  \
                 mode_fail_narrower = false\nbegin retry\n* * F,1h,1s\n",
                spool.display(),
                self.mail.display()
            );
            fs::write(&config, text).unwrap();
        }
        config
    }

    /// exim's log of this queue.
    pub fn exim_log(&self, queue: &str) -> String {
        let log = self.base.join(format!("exim-{queue}/mainlog"));
        fs::read_to_string(log).unwrap_or_default()
    }

    fn exim_queue_is_empty(&self, queue: &str) -> bool {
        let input = self.base.join(format!("exim-{queue}/input"));
        fs::read_dir(input).map_or(true, |mut entries| entries.next().is_none())
    }

    /// Delivers a message into the spool of `account`. `queue` names exim's queue. `again` is set
    /// after [`Delivery::Deferred`].
    pub fn deliver(
        &self,
        agent: &str,
        account: &Account,
        queue: &str,
        text: &str,
        again: bool,
    ) -> Delivery {
        match agent {
            "postfix" => {
                let mut command = self.postfix.as_ref().unwrap().sendmail(account.name);
                let ended = run(&mut command, text, PATIENCE);
                assert_eq!(ended.code, Some(0), "{agent}: {}", ended.output);
                return Delivery::Queued;
            }
            "exim4" => return self.deliver_by_exim(account, queue, text, again),
            _ => {}
        }
        let ended = run(&mut self.command(agent, account), text, PATIENCE);
        match ended.code {
            Some(0) => Delivery::Done,
            // 75 is EX_TEMPFAIL. putmail ends with 69 instead, EX_UNAVAILABLE, which an MTA takes
            // for a permanent failure.
            Some(code @ (75 | 69)) => Delivery::Deferred(code),
            // An MTA tries again then.
            None if ended.took < PATIENCE => {
                let signal = ended.signal.unwrap_or_default();
                say(&format!(
                    "{agent} died of signal {signal} after {:?}",
                    ended.took
                ));
                Delivery::Deferred(-signal)
            }
            code => panic!(
                "{agent} ended with {code:?} after {:?}: {}",
                ended.took, ended.output
            ),
        }
    }

    /// Lets an agent try to deliver where there is too little room. Returns how it ended. An agent
    /// with a queue keeps the message there.
    pub fn attempt(&self, agent: &str, account: &Account, queue: &str, text: &str) -> String {
        match agent {
            "postfix" => {
                let deferred = |post: &Self| post.postfix.as_ref().unwrap().deferred();
                let before = deferred(self);
                self.deliver(agent, account, queue, text, false);
                let until = Instant::now() + Duration::from_secs(60);
                while deferred(self) == before {
                    assert!(Instant::now() < until, "postfix does not defer");
                    std::thread::sleep(Duration::from_millis(20));
                }
                "in its queue".to_owned()
            }
            "exim4" => {
                let delivery = self.deliver_by_exim(account, queue, text, false);
                assert_ne!(delivery, Delivery::Done);
                "in its queue".to_owned()
            }
            _ => {
                let ended = run(&mut self.command(agent, account), text, PATIENCE);
                assert_ne!(ended.code, Some(0), "{agent}");
                format!("exit code {:?}: {}", ended.code, ended.output.trim_end())
            }
        }
    }

    /// The command of an agent without a queue. It reads the message from standard input.
    fn command(&self, agent: &str, account: &Account) -> Command {
        let home = self.home_of(account);
        let mut command = match agent {
            // As an MTA calls procmail, with the spools where procmail looks for them. Only there
            // it makes dotlocks.
            "procmail" => {
                let mut command = Command::new("unshare");
                let line = "mount --bind \"$1\" /var/mail && exec procmail -f sender@example.org -d \"$2\"";
                command
                    .args(["--mount", "sh", "-c", line, "sh"])
                    .arg(&self.mail)
                    .arg(account.name);
                command
            }
            _ => as_user(&find(agent).unwrap(), account, MAIL, &home),
        };
        match agent {
            "procmail" => &mut command,
            "maildrop" => command.args(["-f", "sender@example.org", "maildroprc"]),
            "putmail" => {
                let spool = self.mail.join(account.name);
                command
                    .args(["-f", "sender@example.org"])
                    .arg(format!("mbox://{}", spool.display()))
            }
            "dovecot-lda" => command
                .arg("-c")
                .arg(self.base.join("dovecot.conf"))
                .args(["-f", "sender@example.org"]),
            _ => panic!("{agent}?"),
        };
        command
    }

    fn deliver_by_exim(&self, account: &Account, queue: &str, text: &str, again: bool) -> Delivery {
        let config = self.exim(queue);
        let exim = || {
            let mut command = Command::new(find("exim4").unwrap());
            command.arg("-C").arg(&config);
            command
        };
        if !again {
            // With another configuration file, exim keeps root's rights only in a queue run that
            // root starts.
            let mut command = exim();
            command.args(["-odq", "-oi", "-f", "sender@example.org"]);
            command.arg(format!("{}@localhost", account.name));
            let ended = run(&mut command, text, PATIENCE);
            assert_eq!(ended.code, Some(0), "exim4: {}", ended.output);
        }
        let ended = run(exim().arg("-qff"), "", PATIENCE);
        assert_eq!(ended.code, Some(0), "exim4: {}", ended.output);
        if self.exim_queue_is_empty(queue) {
            Delivery::Done
        } else {
            Delivery::Deferred(0)
        }
    }
}

//! Which accounts may log in at all.

use crate::trusted_file;
use popward_proto::account::Account;
use popward_proto::account_selector::AccountSelector;
use popward_proto::bounded::{AbsolutePath, UserName};
use popward_proto::monitor_auth::Admission;
use std::collections::HashSet;
use std::io::Read;

/// Longest list of names, in bytes.
const LIST_MAX: u64 = 16 * 1024 * 1024;

/// The configured rules, with the names from their files.
#[derive(Debug)]
pub(crate) struct AdmissionRules {
    configured: Admission,
    allow: Option<HashSet<UserName>>,
    deny: HashSet<UserName>,
    /// Login delays of some accounts, in seconds. The first that matches an account counts.
    delays: Vec<(AccountSelector, u32)>,
}

impl AdmissionRules {
    /// Reads the files of the rules. The error is a text for the operator.
    pub(crate) fn load(
        rules: Admission,
        delays: Vec<(AccountSelector, u32)>,
    ) -> Result<Self, String> {
        let allow = rules.allow_file.as_ref();
        let allow = allow
            .map(|path| read("auth.allow_file", path))
            .transpose()?;
        let deny = rules.deny_file.as_ref();
        let deny = deny.map(|path| read("auth.deny_file", path)).transpose()?;
        let deny = deny.unwrap_or_default();
        Ok(Self {
            configured: rules,
            allow,
            deny,
            delays,
        })
    }

    /// Whether the account may log in. `Err` says why not, for the log.
    pub(crate) fn admit(&self, account: &Account) -> Result<(), String> {
        let uids = self.configured.first_uid.max(1)..=self.configured.last_uid;
        let groups = self.configured.groups.as_slice();
        let has = |gid: &u32| *gid == account.gid || account.groups.as_slice().contains(gid);
        if !uids.contains(&account.uid) || account.gid == 0 {
            Err(format!("user id {} or group id out of range", account.uid))
        } else if self
            .allow
            .as_ref()
            .is_some_and(|allow| !allow.contains(&account.name))
        {
            Err("not in auth.allow_file".to_owned())
        } else if self.deny.contains(&account.name) {
            Err("in auth.deny_file".to_owned())
        } else if !groups.is_empty() && !groups.iter().any(has) {
            Err("in none of auth.groups".to_owned())
        } else {
            Ok(())
        }
    }

    /// The account's login delay, in seconds.
    pub(crate) fn login_delay_s(&self, account: &Account) -> u32 {
        let own = self.delays.iter().find(|(named, _)| named.matches(account));
        own.map_or(self.configured.login_delay_s, |(_, delay_s)| *delay_s)
    }
}

/// The names in the file of the configuration key `key`.
fn read(key: &str, path: &AbsolutePath) -> Result<HashSet<UserName>, String> {
    let told = |error: &dyn std::fmt::Display| format!("{key}: {path}: {error}");
    let file = trusted_file::open(path.as_path()).map_err(|error| told(&error))?;
    let mut text = String::new();
    let read = file.take(LIST_MAX + 1).read_to_string(&mut text);
    if read.map_err(|error| told(&error))? as u64 > LIST_MAX {
        return Err(told(&"expected at most 16 MiB"));
    }
    names(&text).map_err(|line| told(&format!("line {line}: expected a name")))
}

/// The names in `text`, one on each line. Empty lines and lines that begin with `#` are skipped.
/// `Err` is the number of the first wrong line.
fn names(text: &str) -> Result<HashSet<UserName>, usize> {
    let lines = text.lines().map(str::trim).enumerate();
    lines
        .filter(|(_, line)| !line.is_empty() && !line.starts_with('#'))
        .map(|(number, line)| UserName::try_from(line.to_owned()).map_err(|_| number + 1))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use popward_proto::bounded::List;
    use std::io::Write;
    use std::os::unix::fs::PermissionsExt;

    fn file(text: &str) -> (tempfile::NamedTempFile, Option<AbsolutePath>) {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(text.as_bytes()).unwrap();
        let path = file.path().to_str().unwrap().to_owned();
        let path = AbsolutePath::try_from(path).unwrap();
        (file, Some(path))
    }

    fn rules(
        allow_file: Option<AbsolutePath>,
        deny_file: Option<AbsolutePath>,
        groups: Vec<u32>,
    ) -> Admission {
        Admission {
            first_uid: 1000,
            last_uid: 2000,
            allow_file,
            deny_file,
            groups: List::try_from(groups).unwrap(),
            login_delay_s: 0,
        }
    }

    fn account(name: &str, uid: u32, gid: u32) -> Account {
        Account {
            name: UserName::try_from(name.to_owned()).unwrap(),
            uid,
            gid,
            groups: List::try_from(vec![8]).unwrap(),
            home: None,
            spool: None,
        }
    }

    #[test]
    fn lists_groups_and_ids_decide_who_may_log_in() {
        let (_a, allow) = file("# ours\nalice\n\n bob \n");
        let (_d, deny) = file("bob\n");
        let all = AdmissionRules::load(rules(None, None, Vec::new()), Vec::new()).unwrap();
        let lists = AdmissionRules::load(rules(allow, deny, Vec::new()), Vec::new()).unwrap();
        let groups = AdmissionRules::load(rules(None, None, vec![7, 8]), Vec::new()).unwrap();
        let other = AdmissionRules::load(rules(None, None, vec![7, 1000]), Vec::new()).unwrap();
        for (rules, name, uid, gid, may) in [
            (&all, "carol", 1000, 1000, true),
            (&all, "carol", 999, 1000, false),
            (&all, "carol", 2001, 1000, false),
            (&all, "carol", 1000, 0, false),
            (&lists, "alice", 1000, 1000, true),
            (&lists, "bob", 1000, 1000, false),
            (&lists, "carol", 1000, 1000, false),
            (&groups, "carol", 1000, 1000, true),
            (&other, "carol", 1000, 1000, true),
            (&other, "carol", 1000, 1001, false),
        ] {
            assert_eq!(
                rules.admit(&account(name, uid, gid)).is_ok(),
                may,
                "{name} {uid} {gid}"
            );
        }
    }

    #[test]
    fn the_first_login_delay_that_matches_an_account_counts() {
        let named = |users: &[&str], groups: &[u32]| {
            let user = |name: &&str| UserName::try_from((*name).to_owned()).unwrap();
            AccountSelector {
                users: List::try_from(users.iter().map(user).collect::<Vec<_>>()).unwrap(),
                groups: List::try_from(groups.to_vec()).unwrap(),
            }
        };
        let delays = vec![
            (named(&["alice", "bob"], &[]), 10),
            (named(&["alice"], &[8]), 20),
            (named(&[], &[7]), 0),
        ];
        let mut all = rules(None, None, Vec::new());
        all.login_delay_s = 5;
        let rules = AdmissionRules::load(all, delays).unwrap();
        let delay = |name, gid, groups: &[u32]| {
            let groups = List::try_from(groups.to_vec()).unwrap();
            let account = account(name, 1000, gid);
            rules.login_delay_s(&Account { groups, ..account })
        };
        assert_eq!(delay("alice", 8, &[7]), 10);
        assert_eq!(delay("carol", 8, &[]), 20, "by its primary group");
        assert_eq!(delay("carol", 1000, &[7, 8]), 20, "by another one");
        assert_eq!(delay("carol", 7, &[]), 0, "none is a delay of its own");
        assert_eq!(delay("carol", 1000, &[]), 5);
        assert_eq!(delay("Alice", 1000, &[]), 5, "names are names");
    }

    #[test]
    fn a_list_that_others_can_write_or_that_has_a_wrong_line_is_refused() {
        let (held, path) = file("alice\n");
        std::fs::set_permissions(held.path(), PermissionsExt::from_mode(0o622)).unwrap();
        let error = AdmissionRules::load(rules(None, path, Vec::new()), Vec::new()).unwrap_err();
        assert!(error.contains("others cannot write"), "{error}");
        let (held, path) = file("alice\n../x\n");
        let error =
            AdmissionRules::load(rules(path.clone(), None, Vec::new()), Vec::new()).unwrap_err();
        assert!(error.ends_with("line 2: expected a name"), "{error}");
        drop(held);
        assert!(AdmissionRules::load(rules(path, None, Vec::new()), Vec::new()).is_err());
    }
}

//! Who is in the groups for which there is another `spool.path`. A login tells an account's groups; what a crash left is looked
//! for without one.

use nix::unistd::User;
use popward_proto::account::GROUPS_MAX;
use popward_proto::bounded::{List, UserName};

/// Groups, with the names of their members.
#[derive(Debug, Clone, Default)]
pub(crate) struct Members(pub(super) Vec<(u32, Vec<String>)>);

impl Members {
    /// Those groups that the system's user `name` has beside its primary one. None, if `uid` is not its: who is in a password
    /// file with ids of its own has no other groups.
    pub(crate) fn groups_of(&self, name: &UserName, uid: u32) -> List<u32, GROUPS_MAX> {
        let name = name.as_str();
        let has = |(_, members): &&(u32, Vec<String>)| members.iter().any(|member| member == name);
        let groups: Vec<u32> = self.0.iter().filter(has).map(|(gid, _)| *gid).collect();
        let is_the_systems = || {
            let user = User::from_name(name).ok().flatten();
            user.is_some_and(|user| user.uid.as_raw() == uid)
        };
        if groups.is_empty() || !is_the_systems() {
            return List::default();
        }
        List::try_from(groups).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_systems_users_alone_have_the_systems_groups() {
        let members = Members(vec![
            (7, vec!["root".to_owned(), "nobody-is-called-so".to_owned()]),
            (8, vec!["daemon".to_owned()]),
            (9, vec!["root".to_owned()]),
        ]);
        let of = |name: &str, uid| {
            let name = UserName::try_from(name.to_owned()).unwrap();
            Vec::from(members.groups_of(&name, uid))
        };
        assert_eq!(of("root", 0), [7, 9]);
        assert_eq!(of("root", 5000), [], "a namesake");
        assert_eq!(of("nobody-is-called-so", 5000), []);
        assert_eq!(of("stranger", 0), []);
    }
}

//! `[[account]]`: settings for some accounts, which a table selects by name or by group.

use super::rules::{Checked, group, placed, problem};
use super::{auth, spool};
use crate::file;
use crate::host::Host;
use crate::names::Names;
use popward_proto::account_selector::{
    AccountSelector, SELECTOR_GROUPS_MAX, SELECTOR_USERS_MAX, TABLES_MAX,
};
use popward_proto::bounded::{AbsolutePath, List, UserName};
use popward_proto::config_sessions::{MEMBERS_MAX, Member};
use popward_proto::pattern::Pattern;
use popward_proto::sessions_worker::ADOPTING;
use popward_proto::settings::Table;
use toml::Spanned;

/// Checks the tables. Returns them in their order, and the members of the groups that tables with a
/// `spool.path` name ([`of_group`] says which members). `open` is how many milliseconds a login
/// may take.
pub(super) fn tables(
    file: &[Spanned<file::Account>],
    host: &Host,
    open: u32,
    state: &AbsolutePath,
) -> Checked<(Vec<Table>, Vec<Member>)> {
    if let Some(beyond) = file.get(TABLES_MAX) {
        let expected = format!("account: expected at most {TABLES_MAX}");
        return problem(beyond.span().start, expected);
    }
    let mut members = Vec::new();
    let mut tables = Vec::new();
    for account in file {
        let (offset, moved) = (account.span().start, account.get_ref().spool.path.is_some());
        let table = table(account, host, open)?;
        if moved {
            for gid in table.named.groups.as_slice() {
                let more = of_group(*gid, state, &host.names);
                members.extend(more.or_else(|why| problem(offset, format!("account: {why}")))?);
            }
        }
        tables.push(table);
    }
    members.truncate(MEMBERS_MAX);
    Ok((tables, members))
}

fn table(file: &Spanned<file::Account>, host: &Host, open: u32) -> Checked<Table> {
    let (offset, file) = placed(file);
    if file.users.is_empty() && file.groups.is_empty() {
        return problem(offset, "account: expected users, or groups");
    }
    let gid = |id| group("account.groups", placed(id), &host.names);
    let groups = file.groups.iter().map(gid).collect::<Checked<_>>()?;
    let groups = bounded("groups", SELECTOR_GROUPS_MAX, offset, groups)?;
    let users = bounded("users", SELECTOR_USERS_MAX, offset, users(&file.users)?)?;
    let most = file.limits.sessions_per_user.as_ref();
    let delay = file.auth.login_delay.as_ref();
    Ok(Table {
        named: AccountSelector { users, groups },
        place: place(&file.spool, host)?,
        lock_timeout_ms: (file.spool.lock_timeout.as_ref())
            .map(|timeout| spool::lock_timeout_ms(timeout, open))
            .transpose()?,
        adopt: file.adopt.from.as_ref().map(spool::adopt).transpose()?,
        hide: file.spool.hide.as_ref().map(spool::hide).transpose()?,
        sessions_per_user: most.map(|most| most.get_ref().get()),
        login_delay_s: delay.map(auth::login_delay_s).transpose()?,
    })
}

fn bounded<T, const MAX: usize>(
    key: &str,
    most: usize,
    offset: usize,
    names: Vec<T>,
) -> Checked<List<T, MAX>> {
    List::try_from(names)
        .or_else(|_| problem(offset, format!("account.{key}: expected at most {most}")))
}

fn users(names: &[file::Placed]) -> Checked<Vec<UserName>> {
    let user = |name: &file::Placed| {
        let offset = name.span().start;
        UserName::try_from(name.get_ref().clone())
            .or_else(|_| problem(offset, "account.users: expected names of accounts"))
    };
    names.iter().map(user).collect()
}

/// Returns the members of a group who have a directory in `state`, or an unfinished adoption. At
/// its start, a monitor looks for unfinished updates in these users' directories and spools. No
/// login has told it the groups of these users, so it gets them from here. A member who is no user
/// of this system is left out.
fn of_group(gid: u32, state: &AbsolutePath, names: &Names) -> Result<Vec<Member>, String> {
    let mut members = Vec::new();
    for user in names.members(gid)? {
        let directories = [user.as_str().to_owned(), format!("{ADOPTING}{user}")];
        let is_there = |name| state.as_path().join(name).symlink_metadata().is_ok();
        if !directories.into_iter().any(is_there) {
            continue;
        }
        if let Some((uid, _)) = names.user(user.as_str())? {
            members.push(Member { user, uid, gid });
        }
    }
    Ok(members)
}

fn place(file: &file::AccountSpool, host: &Host) -> Checked<Option<(Pattern, Option<u32>)>> {
    match (&file.path, &file.group) {
        (None, None) => Ok(None),
        (None, Some(group)) => problem(
            group.span().start,
            "spool.group: expected spool.path beside it",
        ),
        (Some(path), group) => {
            let pattern = spool::pattern(path, host)?;
            let group = spool::lock_group(group.as_ref(), &pattern, &host.names)?;
            Ok(Some((pattern, group)))
        }
    }
}

//! `[[account]]`: what holds for some accounts, by name or by group.

use super::{Checked, auth, group, problem, spool};
use crate::config::file;
use crate::config::members::Members;
use crate::config::settings::Table;
use popward_proto::bounded::{List, UserName};
use popward_proto::monitor_auth::{
    AccountSelector, SELECTOR_GROUPS_MAX, SELECTOR_USERS_MAX, TABLES_MAX,
};
use toml::Spanned;

/// The tables, in their order, and who is in the groups of those with a `spool.path`. `open` is how many seconds a login may
/// take.
pub(super) fn tables(
    file: Vec<Spanned<file::Account>>,
    open: u16,
) -> Checked<(Vec<Table>, Members)> {
    if let Some(beyond) = file.get(TABLES_MAX) {
        let expected = format!("account: expected at most {TABLES_MAX}");
        return problem(beyond.span().start, expected);
    }
    let mut members = Members::default();
    let mut tables = Vec::new();
    for account in file {
        tables.push(table(account, open, &mut members)?);
    }
    Ok((tables, members))
}

fn table(file: Spanned<file::Account>, open: u16, members: &mut Members) -> Checked<Table> {
    let offset = file.span().start;
    let file = file.into_inner();
    if file.users.is_empty() && file.groups.is_empty() {
        return problem(offset, "account: expected users, or groups");
    }
    let groups = groups(&file.groups)?;
    if file.spool.path.is_some() {
        members.0.extend(groups.clone());
    }
    let groups = groups.into_iter().map(|(gid, _)| gid).collect();
    let groups = bounded("groups", SELECTOR_GROUPS_MAX, offset, groups)?;
    let users = bounded("users", SELECTOR_USERS_MAX, offset, users(&file.users)?)?;
    Ok(Table {
        named: AccountSelector { users, groups },
        place: place(file.spool.path, file.spool.group)?,
        lock_timeout_ms: (file.spool.lock_timeout)
            .map(|seconds| spool::lock_timeout_ms(seconds, open))
            .transpose()?,
        uidl: given(file.spool.uidl, spool::uidl)?,
        hide: given(file.spool.hide, spool::hide)?,
        sessions_per_user: file.limits.sessions_per_user.map(|most| most.max(1)),
        login_delay_s: given(file.auth.login_delay, auth::login_delay_s)?,
    })
}

/// What is made of a key's value, if it has one.
fn given<T, U>(
    value: Option<Spanned<T>>,
    check: impl FnOnce(Option<Spanned<T>>) -> Checked<U>,
) -> Checked<Option<U>> {
    match value {
        None => Ok(None),
        value => check(value).map(Some),
    }
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

fn groups(ids: &[Spanned<file::Id>]) -> Checked<Vec<(u32, Vec<String>)>> {
    let known = |id: &Spanned<file::Id>| match group(id.get_ref()) {
        Some(group) => Ok(group),
        None => problem(
            id.span().start,
            "account.groups: expected groups of this system",
        ),
    };
    ids.iter().map(known).collect()
}

fn place(
    path: Option<file::Placed>,
    group: Option<Spanned<file::Id>>,
) -> Checked<Option<(crate::spool::Pattern, Option<u32>)>> {
    match (path, group) {
        (None, None) => Ok(None),
        (None, Some(group)) => problem(
            group.span().start,
            "spool.group: expected spool.path beside it",
        ),
        (path, group) => {
            let pattern = spool::pattern(path)?;
            let group = spool::lock_group(group, &pattern)?;
            Ok(Some((pattern, group)))
        }
    }
}

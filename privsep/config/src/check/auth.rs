//! `[auth]`: where accounts come from, which accounts may log in, and what guessing passwords
//! costs.

use super::pam;
use super::rules::{Checked, DAY, group, one_of, placed, problem, safe, seconds, time, within};
use crate::file;
use crate::host::Host;
use crate::names::Names;
use crate::owner::Owners;
use crate::values::{Id, Time};
use popward_proto::bounded::{AbsolutePath, List, Text};
use popward_proto::monitor_auth::{
    AccountSource, Admission, AuthSettings, CertificateRules, CertificateUser, ConversationLimits,
    NameRules, Throttle, TokenRules, TokenSource,
};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use toml::Spanned;

/// Checks the settings for auth.
///
/// - `authorities` is the file with the authorities of client certificates. `None`: fronts ask no
///   client for a certificate.
/// - `own` is the user id that auth runs as. `None`: popward was not started by root.
///
/// All files must belong to the host's owners. Auth reads some of them and can write none: whoever
/// broke into auth could otherwise add a user, for the time after.
pub(super) fn auth(
    file: &file::Auth,
    authorities: Option<&AbsolutePath>,
    host: &Host,
    own: Option<u32>,
) -> Checked<AuthSettings> {
    let owners = &host.owners;
    let tokens = file.oauth2.as_ref().map(|file| tokens(file, owners));
    let limit = &file.conversation_limit;
    Ok(AuthSettings {
        source: source(file, host, own)?,
        names: names(file)?,
        admission: admission(file, host, own)?,
        throttle: throttle(file)?,
        tokens: tokens.transpose()?,
        certificates: certificates(file, authorities)?,
        conversation_limits: ConversationLimits {
            limit_ms: time("auth.conversation_limit", limit, 1..=DAY)?,
            at_once: within("auth.conversations", &file.conversations, 1..=1024)?,
        },
    })
}

/// Whether accounts come from PAM.
pub(super) fn uses_pam(file: &file::Auth) -> bool {
    file.source.get_ref() == "pam"
}

/// Checks the PAM service, if PAM is the source: its file must exist, and popward-auth-pam must be
/// able to read `/etc/shadow` if the service uses `pam_unix`. `own` is the user of popward-auth-pam
/// and its further group. `None`: popward was not started by root.
pub(super) fn pam(file: &file::Auth, own: Option<((u32, u32), Option<u32>)>) -> Checked<()> {
    if !uses_pam(file) {
        return Ok(());
    }
    let (place, service) = placed(&file.pam_service);
    let offset = match place {
        0 => file.source.span().start,
        place => place,
    };
    let directories = pam::DIRECTORIES.map(Path::new);
    match pam::asks_pam_unix(&directories, service) {
        Err(why) => problem(offset, format!("auth.pam_service: {why}")),
        Ok(Some(found)) if !pam::reads_shadow(Path::new(pam::SHADOW), own) => {
            let at = format!("{}:{}", found.path.display(), found.line);
            let who = "pam_unix cannot check other users' passwords, because popward-auth-pam cannot read /etc/shadow";
            let expected = format!(
                "auth.pam_service: {at}: {who}: set accounts.pam_group to the group of that file, or take pam_unix out of the service"
            );
            problem(offset, expected)
        }
        Ok(_) => Ok(()),
    }
}

/// The values of `auth.certificate_user`: the part of a certificate that holds the user's name.
const CERTIFICATE_USERS: [(&str, CertificateUser); 3] = [
    ("email", CertificateUser::Email),
    ("cn", CertificateUser::CommonName),
    ("dns", CertificateUser::Dns),
];

fn certificates(
    file: &file::Auth,
    authorities: Option<&AbsolutePath>,
) -> Checked<Option<CertificateRules>> {
    let name = one_of(
        "auth.certificate_user",
        &file.certificate_user,
        &CERTIFICATE_USERS,
    )?;
    Ok(authorities.map(|authorities| CertificateRules {
        authorities: authorities.clone(),
        name,
    }))
}

/// Checks the path of a file that only `owners` can change. It does not check whether auth can read
/// the file, because auth checks that itself.
fn file_at(key: &str, (offset, path): (usize, &str), owners: &Owners) -> Checked<AbsolutePath> {
    let found = if path.is_empty() { "none" } else { path };
    let expected = format!("{key}: expected the absolute path of a file, not {found}");
    let Ok(path) = AbsolutePath::try_from(path.to_owned()) else {
        return problem(offset, expected);
    };
    match path.as_path().metadata() {
        Ok(status) if status.is_file() => {}
        Ok(_) => return problem(offset, expected),
        Err(error) => return problem(offset, format!("{key}: expected a file: {path}: {error}")),
    }
    safe(key, offset, path.as_path(), owners)?;
    Ok(path)
}

/// As [`file_at`], for a file that auth reads while it runs. If `own`, auth's user, owns the file,
/// the error says what to do about it: older versions permitted that.
fn read_by_auth(
    key: &str,
    value: &file::Placed,
    owners: &Owners,
    own: Option<u32>,
) -> Checked<AbsolutePath> {
    let (offset, path) = placed(value);
    let status = std::fs::metadata(path);
    file_at(key, (offset, path), owners).map_err(|mut problem| {
        if status.is_ok_and(|status| Some(status.uid()) == own) {
            problem.expected += ": auth's user owns it and could write it: chown it to root, chgrp it to auth's group, chmod 0640";
        }
        problem
    })
}

fn source(file: &file::Auth, host: &Host, own: Option<u32>) -> Checked<AccountSource> {
    let (offset, source) = placed(&file.source);
    match source.as_str() {
        "passwd-file" => {
            let offset = file.passwd_file.span().start;
            let path = read_by_auth("auth.passwd_file", &file.passwd_file, &host.owners, own)?;
            let mode = path.as_path().metadata().map_or(0, |status| status.mode()) & 0o7777;
            if mode & 0o007 != 0 {
                let text = format!(
                    "auth.passwd_file: {path} has mode {mode:04o}: everybody can read the hashes, chmod 0640"
                );
                host.warn(offset, text);
            }
            Ok(AccountSource::PasswdFile { path })
        }
        "pam" => {
            let (offset, service) = placed(&file.pam_service);
            match Text::try_from(service.clone()) {
                Ok(service) => Ok(AccountSource::Pam { service }),
                Err(_) => problem(offset, "auth.pam_service: expected at most 32 characters"),
            }
        }
        "checkpassword" => {
            let written = file.checkpassword.as_ref();
            let place = written.map_or((offset, ""), |value| (value.span().start, value.get_ref()));
            let program = file_at("auth.checkpassword", place, &host.owners)?;
            Ok(AccountSource::Checkpassword { program })
        }
        _ => problem(
            offset,
            r#"auth.source: expected "passwd-file", "pam" or "checkpassword""#,
        ),
    }
}

fn names(file: &file::Auth) -> Checked<NameRules> {
    let (offset, domains) = placed(&file.trim_domain);
    let domains = domains
        .iter()
        .map(|domain| Text::try_from(domain.to_ascii_lowercase()));
    let domains: Option<Vec<_>> = domains.map(Result::ok).collect();
    match domains.and_then(|domains| List::try_from(domains).ok()) {
        Some(trim_domains) => Ok(NameRules {
            lower_case: *file.lower_case.get_ref(),
            trim_domains,
        }),
        None => problem(
            offset,
            "auth.trim_domain: expected at most 16 domains, of at most 128 characters",
        ),
    }
}

fn admission(file: &file::Auth, host: &Host, own: Option<u32>) -> Checked<Admission> {
    let (offset, first_uid) = (file.first_uid.span().start, *file.first_uid.get_ref());
    let last_uid = *file.last_uid.get_ref();
    if first_uid == 0 || first_uid > last_uid {
        return problem(offset, "auth.first_uid: expected 1 to auth.last_uid");
    }
    let list = |key: &str, value: &Option<file::Placed>| {
        let path = value.as_ref();
        path.map(|value| read_by_auth(key, value, &host.owners, own))
            .transpose()
    };
    Ok(Admission {
        first_uid,
        last_uid,
        allow_file: list("auth.allow_file", &file.allow_file)?,
        deny_file: list("auth.deny_file", &file.deny_file)?,
        groups: groups(&file.groups, &host.names)?,
        login_delay_s: login_delay_s(&file.login_delay)?,
    })
}

/// Checks how many seconds must pass from one login of an account to the next.
pub(super) fn login_delay_s(value: &Spanned<Time>) -> Checked<u32> {
    seconds("auth.login_delay", value, 0..=DAY)
}

fn groups<const MAX: usize>(file: &Spanned<Vec<Id>>, names: &Names) -> Checked<List<u32, MAX>> {
    let (offset, ids) = placed(file);
    let gids = ids
        .iter()
        .map(|id| group("auth.groups", (offset, id), names));
    List::try_from(gids.collect::<Checked<Vec<u32>>>()?)
        .or_else(|_| problem(offset, format!("auth.groups: expected at most {MAX}")))
}

fn throttle(file: &file::Auth) -> Checked<Throttle> {
    let failure_delay_ms = time("auth.failure_delay", &file.failure_delay, 0..=30)?;
    // A login that waits longer can time out.
    let source_wait_max_ms = time("auth.source_wait_max", &file.source_wait_max, 0..=45)?;
    let source_half_life_s = seconds(
        "auth.source_half_life",
        &file.source_half_life,
        1..=11 * DAY,
    )?;
    let account_window_s = seconds("auth.account_window", &file.account_window, 0..=11 * DAY)?;
    let (offset, exempt) = placed(&file.source_exempt);
    let exempt: Option<Vec<_>> = exempt.iter().map(|network| network.parse().ok()).collect();
    let Some(exempt) = exempt.and_then(|exempt| List::try_from(exempt).ok()) else {
        let expected =
            "auth.source_exempt: expected at most 32 addresses or networks, such as 192.0.2.0/24";
        return problem(offset, expected);
    };
    Ok(Throttle {
        failure_delay_ms,
        source_failures: *file.source_failures.get_ref(),
        source_half_life_s,
        source_wait_max_ms,
        exempt,
        account_failures: *file.account_failures.get_ref(),
        account_window_s,
    })
}

fn tokens(file: &Spanned<file::OAuth2>, owners: &Owners) -> Checked<TokenSource> {
    let (offset, file) = (file.span().start, file.get_ref());
    let path = |key: &str, path: &str| file_at(key, (offset, path), owners);
    if let Some(program) = &file.program {
        if file.keys.is_some()
            || file.issuer.is_some()
            || file.audience.is_some()
            || !file.scope.get_ref().is_empty()
        {
            let expected = "auth.oauth2: expected either program, or keys, issuer and audience";
            return problem(offset, expected);
        }
        let program = path("auth.oauth2.program", program)?;
        return Ok(TokenSource::Program { program });
    }
    let (Some(keys), Some(issuer), Some(audience)) = (&file.keys, &file.issuer, &file.audience)
    else {
        let expected = "auth.oauth2: expected program, or keys, issuer and audience";
        return problem(offset, expected);
    };
    let scopes = file
        .scope
        .get_ref()
        .iter()
        .map(|scope| Text::try_from(scope.clone()));
    let scopes: Option<Vec<_>> = scopes.map(Result::ok).collect();
    let rules = (
        Text::try_from(issuer.clone()),
        Text::try_from(audience.clone()),
        Text::try_from(file.user_claim.get_ref().clone()),
        scopes.and_then(|scopes| List::try_from(scopes).ok()),
    );
    match rules {
        (Ok(issuer), Ok(audience), Ok(user_claim), Some(scopes)) => Ok(TokenSource::Keys {
            file: path("auth.oauth2.keys", keys)?,
            rules: TokenRules {
                issuer,
                audience,
                user_claim,
                scopes,
            },
        }),
        _ => problem(
            offset,
            "auth.oauth2: expected issuer and audience of at most 256 characters, user_claim and up to 8 scopes of at most 64",
        ),
    }
}

//! `[auth]`: where accounts come from, which accounts may log in, and what guessing passwords
//! costs.

use super::{Checked, group, pam, placed, problem, safe, seconds, time};
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
    Ok(AuthSettings {
        source: source(file, host, own)?,
        names: names(file)?,
        admission: admission(file, host, own)?,
        throttle: throttle(file)?,
        tokens: tokens.transpose()?,
        certificates: certificates(file, authorities)?,
        conversation_limits: ConversationLimits {
            limit_ms: time(
                "auth.conversation_limit",
                file.conversation_limit.as_ref(),
                Time::s(30),
                Time::s(1)..=Time::days(1),
            )?,
            at_once: file.conversations.unwrap_or(16).clamp(1, 1024),
        },
    })
}

/// Whether accounts come from this source.
pub(super) fn is_source(file: &file::Auth, source: &str) -> bool {
    text(file.source.as_ref(), "").1 == source
}

/// Checks the PAM service, if PAM is the source: its file must exist, and popward-auth-pam must be
/// able to read `/etc/shadow` if the service uses `pam_unix`. `own` is the user of popward-auth-pam
/// and its further group. `None`: popward was not started by root.
pub(super) fn pam(file: &file::Auth, own: Option<((u32, u32), Option<u32>)>) -> Checked<()> {
    if !is_source(file, "pam") {
        return Ok(());
    }
    let (offset, _) = text(file.source.as_ref(), "");
    let (place, service) = text(file.pam_service.as_ref(), "popward");
    let offset = file.pam_service.as_ref().map_or(offset, |_| place);
    let directories = pam::DIRECTORIES.map(Path::new);
    match pam::asks_pam_unix(&directories, &service) {
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
    let (offset, written) = text(file.certificate_user.as_ref(), "email");
    let known = CERTIFICATE_USERS
        .iter()
        .find(|(known, _)| *known == written);
    match (known, authorities) {
        (None, _) => problem(
            offset,
            r#"auth.certificate_user: expected "email", "cn" or "dns""#,
        ),
        (Some(_), None) => Ok(None),
        (Some((_, name)), Some(authorities)) => Ok(Some(CertificateRules {
            authorities: authorities.clone(),
            name: *name,
        })),
    }
}

fn text(value: Option<&file::Placed>, default: &str) -> (usize, String) {
    placed(value.cloned(), || default.to_owned())
}

/// Checks the path of a file that only `owners` can change. It does not check whether auth can read
/// the file, because auth checks that itself.
fn file_at(key: &str, (offset, path): (usize, String), owners: &Owners) -> Checked<AbsolutePath> {
    let found = if path.is_empty() { "none" } else { &path };
    let expected = format!("{key}: expected the absolute path of a file, not {found}");
    let Ok(path) = AbsolutePath::try_from(path) else {
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
    place: (usize, String),
    owners: &Owners,
    own: Option<u32>,
) -> Checked<AbsolutePath> {
    let status = std::fs::metadata(&place.1);
    file_at(key, place, owners).map_err(|mut problem| {
        if status.is_ok_and(|status| Some(status.uid()) == own) {
            problem.expected += ": auth's user owns it and could write it: chown it to root, chgrp it to auth's group, chmod 0640";
        }
        problem
    })
}

fn list(
    key: &str,
    value: Option<&file::Placed>,
    owners: &Owners,
    own: Option<u32>,
) -> Checked<Option<AbsolutePath>> {
    value
        .map(|value| read_by_auth(key, text(Some(value), ""), owners, own))
        .transpose()
}

fn source(file: &file::Auth, host: &Host, own: Option<u32>) -> Checked<AccountSource> {
    let (offset, source) = text(file.source.as_ref(), "passwd-file");
    match source.as_str() {
        "passwd-file" => {
            let path = text(file.passwd_file.as_ref(), "/etc/popward/users");
            let offset = path.0;
            let path = read_by_auth("auth.passwd_file", path, &host.owners, own)?;
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
            let (offset, service) = text(file.pam_service.as_ref(), "popward");
            match Text::try_from(service) {
                Ok(service) => Ok(AccountSource::Pam { service }),
                Err(_) => problem(offset, "auth.pam_service: expected at most 32 characters"),
            }
        }
        "checkpassword" => {
            let (_, written) = text(file.checkpassword.as_ref(), "");
            let place = file
                .checkpassword
                .as_ref()
                .map_or(offset, |value| value.span().start);
            let program = file_at("auth.checkpassword", (place, written), &host.owners)?;
            Ok(AccountSource::Checkpassword { program })
        }
        _ => problem(
            offset,
            r#"auth.source: expected "passwd-file", "pam" or "checkpassword""#,
        ),
    }
}

fn names(file: &file::Auth) -> Checked<NameRules> {
    let (offset, domains) = placed(file.trim_domain.clone(), Vec::new);
    let domains = domains
        .into_iter()
        .map(|domain| Text::try_from(domain.to_ascii_lowercase()));
    let domains: Option<Vec<_>> = domains.map(Result::ok).collect();
    match domains.and_then(|domains| List::try_from(domains).ok()) {
        Some(trim_domains) => Ok(NameRules {
            lower_case: file.lower_case.unwrap_or(false),
            trim_domains,
        }),
        None => problem(
            offset,
            "auth.trim_domain: expected at most 16 domains, of at most 128 characters",
        ),
    }
}

fn admission(file: &file::Auth, host: &Host, own: Option<u32>) -> Checked<Admission> {
    let owners = &host.owners;
    let (offset, first_uid) = placed(file.first_uid.clone(), || 1000);
    let last_uid = file.last_uid.unwrap_or(65533);
    if first_uid == 0 || first_uid > last_uid {
        return problem(offset, "auth.first_uid: expected 1 to auth.last_uid");
    }
    Ok(Admission {
        first_uid,
        last_uid,
        allow_file: list("auth.allow_file", file.allow_file.as_ref(), owners, own)?,
        deny_file: list("auth.deny_file", file.deny_file.as_ref(), owners, own)?,
        groups: groups(file.groups.as_ref(), &host.names)?,
        login_delay_s: login_delay_s(file.login_delay.as_ref())?,
    })
}

/// Checks how many seconds must pass from one login of an account to the next.
pub(super) fn login_delay_s(value: Option<&Spanned<Time>>) -> Checked<u32> {
    let range = Time::s(0)..=Time::days(1);
    seconds("auth.login_delay", value, Time::s(0), range)
}

fn groups<const MAX: usize>(
    file: Option<&Spanned<Vec<Id>>>,
    names: &Names,
) -> Checked<List<u32, MAX>> {
    let offset = file.map_or(0, |ids| ids.span().start);
    let ids = file.iter().flat_map(|ids| ids.get_ref());
    let gids: Result<Option<Vec<u32>>, String> = ids.map(|id| group(id, names)).collect();
    let gids = gids.or_else(|error| problem(offset, format!("auth.groups: {error}")))?;
    match gids.and_then(|gids| List::try_from(gids).ok()) {
        Some(gids) => Ok(gids),
        None => problem(
            offset,
            format!("auth.groups: expected groups of this system, at most {MAX}"),
        ),
    }
}

fn throttle(file: &file::Auth) -> Checked<Throttle> {
    let failure_delay_ms = time(
        "auth.failure_delay",
        file.failure_delay.as_ref(),
        Time::s(2),
        Time::s(0)..=Time::s(30),
    )?;
    // A login that waits longer can time out.
    let source_wait_max_ms = time(
        "auth.source_wait_max",
        file.source_wait_max.as_ref(),
        Time::s(16),
        Time::s(0)..=Time::s(45),
    )?;
    let source_half_life_s = seconds(
        "auth.source_half_life",
        file.source_half_life.as_ref(),
        Time::s(600),
        Time::s(1)..=Time::days(11),
    )?;
    let account_window_s = seconds(
        "auth.account_window",
        file.account_window.as_ref(),
        Time::s(600),
        Time::s(0)..=Time::days(11),
    )?;
    let (offset, exempt) = placed(file.source_exempt.clone(), || {
        ["127.0.0.0/8", "::1"].map(str::to_owned).to_vec()
    });
    let exempt: Option<Vec<_>> = exempt.iter().map(|network| network.parse().ok()).collect();
    let Some(exempt) = exempt.and_then(|exempt| List::try_from(exempt).ok()) else {
        let expected =
            "auth.source_exempt: expected at most 32 addresses or networks, such as 192.0.2.0/24";
        return problem(offset, expected);
    };
    Ok(Throttle {
        failure_delay_ms,
        source_failures: file.source_failures.unwrap_or(10),
        source_half_life_s,
        source_wait_max_ms,
        exempt,
        account_failures: file.account_failures.unwrap_or(100),
        account_window_s,
    })
}

fn tokens(file: &Spanned<file::OAuth2>, owners: &Owners) -> Checked<TokenSource> {
    let (offset, file) = (file.span().start, file.get_ref());
    let path = |key: &str, path: &String| file_at(key, (offset, path.clone()), owners);
    if let Some(program) = &file.program {
        if file.keys.is_some()
            || file.issuer.is_some()
            || file.audience.is_some()
            || !file.scope.is_empty()
        {
            return problem(
                offset,
                "auth.oauth2: expected either program, or keys, issuer and audience",
            );
        }
        let program = path("auth.oauth2.program", program)?;
        return Ok(TokenSource::Program { program });
    }
    let (Some(keys), Some(issuer), Some(audience)) = (&file.keys, &file.issuer, &file.audience)
    else {
        return problem(
            offset,
            "auth.oauth2: expected program, or keys, issuer and audience",
        );
    };
    let claim = file.user_claim.as_deref().unwrap_or("email");
    let scopes = file.scope.iter().map(|scope| Text::try_from(scope.clone()));
    let scopes: Option<Vec<_>> = scopes.map(Result::ok).collect();
    let rules = (
        Text::try_from(issuer.clone()),
        Text::try_from(audience.clone()),
        Text::try_from(claim.to_owned()),
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

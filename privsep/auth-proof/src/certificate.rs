//! Finds the user of a client's certificate (SASL EXTERNAL; RFC 4422, appendix A).
//!
//! A front that is taken over could claim any certificate. So the chain is verified here, and so is
//! the client's signature over the handshake's hash. Only the holder of the private key can make
//! it.

use crate::proof::Proof;
use popward_proto::bounded::{Bytes, UserName};
use popward_proto::monitor_auth::CertificateUser;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, SignatureVerificationAlgorithm, UnixTime};
use webpki::{EndEntityCert, KeyUsage, anchor_from_trusted_cert};
use x509_cert::der::Decode;
use x509_cert::der::asn1::{PrintableStringRef, Utf8StringRef};
use x509_cert::der::oid::ObjectIdentifier;
use x509_cert::ext::pkix::SubjectAltName;
use x509_cert::ext::pkix::name::GeneralName;

#[cfg(feature = "aws-lc-rs")]
use webpki::aws_lc_rs as algorithms;
#[cfg(not(feature = "aws-lc-rs"))]
use webpki::ring as algorithms;

/// The text between 64 spaces and the handshake's hash (RFC 8446, section 4.4.3).
const CONTEXT: &[u8] = b"TLS 1.3, client CertificateVerify\0";

/// The signature algorithms that are accepted in chains.
const CHAIN: &[&dyn SignatureVerificationAlgorithm] = &[
    algorithms::ECDSA_P256_SHA256,
    algorithms::ECDSA_P384_SHA384,
    algorithms::ED25519,
    algorithms::RSA_PKCS1_2048_8192_SHA256,
    algorithms::RSA_PKCS1_2048_8192_SHA384,
    algorithms::RSA_PKCS1_2048_8192_SHA512,
    algorithms::RSA_PSS_2048_8192_SHA256_LEGACY_KEY,
    algorithms::RSA_PSS_2048_8192_SHA384_LEGACY_KEY,
    algorithms::RSA_PSS_2048_8192_SHA512_LEGACY_KEY,
];

/// The client's certificate and its signature from the handshake.
pub(crate) struct SignedHandshake<'a> {
    /// The chain, with the client's own certificate first.
    pub(crate) chain: &'a [Bytes<{ popward_proto::auth::CERTIFICATE_MAX }>],
    /// The signed message.
    pub(crate) signed: &'a [u8],
    /// The signature scheme: a TLS code point.
    pub(crate) scheme: u16,
    /// The signature.
    pub(crate) signature: &'a [u8],
}

/// Checks a certificate now, against the authorities in a PEM file. `name` says which name in it is
/// the user's.
pub(crate) fn check(
    authorities: &[u8],
    shown: &SignedHandshake<'_>,
    name: CertificateUser,
) -> Proof {
    let authorities: Result<Vec<CertificateDer<'static>>, _> =
        CertificateDer::pem_slice_iter(authorities).collect();
    let authorities = match authorities {
        Ok(authorities) if !authorities.is_empty() => authorities,
        _ => return Proof::Failed("tls.client_ca: expected certificates in PEM".to_owned()),
    };
    match user(&authorities, shown, name, UnixTime::now()) {
        Ok(user) => Proof::Identified(user),
        Err(why) => Proof::Refused(format!("certificate: {why}")),
    }
}

fn user(
    authorities: &[CertificateDer<'_>],
    shown: &SignedHandshake<'_>,
    name: CertificateUser,
    now: UnixTime,
) -> Result<UserName, String> {
    let told = |error: webpki::Error| error.to_string();
    let chain: Vec<CertificateDer<'_>> = shown
        .chain
        .iter()
        .map(|der| der.as_slice().into())
        .collect();
    let (own, others) = chain.split_first().ok_or("none was shown")?;
    let certificate = EndEntityCert::try_from(own).map_err(told)?;
    let anchors = authorities
        .iter()
        .filter_map(|own| anchor_from_trusted_cert(own).ok());
    let anchors: Vec<_> = anchors.collect();
    certificate
        .verify_for_usage(
            CHAIN,
            &anchors,
            others,
            now,
            KeyUsage::client_auth(),
            None,
            None,
        )
        .map_err(told)?;
    let hash = shown
        .signed
        .strip_prefix(&[b' '; 64])
        .and_then(|rest| rest.strip_prefix(CONTEXT));
    if !hash.is_some_and(|hash| [32, 48].contains(&hash.len())) {
        return Err("what was signed is no handshake of a client".to_owned());
    }
    let scheme = scheme(shown.scheme).ok_or("signed by a scheme that is not known")?;
    certificate
        .verify_signature(scheme, shown.signed, shown.signature)
        .map_err(told)?;
    let user = named(own, name).ok_or("it has no such name as auth.certificate_user says")?;
    UserName::try_from(user).map_err(|error| error.to_string())
}

/// The schemes of TLS 1.3 (RFC 8446, section 4.2.3).
fn scheme(code: u16) -> Option<&'static dyn SignatureVerificationAlgorithm> {
    Some(match code {
        0x0403 => algorithms::ECDSA_P256_SHA256,
        0x0503 => algorithms::ECDSA_P384_SHA384,
        0x0804 => algorithms::RSA_PSS_2048_8192_SHA256_LEGACY_KEY,
        0x0805 => algorithms::RSA_PSS_2048_8192_SHA384_LEGACY_KEY,
        0x0806 => algorithms::RSA_PSS_2048_8192_SHA512_LEGACY_KEY,
        0x0807 => algorithms::ED25519,
        _ => return None,
    })
}

/// The user's name in a certificate whose chain is verified.
fn named(certificate: &[u8], name: CertificateUser) -> Option<String> {
    let certificate = x509_cert::Certificate::from_der(certificate)
        .ok()?
        .tbs_certificate;
    let alternative = |wanted: fn(&GeneralName) -> Option<String>| {
        let (_, names) = certificate.get::<SubjectAltName>().ok()??;
        names.0.iter().find_map(wanted)
    };
    match name {
        CertificateUser::Email => alternative(|name| match name {
            GeneralName::Rfc822Name(mail) => Some(mail.to_string()),
            _ => None,
        }),
        CertificateUser::Dns => alternative(|name| match name {
            GeneralName::DnsName(host) => Some(host.to_string()),
            _ => None,
        }),
        CertificateUser::CommonName => {
            const COMMON_NAME: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.4.3");
            let parts = certificate.subject.0.iter().flat_map(|part| part.0.iter());
            let mut names = parts.filter(|part| part.oid == COMMON_NAME);
            let value = &names.next()?.value;
            // With two common names, nobody can say which one is meant.
            if names.next().is_some() {
                return None;
            }
            let utf8 = value
                .decode_as::<Utf8StringRef<'_>>()
                .map(|text| text.to_string());
            let printable = || {
                value
                    .decode_as::<PrintableStringRef<'_>>()
                    .map(|text| text.to_string())
            };
            utf8.or_else(|_| printable()).ok()
        }
    }
}

#[cfg(test)]
mod tests;

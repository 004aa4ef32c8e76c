//! Certificates and signatures from openssl.

use super::*;
use popward_proto::bounded::List;
use std::path::Path;
use std::process::Command;

fn openssl(directory: &Path, arguments: &str) {
    let output = Command::new("openssl")
        .args(arguments.split_whitespace())
        .current_dir(directory)
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{arguments}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
}

/// An authority `ca`, and a certificate `NAME` for `subject` with these extensions and kind of key,
/// that it signed.
struct Authority(tempfile::TempDir);

impl Authority {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        openssl(
            directory.path(),
            "req -x509 -nodes -days 2 -subj /CN=Authority -newkey ec -pkeyopt ec_paramgen_curve:P-256 -keyout ca.key -out ca.pem",
        );
        Self(directory)
    }

    fn issue(&self, name: &str, subject: &str, extensions: &str, key: &str) {
        let text = format!("basicConstraints=critical,CA:FALSE\n{extensions}\n");
        std::fs::write(self.0.path().join("extensions"), text).unwrap();
        openssl(
            self.0.path(),
            &format!(
                "req -new -nodes -utf8 -subj {subject} {key} -keyout {name}.key -out {name}.csr"
            ),
        );
        openssl(
            self.0.path(),
            &format!(
                "x509 -req -in {name}.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -extfile extensions -outform DER -out {name}.der"
            ),
        );
    }

    fn read(&self, name: &str) -> Vec<u8> {
        std::fs::read(self.0.path().join(name)).unwrap()
    }

    /// The signature of `signed`, which the command reads as `signed` and writes as `signature`.
    fn sign(&self, signed: &[u8], command: &str) -> Vec<u8> {
        std::fs::write(self.0.path().join("signed"), signed).unwrap();
        openssl(self.0.path(), command);
        self.read("signature")
    }
}

const P256: &str = "-newkey ec -pkeyopt ec_paramgen_curve:P-256";
const CLIENT: &str =
    "extendedKeyUsage=clientAuth\nsubjectAltName=email:alice@example.org,DNS:alice.example.org";

fn handshake() -> Vec<u8> {
    [&[b' '; 64][..], CONTEXT, &[7; 32]].concat()
}

fn told(
    authority: &Authority,
    der: &[Vec<u8>],
    signed: &[u8],
    scheme: u16,
    signature: &[u8],
    name: CertificateUser,
) -> String {
    let chain: Vec<_> = der
        .iter()
        .map(|der| List::try_from(der.clone()).unwrap())
        .collect();
    let shown = SignedHandshake {
        chain: &chain,
        signed,
        scheme,
        signature,
    };
    match check(&authority.read("ca.pem"), &shown, name) {
        Proof::Identified(user) => user.to_string(),
        Proof::Refused(why) | Proof::Failed(why) => why,
    }
}

const ECDSA: &str = "dgst -sha256 -sign alice.key -out signature signed";

#[test]
fn the_configured_name_in_a_certificate_is_the_user() {
    let authority = Authority::new();
    authority.issue("alice", "/O=x/CN=al", CLIENT, P256);
    let der = [authority.read("alice.der")];
    let signature = authority.sign(&handshake(), ECDSA);
    for (name, user) in [
        (CertificateUser::Email, "alice@example.org"),
        (CertificateUser::Dns, "alice.example.org"),
        (CertificateUser::CommonName, "al"),
    ] {
        assert_eq!(
            told(&authority, &der, &handshake(), 0x0403, &signature, name),
            user
        );
    }
}

#[test]
fn all_accepted_kinds_of_keys_work() {
    let authority = Authority::new();
    authority.issue("rsa", "/CN=al", CLIENT, "-newkey rsa:2048");
    let how = "dgst -sha256 -sigopt rsa_padding_mode:pss -sigopt rsa_pss_saltlen:32 -sign rsa.key -out signature signed";
    let signature = authority.sign(&handshake(), how);
    let der = [authority.read("rsa.der")];
    let name = CertificateUser::Email;
    assert_eq!(
        told(&authority, &der, &handshake(), 0x0804, &signature, name),
        "alice@example.org"
    );
    authority.issue("edwards", "/CN=al", CLIENT, "-newkey ed25519");
    let signature = authority.sign(
        &handshake(),
        "pkeyutl -sign -rawin -inkey edwards.key -in signed -out signature",
    );
    let der = [authority.read("edwards.der")];
    assert_eq!(
        told(&authority, &der, &handshake(), 0x0807, &signature, name),
        "alice@example.org"
    );
    assert!(
        told(&authority, &der, &handshake(), 0x0403, &signature, name).starts_with("certificate: ")
    );
}

#[test]
fn a_certificate_without_its_key_or_from_another_authority_is_refused() {
    let (authority, other) = (Authority::new(), Authority::new());
    authority.issue("alice", "/CN=al", CLIENT, P256);
    other.issue("alice", "/CN=al", CLIENT, P256);
    let der = [authority.read("alice.der")];
    let email = CertificateUser::Email;
    let signature = authority.sign(&handshake(), ECDSA);
    let refused = |der: &[Vec<u8>], signed: &[u8], scheme, signature: &[u8], why: &str| {
        let answer = told(&authority, der, signed, scheme, signature, email);
        assert!(
            answer.starts_with("certificate: ") && answer.contains(why),
            "{answer}"
        );
    };
    refused(
        &[other.read("alice.der")],
        &handshake(),
        0x0403,
        &signature,
        "InvalidSignature",
    );
    refused(&[], &handshake(), 0x0403, &signature, "none was shown");
    refused(&[vec![0x30, 0]], &handshake(), 0x0403, &signature, "");
    let mut another = handshake();
    *another.last_mut().unwrap() = 8;
    refused(&der, &another, 0x0403, &signature, "InvalidSignature");
    refused(&der, &handshake(), 0x0401, &signature, "scheme");
    let others = other.sign(&handshake(), ECDSA);
    refused(&der, &handshake(), 0x0403, &others, "InvalidSignature");
    // Other signatures by the client's key are no login: that of a server's handshake, or of any
    // text.
    for signed in [
        handshake()[1..].to_vec(),
        [
            &[b' '; 64][..],
            b"TLS 1.3, server CertificateVerify\0",
            &[7; 32],
        ]
        .concat(),
        [&handshake()[..], b"more"].concat(),
    ] {
        let signature = authority.sign(&signed, ECDSA);
        refused(
            &der,
            &signed,
            0x0403,
            &signature,
            "no handshake of a client",
        );
    }
}

#[test]
fn a_certificate_that_is_not_for_clients_is_refused() {
    let authority = Authority::new();
    let server = "extendedKeyUsage=serverAuth\nsubjectAltName=email:alice@example.org";
    authority.issue("alice", "/CN=al/CN=bob", server, P256);
    let signature = authority.sign(&handshake(), ECDSA);
    let der = [authority.read("alice.der")];
    let email = CertificateUser::Email;
    let answer = told(&authority, &der, &handshake(), 0x0403, &signature, email);
    assert!(answer.contains("RequiredEkuNotFound"), "{answer}");
    authority.issue(
        "alice",
        "/CN=al/CN=bob",
        "extendedKeyUsage=clientAuth",
        P256,
    );
    let signature = authority.sign(&handshake(), ECDSA);
    let der = [authority.read("alice.der")];
    for name in [
        CertificateUser::Email,
        CertificateUser::Dns,
        CertificateUser::CommonName,
    ] {
        let answer = told(&authority, &der, &handshake(), 0x0403, &signature, name);
        assert!(
            answer.contains("auth.certificate_user"),
            "two names are none: {answer}"
        );
    }
}

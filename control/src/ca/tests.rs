//! What is issued, and every request that is not worth a certificate.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use rcgen::{BasicConstraints, CertificateSigningRequest, DnType, PKCS_ED25519, RsaKeySize};
use x509_parser::prelude::{FromDer as _, X509Certificate};

use super::*;

struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Self {
        let unique = format!("sallyport-ca-{}-{name}", std::process::id());
        let path = std::env::temp_dir().join(unique);
        let _ = std::fs::remove_dir_all(&path);
        Self(path)
    }

    fn authority(&self) -> Authority {
        Authority::open(&self.0, "cluster.local").unwrap()
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn web() -> Identity {
    Identity::new("cluster.local", "shop", "web").unwrap()
}

fn csr_of(key: &KeyPair, change: impl FnOnce(&mut CertificateParams)) -> String {
    let mut params = CertificateParams::default();
    change(&mut params);
    let csr: CertificateSigningRequest = params.serialize_request(key).unwrap();
    csr.pem().unwrap()
}

fn csr() -> String {
    csr_of(&new_key().unwrap(), |_| {})
}

/// Verifies a chain with roots, as a peer does.
fn verifies(issued: &Issued, roots: &Authority) -> bool {
    let chain: Vec<_> = issued
        .chain
        .iter()
        .map(|pem| first(pem, "").unwrap())
        .collect();
    let (leaf, rest) = chain.split_first().unwrap();
    let verifier = WebPkiClientVerifier::builder(Arc::clone(&roots.store))
        .build()
        .unwrap();
    verifier
        .verify_client_cert(leaf, rest, UnixTime::now())
        .is_ok()
}

#[test]
fn a_root_is_made_once_and_kept() {
    let scratch = Scratch::new("made");
    let (a, b) = (scratch.authority(), scratch.authority());
    assert_eq!(a.roots(), b.roots());
    assert!(verifies(&b.sign(&csr(), &web(), None).unwrap(), &a));
    let mode = std::fs::metadata(scratch.0.join("ca-key.pem"))
        .unwrap()
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[test]
fn a_leaf_has_the_callers_name_and_nothing_of_the_request() {
    let scratch = Scratch::new("leaf");
    let wishes = csr_of(&new_key().unwrap(), |params| {
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        params.subject_alt_names = vec![
            SanType::URI(
                "spiffe://cluster.local/ns/kube-system/sa/admin"
                    .try_into()
                    .unwrap(),
            ),
            SanType::DnsName("bank.example.com".try_into().unwrap()),
        ];
    });
    let issued = scratch.authority().sign(&wishes, &web(), None).unwrap();
    assert_eq!(issued.chain.len(), 2, "a leaf and the roots");
    assert!(
        issued
            .chain
            .iter()
            .all(|pem| pem.ends_with("-----END CERTIFICATE-----\n"))
    );
    let leaf = first(&issued.chain[0], "").unwrap();
    assert_eq!(identity_of(&leaf), Some(web()));
    let (_, leaf) = X509Certificate::from_der(&leaf).unwrap();
    let names = leaf.subject_alternative_name().unwrap().unwrap();
    assert!(names.critical, "the subject is empty");
    assert_eq!(names.value.general_names.len(), 1);
    assert!(!leaf.is_ca());
    let usage = leaf.key_usage().unwrap().unwrap().value;
    assert!(usage.digital_signature() && usage.key_encipherment() && !usage.key_cert_sign());
    let extended = leaf.extended_key_usage().unwrap().unwrap().value;
    assert!(extended.server_auth && extended.client_auth && !extended.any);
}

#[test]
fn a_life_has_bounds() {
    let scratch = Scratch::new("ttl");
    let authority = scratch.authority();
    for (asked, given) in [
        (None, TTL_DEFAULT),
        (Some(Duration::from_secs(600)), Duration::from_secs(600)),
        (Some(Duration::from_secs(1)), TTL_MIN),
        (Some(Duration::from_secs(10 * 365 * 86_400)), TTL_MAX),
    ] {
        let issued = authority.sign(&csr(), &web(), asked).unwrap();
        assert_eq!(issued.ttl, given);
        let leaf = first(&issued.chain[0], "").unwrap();
        let (_, leaf) = X509Certificate::from_der(&leaf).unwrap();
        let life = leaf.validity().not_after.timestamp() - leaf.validity().not_before.timestamp();
        let expected = i64::try_from((given + BACKDATE).as_secs()).unwrap();
        assert!((expected - 1..=expected + 1).contains(&life), "{life}");
    }
}

/// A request that is in order, but for its RSA key of 1,024 bits; nobody has the key any more.
const RSA_1024: &str = "-----BEGIN CERTIFICATE REQUEST-----
MIIBPzCBqQIBADAAMIGfMA0GCSqGSIb3DQEBAQUAA4GNADCBiQKBgQC3IODiyfdh
ukzmQNO07Icxvpt6H8PG9lR/+/4kPCar8jOgpid5qN10XAicLNyGejxsip1jTU8S
Bptm+LuITkofcWEAjXCzQatvAdO+oXoObdRlaEZGnLxnxmRadUflX0Vj+diReDpO
OPV5yTqV3nytlOTTy/xne/2UiWHF92gvawIDAQABoAAwDQYJKoZIhvcNAQELBQAD
gYEAYnY0OifmtLk3JCdkr1Z6g7tr+0HqjK/sbSWy9Nt+DgZ9QBWIdYjL10XXdAT1
sPpN9lbg83tSwYZjuQ9hMr3RvowqmYzgINA86D+mmURkuBISfzVUKbKxbFKOkK8f
LmK+ba27V+dEbIn4h70eXmGmagvua+chuNq4XM8ND6OVJfY=
-----END CERTIFICATE REQUEST-----
";

#[test]
fn requests_that_are_not_good_are_refused() {
    let scratch = Scratch::new("refused");
    let authority = scratch.authority();
    let good = csr();
    let flipped = {
        // the last line but one holds the signature
        let mut lines: Vec<String> = good.lines().map(str::to_owned).collect();
        let line = lines.len() - 2;
        let turned: String = lines[line].chars().rev().collect();
        lines[line] = turned;
        lines.join("\n")
    };
    let small = KeyPair::generate_for(&PKCS_ED25519).unwrap();
    let certificate = authority.sign(&good, &web(), None).unwrap().chain[0].clone();
    for (bad, what) in [
        (RSA_1024.to_owned(), "a short key"),
        (String::new(), "nothing"),
        ("x".repeat(1024 * 1024), "a mebibyte"),
        (certificate, "a certificate"),
        (good.replace("REQUEST", "RANSOM"), "no PEM"),
        (flipped, "a broken signature"),
        (
            csr_of(&small, |_| {}),
            "a kind of key that peers do not take",
        ),
    ] {
        assert!(authority.sign(&bad, &web(), None).is_err(), "{what}");
    }
    let rsa = KeyPair::generate_rsa_for(&rcgen::PKCS_RSA_SHA256, RsaKeySize::_2048).unwrap();
    assert!(authority.sign(&csr_of(&rsa, |_| {}), &web(), None).is_ok());
}

#[test]
fn a_certificate_with_two_identities_is_nobodys() {
    let scratch = Scratch::new("two");
    let authority = scratch.authority();
    let second = "spiffe://cluster.local/ns/a/sa/b".try_into().unwrap();
    let key = new_key().unwrap();
    let issued = authority
        .certify(&key, &web(), &[SanType::URI(second)], TTL_MIN)
        .unwrap();
    assert_eq!(identity_of(&first(&issued.chain[0], "").unwrap()), None);
    assert_eq!(identity_of(b"nonsense"), None);
}

#[test]
fn roots_overlap_while_they_are_replaced() {
    let (old_dir, new_dir) = (Scratch::new("old"), Scratch::new("new"));
    let (old, new) = (old_dir.authority(), new_dir.authority());
    let before = old.sign(&csr(), &web(), None).unwrap();
    // first everybody learns the new root, then it signs, then the old one is forgotten
    let both = format!("{}{}", old.roots(), new.roots());
    std::fs::write(old_dir.0.join("root-cert.pem"), &both).unwrap();
    let step1 = old_dir.authority();
    let during = step1.sign(&csr(), &web(), None).unwrap();
    assert_eq!(during.chain.last().unwrap(), &both);
    for name in ["ca-cert.pem", "ca-key.pem"] {
        std::fs::copy(new_dir.0.join(name), old_dir.0.join(name)).unwrap();
    }
    let step2 = old_dir.authority();
    let after = step2.sign(&csr(), &web(), None).unwrap();
    for issued in [&before, &during, &after] {
        assert!(verifies(issued, &step1) && verifies(issued, &step2));
    }
    std::fs::write(old_dir.0.join("root-cert.pem"), new.roots()).unwrap();
    let step3 = old_dir.authority();
    assert!(verifies(&after, &step3) && !verifies(&before, &step3));
}

#[test]
fn the_roots_key_may_stay_elsewhere() {
    let (root_dir, own_dir) = (Scratch::new("offline"), Scratch::new("online"));
    let root = root_dir.authority();
    let read = |dir: &Scratch, name: &str| std::fs::read_to_string(dir.0.join(name)).unwrap();
    let root_key = KeyPair::from_pem(&read(&root_dir, "ca-key.pem")).unwrap();
    let certificate = first(root.roots(), "").unwrap();
    let issuer = Issuer::from_ca_cert_der(&certificate, root_key).unwrap();
    let key = new_key().unwrap();
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.distinguished_name.push(DnType::CommonName, "online");
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    let between = params.signed_by(&key, &issuer).unwrap().pem();
    std::fs::create_dir_all(&own_dir.0).unwrap();
    for (name, text) in [
        ("ca-cert.pem", between.as_str()),
        ("ca-key.pem", &key.serialize_pem()),
        ("cert-chain.pem", &between),
        ("root-cert.pem", root.roots()),
    ] {
        std::fs::write(own_dir.0.join(name), text).unwrap();
    }
    let issued = own_dir.authority().sign(&csr(), &web(), None).unwrap();
    assert_eq!(issued.chain.len(), 3, "leaf, what is between, roots");
    assert!(verifies(&issued, &root));
}

#[test]
fn files_that_do_not_fit_are_refused() {
    let (a, b) = (Scratch::new("a"), Scratch::new("b"));
    a.authority();
    b.authority();
    let open = |dir: &Path| {
        Authority::open(dir, "cluster.local")
            .unwrap_err()
            .to_string()
    };
    std::fs::copy(b.0.join("ca-key.pem"), a.0.join("ca-key.pem")).unwrap();
    assert!(open(&a.0).contains("does not verify"));
    std::fs::remove_file(a.0.join("root-cert.pem")).unwrap();
    assert!(open(&a.0).contains("lacks root-cert.pem"));
}

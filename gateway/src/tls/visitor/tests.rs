//! Chains that no client may come in with.

use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, ExtendedKeyUsagePurpose,
    GeneralSubtree, IsCa, Issuer, KeyIdMethod, KeyPair, NameConstraints, SanType, SerialNumber,
};
use rustls::crypto::aws_lc_rs;
use sallyport_core::rng::Rng;

use super::*;
use crate::tls::Peer;

const SHOP: &str = "spiffe://cluster.local/ns/shop/sa/shop";

/// An authority and what it says of itself.
struct Authority {
    issuer: Issuer<'static, KeyPair>,
    certificate: CertificateDer<'static>,
    pem: String,
}

fn authority(above: Option<&Authority>, change: impl FnOnce(&mut CertificateParams)) -> Authority {
    let mut parameters = CertificateParams::default();
    parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    change(&mut parameters);
    let key = KeyPair::generate().unwrap();
    let made = match above {
        Some(above) => parameters.signed_by(&key, &above.issuer),
        None => parameters.self_signed(&key),
    };
    let made = made.unwrap();
    Authority {
        certificate: made.der().clone(),
        pem: made.pem(),
        issuer: Issuer::new(parameters, key),
    }
}

/// A leaf of the shop, as `change` wants it.
fn leaf(by: &Authority, change: impl FnOnce(&mut CertificateParams)) -> CertificateDer<'static> {
    let mut parameters = CertificateParams::new(["shop.example".to_owned()]).unwrap();
    let uri = SanType::URI(SHOP.try_into().unwrap());
    parameters.subject_alt_names.push(uri);
    parameters.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    parameters.serial_number = Some(SerialNumber::from(7));
    change(&mut parameters);
    let key = KeyPair::generate().unwrap();
    parameters
        .signed_by(&key, &by.issuer)
        .unwrap()
        .der()
        .clone()
}

fn verifier(root: &Authority, crl: Option<&[u8]>, rules: Rules) -> ClientVerifier {
    let trust = Trust::parse(root.pem.as_bytes(), crl).unwrap();
    let provider = Arc::new(aws_lc_rs::default_provider());
    ClientVerifier::new(Arc::new(trust), provider, rules)
}

fn any() -> Rules {
    Rules {
        mandatory: true,
        mesh: false,
        names: Vec::new(),
        pins: Vec::new(),
    }
}

fn named(name: &str) -> Rules {
    Rules {
        names: vec![name.to_owned()],
        ..any()
    }
}

fn unconstrained(_: &mut CertificateParams) {}

/// Whether a root's clients come in with this leaf and these certificates below the root.
fn comes_in(root: &Authority, leaf: CertificateDer<'static>, middles: &[&Authority]) -> bool {
    let mut chain = vec![leaf];
    chain.extend(middles.iter().map(|middle| middle.certificate.clone()));
    verifier(root, None, any()).accepts(&chain)
}

#[test]
fn chains_are_followed_to_the_authority_and_not_around_it() {
    let root = authority(None, unconstrained);
    let middle = authority(Some(&root), unconstrained);
    let no_ca = authority(Some(&root), |p| p.is_ca = IsCa::ExplicitNoCa);
    let short = authority(Some(&root), |p| {
        p.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    });
    let below = authority(Some(&short), unconstrained);
    let stranger = authority(None, unconstrained);
    let narrow = authority(Some(&root), |p| {
        p.name_constraints = Some(NameConstraints {
            permitted_subtrees: vec![GeneralSubtree::DnsName("a.example".to_owned())],
            excluded_subtrees: Vec::new(),
        });
    });
    // who signed the leaf, what is shown beside it, whether that is enough
    let cases: [(&Authority, &[&Authority], bool); 8] = [
        (&root, &[], true),
        (&middle, &[&middle], true),
        (&root, &[&middle, &stranger], true),
        (&middle, &[], false),
        (&stranger, &[&stranger], false),
        (&no_ca, &[&no_ca], false),
        (&below, &[&below, &short], false),
        (&narrow, &[&narrow], false),
    ];
    for (number, (by, middles, good)) in cases.into_iter().enumerate() {
        let leaf = leaf(by, unconstrained);
        assert_eq!(comes_in(&root, leaf, middles), good, "case {number}");
    }
    assert!(!comes_in(&root, stranger.certificate.clone(), &[]));
    assert!(!verifier(&root, None, any()).accepts(&[]));
}

#[test]
fn leaves_are_in_date_and_for_clients() {
    let root = authority(None, unconstrained);
    let changes: [&dyn Fn(&mut CertificateParams); 4] = [
        &|p| p.not_after = rcgen::date_time_ymd(2001, 1, 1),
        &|p| p.not_before = rcgen::date_time_ymd(2090, 1, 1),
        &|p| p.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth],
        &|p| p.is_ca = IsCa::Ca(BasicConstraints::Unconstrained),
    ];
    for (number, change) in changes.into_iter().enumerate() {
        assert!(!comes_in(&root, leaf(&root, change), &[]), "case {number}");
    }
}

#[test]
fn names_are_compared_whole() {
    let root = authority(None, unconstrained);
    let dns = |name: &'static str| {
        leaf(&root, move |p| {
            p.subject_alt_names = vec![SanType::DnsName(name.try_into().unwrap())];
        })
    };
    let uris = |uris: &[&str]| {
        leaf(&root, |p| {
            let uris = uris
                .iter()
                .map(|uri| SanType::URI((*uri).try_into().unwrap()));
            p.subject_alt_names = uris.collect();
        })
    };
    let other_name = |text: &'static str| {
        leaf(&root, move |p| {
            let name = rcgen::OtherNameValue::Utf8String(text.to_owned());
            p.subject_alt_names = vec![SanType::OtherName((
                vec![1, 3, 6, 1, 4, 1, 311, 20, 2, 3],
                name,
            ))];
        })
    };
    let long = "spiffe://cluster.local/ns/shop/sa/shop/x";
    // what the certificate says, what the rule asks for, whether they fit
    let cases = [
        (dns("a.example"), "a.example", true),
        (dns("A.example"), "a.EXAMPLE", true),
        (dns("a.example\0.evil.example"), "a.example", false),
        (dns("evil.example\0a.example"), "a.example", false),
        (dns("*.a.example"), "b.a.example", true),
        (dns("*.a.example"), "a.example", false),
        (dns("*.a.example"), "c.b.a.example", false),
        (dns("*"), "a.example", false),
        (dns("b.example"), "a.example", false),
        (uris(&[SHOP]), SHOP, true),
        (
            uris(&["spiffe://other.domain/ns/shop/sa/shop"]),
            SHOP,
            false,
        ),
        (
            uris(&["spiffe://cluster.local/ns/shop/sa/shop\0"]),
            SHOP,
            false,
        ),
        (
            uris(&["spiffe://cluster.local/ns/shop/sa/sho"]),
            SHOP,
            false,
        ),
        (uris(&["spiffe://cluster.local/ns/shop/sa/*"]), SHOP, false),
        (uris(&[SHOP]), long, false),
        (other_name("a.example"), "a.example", false),
        (other_name("a.example\0.evil.example"), "a.example", false),
        (other_name(SHOP), SHOP, false),
    ];
    for (number, (leaf, wanted, fits)) in cases.into_iter().enumerate() {
        let verifier = verifier(&root, None, named(wanted));
        assert_eq!(verifier.accepts(&[leaf]), fits, "case {number}: {wanted}");
    }
    let mesh = Rules {
        mesh: true,
        ..any()
    };
    let mesh = verifier(&root, None, mesh);
    assert!(mesh.accepts(&[uris(&[SHOP])]));
    assert!(!mesh.accepts(&[uris(&[SHOP, long])]));
}

#[test]
fn whom_the_mesh_will_know_by_another_root_has_time_to_go() {
    let root = authority(None, unconstrained);
    let chain = [leaf(&root, unconstrained)];
    let known = verifier(&root, None, any());
    assert_eq!(known.verdict(&chain), Verdict::Stays);
    let renamed = |p: &mut CertificateParams| {
        p.distinguished_name.push(rcgen::DnType::CommonName, "next");
    };
    for next in [authority(None, unconstrained), authority(None, renamed)] {
        // strangers to an authority of one's own have not
        for (mesh, wanted) in [(true, Verdict::Parts), (false, Verdict::Goes)] {
            let verifier = verifier(&next, None, Rules { mesh, ..any() });
            assert_eq!(verifier.verdict(&chain), wanted);
            assert_eq!(verifier.verdict(&[]), Verdict::Goes);
        }
    }
}

#[test]
fn revocation_lists_must_be_there_and_in_date() {
    let root = authority(None, unconstrained);
    let stranger = authority(None, unconstrained);
    let list = |by: &Authority, serial: Option<u64>, until: i32| {
        let revoked = serial.map(|serial| rcgen::RevokedCertParams {
            serial_number: SerialNumber::from(serial),
            revocation_time: rcgen::date_time_ymd(2001, 1, 1),
            reason_code: None,
            invalidity_date: None,
        });
        let list = CertificateRevocationListParams {
            this_update: rcgen::date_time_ymd(2000, 1, 1),
            next_update: rcgen::date_time_ymd(until, 1, 1),
            crl_number: SerialNumber::from(1),
            issuing_distribution_point: None,
            revoked_certs: revoked.into_iter().collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        list.signed_by(&by.issuer).unwrap().pem().unwrap()
    };
    let cases = [
        ("others are revoked", list(&root, Some(8), 2090), true),
        ("nobody is", list(&root, None, 2090), true),
        ("it is", list(&root, Some(7), 2090), false),
        ("the list is old", list(&root, None, 2001), false),
        (
            "the list is another authority's",
            list(&stranger, None, 2090),
            false,
        ),
    ];
    let leaf = leaf(&root, unconstrained);
    for (what, list, good) in cases {
        let verifier = verifier(&root, Some(list.as_bytes()), any());
        assert_eq!(
            verifier.accepts(std::slice::from_ref(&leaf)),
            good,
            "{what}"
        );
    }
}

/// One way to damage bytes.
fn damage(bytes: &mut Vec<u8>, rng: &mut Rng) {
    let mut below = |bound: usize| {
        let bound = u64::try_from(bound).unwrap();
        usize::try_from(rng.next_u64() % bound.max(1)).unwrap()
    };
    let at = below(bytes.len());
    match below(7) {
        0 => bytes[at] ^= 1 << below(8),
        1 => bytes[at] = u8::try_from(below(256)).unwrap(),
        2 => drop(bytes.remove(at)),
        3 => bytes.insert(at, u8::try_from(below(256)).unwrap()),
        4 => bytes.truncate(at),
        5 => {
            let other = below(bytes.len());
            bytes.swap(at, other);
        }
        _ => {
            let end = (at + below(40)).min(bytes.len());
            let part = bytes[at..end].to_vec();
            let to = below(bytes.len());
            bytes.splice(to..to, part);
        }
    }
}

#[test]
fn of_ten_thousand_damaged_certificates_none_is_believed() {
    let root = authority(None, unconstrained);
    let middle = authority(Some(&root), unconstrained);
    let verifier = verifier(&root, None, any());
    let whole = [leaf(&middle, unconstrained), middle.certificate.clone()];
    assert!(verifier.accepts(&whole));
    let mut rng = Rng::new(20_261_123);
    let mut tried = 0;
    while tried < 10_000 {
        let mut chain = whole.clone();
        // Mostly the leaf; sometimes who signed it.
        let which = usize::from(rng.next_u64().is_multiple_of(4));
        let mut bytes = chain[which].to_vec();
        for _ in 0..=rng.next_u64() % 3 {
            if !bytes.is_empty() {
                damage(&mut bytes, &mut rng);
            }
        }
        if bytes == *whole[which] {
            continue;
        }
        tried += 1;
        chain[which] = bytes.into();
        // Whatever it says of itself, it is read or not.
        let read = Peer::read(&chain[which], &[]);
        let identity = read.and_then(|peer| peer.identity);
        assert!(identity.is_none_or(|id| id.starts_with("spiffe://")));
        names_match(&chain[which], &[SHOP, "shop.example"]);
        assert!(!verifier.accepts(&chain), "{:02x?}", &chain[which][..]);
    }
}

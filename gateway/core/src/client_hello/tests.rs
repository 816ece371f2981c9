//! Hellos as clients send them, and as they should not.

use super::*;

/// A hello with these extensions, as one message.
fn message(extensions: &[(u16, Vec<u8>)]) -> Vec<u8> {
    let mut body = vec![3, 3];
    body.extend([7; 32]);
    body.push(32);
    body.extend([9; 32]);
    body.extend([0, 4, 0x13, 0x01, 0x13, 0x02, 1, 0]);
    let mut all = Vec::new();
    for (kind, value) in extensions {
        all.extend(kind.to_be_bytes());
        all.extend(u16::try_from(value.len()).unwrap().to_be_bytes());
        all.extend(value);
    }
    body.extend(u16::try_from(all.len()).unwrap().to_be_bytes());
    body.extend(all);
    let length = u32::try_from(body.len()).unwrap().to_be_bytes();
    let mut message = vec![1, length[1], length[2], length[3]];
    message.extend(body);
    message
}

fn name(name: &[u8]) -> (u16, Vec<u8>) {
    let length = u16::try_from(name.len()).unwrap();
    let mut value = (length + 3).to_be_bytes().to_vec();
    value.push(0);
    value.extend(length.to_be_bytes());
    value.extend(name);
    (SERVER_NAME, value)
}

/// As records of at most so many bytes.
fn records(message: &[u8], size: usize) -> Vec<u8> {
    let mut out = Vec::new();
    for part in message.chunks(size) {
        out.extend([22, 3, 1]);
        out.extend(u16::try_from(part.len()).unwrap().to_be_bytes());
        out.extend(part);
    }
    out
}

fn read(bytes: &[u8]) -> Result<Option<ClientHello>, HelloError> {
    HelloReader::default().feed(bytes)
}

fn sni(bytes: &[u8]) -> Option<String> {
    read(bytes).unwrap().unwrap().sni.map(Into::into)
}

#[test]
fn a_name_is_found_however_the_hello_is_cut() {
    let share = (51, vec![5; 1_216]);
    let message = message(&[share, name(b"A.Example"), (0x0a0a, Vec::new())]);
    for size in [1, 2, 5, 512, 16_384] {
        let bytes = records(&message, size);
        for step in [1, 3, 700, bytes.len()] {
            let mut reader = HelloReader::default();
            let mut pieces = bytes.chunks(step).map(|piece| reader.feed(piece).unwrap());
            let hello = pieces.find_map(|hello| hello).unwrap();
            assert_eq!(hello.sni.as_deref(), Some("a.example"), "{size} {step}");
        }
        assert_eq!(read(&bytes[..bytes.len() - 1]), Ok(None));
        let followed = [&bytes[..], b"whatever follows"].concat();
        assert_eq!(sni(&followed).as_deref(), Some("a.example"));
    }
}

#[test]
fn names_are_dns_names_or_there_is_none() {
    let of = |text: &[u8]| read(&records(&message(&[name(text)]), 9_000)).map(|h| h.unwrap().sni);
    assert_eq!(
        of(b"outbound_.80_._.a.b"),
        Ok(Some("outbound_.80_._.a.b".into()))
    );
    assert_eq!(of(b"127.0.0.1"), Ok(None));
    assert_eq!(of(b"::1"), Ok(None));
    for bad in [
        &b""[..],
        b"a\0b",
        b"a\r\nb",
        b"a b",
        b"\xff",
        &[b'a'; 256],
        b"a:1",
        b"[::1]",
    ] {
        assert_eq!(of(bad), Err(HelloError::BadName), "{bad:?}");
    }
    assert_eq!(sni(&records(&message(&[(16, vec![0])]), 9_000)), None);
}

#[test]
fn what_is_no_hello_is_refused_at_once() {
    assert_eq!(read(b"G"), Err(HelloError::NotHello));
    assert_eq!(read(&[22, 2]), Err(HelloError::NotHello));
    assert_eq!(read(&[22, 3, 1, 0, 4, 2]), Err(HelloError::NotHello));
    assert_eq!(read(&[22, 3, 1, 0, 0]), Err(HelloError::Malformed));
    assert_eq!(read(&[22, 3, 1, 0x40, 1]), Err(HelloError::Malformed));
    assert_eq!(
        read(&[22, 3, 1, 0, 4, 1, 0, 0x40, 1]),
        Err(HelloError::TooLarge)
    );
    assert_eq!(HelloError::NotHello.alert(), [21, 3, 3, 0, 2, 2, 10]);
}

#[test]
fn lengths_must_fit() {
    let whole = message(&[name(b"a.example")]);
    // Every byte of the message, changed: an error, no panic, or a hello all the same.
    for at in 0..whole.len() {
        for value in [0, 1, 0x7f, 0xff] {
            let mut changed = whole.clone();
            changed[at] = value;
            drop(read(&records(&changed, 16_384)));
        }
    }
    for extensions in [
        vec![name(b"a"), name(b"b")],
        vec![(0, Vec::new())],
        vec![(0, vec![0, 0])],
        vec![(0, vec![0, 2, 0, 0])],
    ] {
        assert_eq!(
            read(&records(&message(&extensions), 9_000)),
            Err(HelloError::Malformed)
        );
    }
    let mut longer = whole;
    longer[3] += 1;
    longer.push(0);
    assert_eq!(read(&records(&longer, 9_000)), Err(HelloError::Malformed));
}

#[test]
fn proxies_of_the_mesh_are_known_by_what_they_offer() {
    let offer = |names: &[&str]| {
        let list: Vec<u8> = names
            .iter()
            .flat_map(|n| [&[u8::try_from(n.len()).unwrap()][..], n.as_bytes()].concat())
            .collect();
        let mut value = u16::try_from(list.len()).unwrap().to_be_bytes().to_vec();
        value.extend(list);
        let message = message(&[name(b"a.example"), (16, value)]);
        read(&records(&message, 9_000)).unwrap().unwrap().of_mesh
    };
    assert!(MESH_ALPN.iter().all(|known| offer(&["h2", known])));
    assert!(!offer(&["h2", "http/1.1"]));
    assert!(!offer(&["istio-", "Istio", "istio-http/2", ""]));
    for broken in [&b""[..], b"\0", b"\0\x09\x05ist", b"\xff\xff"] {
        let message = message(&[(16, broken.to_vec())]);
        assert!(!read(&records(&message, 9_000)).unwrap().unwrap().of_mesh);
    }
}

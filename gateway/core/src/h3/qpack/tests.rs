//! Sections of the RFC, sections that refer to what is not there, and any lines at all.

use proptest::prelude::*;

use super::*;

type Lines = Vec<(Vec<u8>, Vec<u8>)>;

fn decoded(section: &[u8]) -> Result<Lines, LineError> {
    let mut decoder = Decoder::new(section)?;
    let (mut out, mut lines) = (Vec::new(), Vec::new());
    while let Some(line) = decoder.next(&mut out, 64 * 1024)? {
        lines.push((out[line.name].to_vec(), out[line.value].to_vec()));
    }
    Ok(lines)
}

fn one(name: &str, value: &str) -> Result<Lines, LineError> {
    Ok(vec![(name.into(), value.into())])
}

/// RFC 9204 Appendix B.1, and one line of each kind that needs no dynamic table.
#[test]
fn lines_of_every_kind() {
    assert_eq!(
        decoded(b"\0\0\x51\x0b/index.html"),
        one(":path", "/index.html")
    );
    assert_eq!(decoded(b"\0\0\xd1"), one(":method", "GET"));
    assert_eq!(
        decoded(b"\0\0\xff\x23"),
        one("x-frame-options", "sameorigin")
    );
    assert_eq!(decoded(b"\0\0\x5f\x1d\x01x"), one("content-type", "x"));
    assert_eq!(decoded(b"\0\0\x23abc\x02de"), one("abc", "de"));
    assert_eq!(decoded(b"\0\0\x33abc\x00"), one("abc", ""), "never indexed");
    assert_eq!(decoded(b"\0\0\x2a\x64\x02\x82\x64\x02"), one("302", "302"));
    assert_eq!(decoded(b"\0\0"), Ok(Vec::new()));
}

#[test]
fn what_refers_to_the_dynamic_table_is_refused() {
    let sections: [&[u8]; 14] = [
        b"",
        b"\0",
        b"\x01\0\xd1",
        b"\0\x80\xd1",
        b"\0\0\x80",
        b"\0\0\x10",
        b"\0\0\x40\x01x",
        b"\0\0\x00\x01x",
        // behind the static table
        b"\0\0\xff\x24",
        b"\0\0\x5f\x54\x01x",
        // cut short
        b"\0\0\x51\x0b/index",
        b"\0\0\xff",
        // longer than 62 bits
        b"\0\0\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01",
        // a bad code
        b"\0\0\x51\x81\xff",
    ];
    for section in sections {
        assert_eq!(decoded(section), Err(LineError::Malformed), "{section:x?}");
    }
}

#[test]
fn a_line_beyond_the_limit_is_not_decoded() {
    let mut section = Vec::new();
    encode_prefix(&mut section);
    encode_line(&mut section, b"x-long", &[b'a'; 70_000]);
    assert_eq!(decoded(&section), Err(LineError::TooLong));
}

#[test]
fn the_peers_streams_have_nothing_to_say() {
    let encoder = |bytes: &[u8]| EncoderStream::default().take(bytes);
    assert_eq!(encoder(b""), Ok(()));
    assert_eq!(encoder(b"\x20\x20"), Ok(()));
    for bad in [
        &b"\x21"[..],
        b"\x3f\xe1\x1f",
        b"\xc0\x01x",
        b"\x41x\x01y",
        b"\x00",
    ] {
        assert_eq!(encoder(bad), Err(Malformed), "{bad:x?}");
    }
    let decoder = |bytes: &[u8]| {
        let mut stream = DecoderStream::default();
        bytes.iter().try_for_each(|byte| stream.take(&[*byte]))
    };
    assert_eq!(decoder(b"\x44\x7f\x81\x01\x7f\x00"), Ok(()));
    for bad in [&b"\x84"[..], b"\x00", b"\x01", b"\x44\x02"] {
        assert_eq!(decoder(bad), Err(Malformed), "{bad:x?}");
    }
    assert_eq!(decoder(&[0xff; 12]), Err(Malformed));
    let mut endless = vec![0x7f];
    endless.extend([0x80; 12]);
    assert_eq!(decoder(&endless), Err(Malformed));
}

proptest! {
    #[test]
    fn any_lines_survive(lines in proptest::collection::vec(
        ("[a-z:-]{0,20}", proptest::collection::vec(any::<u8>(), 0..200)), 0..20)
    ) {
        let mut section = Vec::new();
        encode_prefix(&mut section);
        for (name, value) in &lines {
            encode_line(&mut section, name.as_bytes(), value);
        }
        let lines: Lines = lines.into_iter().map(|(n, v)| (n.into_bytes(), v)).collect();
        prop_assert_eq!(decoded(&section), Ok(lines));
    }

    #[test]
    fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        // what counts is that this ends
        prop_assert!(decoded(&bytes).is_ok_and(|lines| lines.len() <= bytes.len()) || decoded(&bytes).is_err());
    }
}

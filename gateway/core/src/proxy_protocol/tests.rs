//! Headers as proxies send them, and as they should not.

use super::*;

fn ends(source: &str, destination: &str) -> Ends {
    Ends {
        source: source.parse().unwrap(),
        destination: destination.parse().unwrap(),
    }
}

fn read(bytes: &[u8]) -> Result<Option<Ends>, ProxyError> {
    let whole = parse(bytes)?.unwrap();
    for cut in 0..whole.len {
        assert_eq!(parse(&bytes[..cut]), Ok(None), "{cut} of {bytes:?}");
    }
    let followed = [bytes, b"GET / HTTP/1.1\r\n"].concat();
    assert_eq!(parse(&followed), Ok(Some(whole)));
    Ok(whole.ends)
}

/// A header of version 2 with this after its length.
fn v2(command: u8, family: u8, body: &[u8]) -> Vec<u8> {
    let mut out = SIGNATURE.to_vec();
    out.extend([command, family]);
    out.extend(u16::try_from(body.len()).unwrap().to_be_bytes());
    out.extend(body);
    out
}

#[test]
fn what_we_write_is_what_we_read() {
    for (source, destination) in [
        ("1.2.3.4:5", "10.0.0.1:65535"),
        ("[2001:db8::1]:443", "[::1]:80"),
    ] {
        let ends = ends(source, destination);
        for write in [write_v1, write_v2] {
            let mut out = Vec::new();
            write(&ends, &mut out);
            assert_eq!(read(&out), Ok(Some(ends)));
        }
    }
    for version in [ProxyVersion::V1, ProxyVersion::V2] {
        let mut out = Vec::new();
        write(version, None, &mut out);
        assert_eq!(read(&out), Ok(None));
    }
    let mixed = ends("1.2.3.4:5", "[::1]:80");
    let mut out = Vec::new();
    write_v1(&mixed, &mut out);
    assert_eq!(read(&out), Ok(None));
    out.clear();
    write_v2(&mixed, &mut out);
    assert_eq!(read(&out), Ok(Some(ends("[::ffff:1.2.3.4]:5", "[::1]:80"))));
}

#[test]
fn version_1_is_read_to_the_letter() {
    let good = ends("1.2.3.4:56", "5.6.7.8:443");
    assert_eq!(
        read(b"PROXY TCP4 1.2.3.4 5.6.7.8 56 443\r\n"),
        Ok(Some(good))
    );
    assert_eq!(read(b"PROXY UNKNOWN\r\n"), Ok(None));
    assert_eq!(read(b"PROXY UNKNOWN ff:: whatever 1 2\r\n"), Ok(None));
    for bad in [
        "PROXY\tTCP4 1.2.3.4 5.6.7.8 56 443\r\n",
        "proxy TCP4 1.2.3.4 5.6.7.8 56 443\r\n",
        "GET / HTTP/1.1\r\n\r\n",
    ] {
        assert_eq!(parse(bad.as_bytes()), Err(ProxyError::NotProxy), "{bad}");
    }
    for bad in [
        "TCP4 1.2.3.4 5.6.7.8 56",
        "TCP4 1.2.3.4 5.6.7.8 56 443 7",
        "TCP4  1.2.3.4 5.6.7.8 56 443",
        "TCP4 1.2.3.4 5.6.7.8 056 443",
        "TCP4 1.2.3.4 5.6.7.8 +56 443",
        "TCP4 1.2.3.4 5.6.7.8 56 65536",
        "TCP4 01.2.3.4 5.6.7.8 56 443",
        "TCP4 ::1 ::1 56 443",
        "TCP6 1.2.3.4 5.6.7.8 56 443",
        "UDP4 1.2.3.4 5.6.7.8 56 443",
        "",
    ] {
        let line = format!("PROXY {bad}\r\n");
        assert_eq!(parse(line.as_bytes()), Err(ProxyError::Malformed), "{bad}");
    }
    assert_eq!(parse(b"PROXY TCP4 \xff\r\n"), Err(ProxyError::Malformed));
    let endless = [&b"PROXY UNKNOWN "[..], &[b'x'; 93]].concat();
    assert_eq!(parse(&endless[..106]), Ok(None));
    assert_eq!(parse(&endless), Err(ProxyError::TooLong));
}

#[test]
fn version_2_knows_commands_families_and_extras() {
    let address = [1, 2, 3, 4, 5, 6, 7, 8, 0, 56, 1, 187];
    let good = Ok(Some(ends("1.2.3.4:56", "5.6.7.8:443")));
    assert_eq!(read(&v2(0x21, 0x11, &address)), good);
    let with = |extras: &[u8]| v2(0x21, 0x11, &[&address[..], extras].concat());
    assert_eq!(read(&with(&[4, 0, 2, 0, 0, 0xee, 0, 0])), good);
    assert_eq!(read(&v2(0x20, 0x00, b"")), Ok(None));
    assert_eq!(read(&v2(0x20, 0x77, b"anything")), Ok(None));
    assert_eq!(read(&v2(0x21, 0x00, b"anything")), Ok(None));
    for bad in [
        v2(0x22, 0x11, &address),
        v2(0x11, 0x11, &address),
        v2(0x21, 0x11, &address[..11]),
        v2(0x21, 0x21, &address),
        with(&[4]),
        with(&[4, 0, 3, 0, 0]),
        with(&[4, 0xff, 0xff]),
    ] {
        assert_eq!(parse(&bad), Err(ProxyError::Malformed), "{bad:?}");
    }
    for family in [0x12, 0x22, 0x31, 0x32, 0x10, 0xff] {
        let header = v2(0x21, family, &[0; 216]);
        assert_eq!(parse(&header), Err(ProxyError::Unsupported), "{family:x}");
    }
    let mut long = v2(0x21, 0x11, &address);
    long[14] = 0xff;
    assert_eq!(parse(&long), Err(ProxyError::TooLong));
}

//! What an authority says about one certificate of ours (RFC 6960 §4.2.1), to be sent beside it in
//! handshakes.
//!
//! Who receives it verifies it. We only see to it that it is about our certificate, says something
//! good, and has not expired.

use std::fmt;

use crate::der::{
    CONTEXT_0, ENUMERATED, Elements, INTEGER, OBJECT_ID, OCTET_STRING, SEQUENCE, time,
};

/// Largest response that is used, in bytes. One with the responder's certificates in it has two or
/// three thousand; it is sent in every handshake.
pub const STAPLE_BYTES_MAX: usize = 16 * 1024;

/// 1.3.6.1.5.5.7.48.1.1, a basic response.
const BASIC: &[u8] = &[0x2b, 0x06, 0x01, 0x05, 0x05, 0x07, 0x30, 0x01, 0x01];
/// The status of a response that is one.
const SUCCESSFUL: &[u8] = &[0];
/// `good [0] IMPLICIT NULL`.
const GOOD: u8 = 0x80;
/// `revoked [1] IMPLICIT RevokedInfo`.
const REVOKED: u8 = 0xa1;

/// When a response may be sent: seconds since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Validity {
    /// `thisUpdate`: from then on.
    pub from: i64,
    /// `nextUpdate`: until then.
    pub until: i64,
}

impl Validity {
    /// Whether it may be sent at a time, in seconds since 1970.
    #[must_use]
    pub fn holds(self, now: i64) -> bool {
        (self.from..=self.until).contains(&now)
    }
}

/// Why a response is not sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OcspError {
    /// It has more than [`STAPLE_BYTES_MAX`] bytes.
    TooLarge,
    /// It is no OCSP response in DER.
    Malformed,
    /// The responder had no answer.
    Unsuccessful,
    /// It is about another certificate.
    Another,
    /// The certificate was revoked.
    Revoked,
    /// The responder does not know the certificate.
    Unknown,
    /// It does not say until when it holds.
    Endless,
}

impl fmt::Display for OcspError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::TooLarge => "it is larger than 16 KiB",
            Self::Malformed => "it is no OCSP response in DER",
            Self::Unsuccessful => "the responder had no answer",
            Self::Another => "it is about another certificate",
            Self::Revoked => "the certificate was revoked",
            Self::Unknown => "the responder does not know the certificate",
            Self::Endless => "it does not say until when it holds (nextUpdate)",
        })
    }
}

/// Reads a response, as DER, about the certificate with this serial number, as DER has it.
///
/// # Errors
/// Why it is not sent.
pub fn read(response: &[u8], serial: &[u8]) -> Result<Validity, OcspError> {
    if response.len() > STAPLE_BYTES_MAX {
        return Err(OcspError::TooLarge);
    }
    let singles = singles(response)?;
    let found = Elements(singles).find_map(|(_, single)| {
        let mut fields = Elements(single);
        (serial_of(fields.expect(SEQUENCE)?)? == serial).then_some(fields)
    });
    let mut fields = found.ok_or(OcspError::Another)?;
    match fields.next().ok_or(OcspError::Malformed)? {
        (GOOD, _) => {}
        (REVOKED, _) => return Err(OcspError::Revoked),
        _ => return Err(OcspError::Unknown),
    }
    let from = fields.next().and_then(time).ok_or(OcspError::Malformed)?;
    let next = fields.expect(CONTEXT_0).ok_or(OcspError::Endless)?;
    let until = Elements(next).next().and_then(time);
    Ok(Validity {
        from,
        until: until.ok_or(OcspError::Malformed)?,
    })
}

/// The statements about certificates in a response.
fn singles(response: &[u8]) -> Result<&[u8], OcspError> {
    let malformed = OcspError::Malformed;
    let whole = Elements(response).expect(SEQUENCE).ok_or(malformed)?;
    let mut fields = Elements(whole);
    if fields.expect(ENUMERATED).ok_or(malformed)? != SUCCESSFUL {
        return Err(OcspError::Unsuccessful);
    }
    basic(fields).ok_or(malformed)
}

/// Behind the status: `ResponseBytes`, in it a `BasicOCSPResponse`, in it the list.
fn basic(mut fields: Elements<'_>) -> Option<&[u8]> {
    let mut bytes = Elements(Elements(fields.expect(CONTEXT_0)?).expect(SEQUENCE)?);
    if bytes.expect(OBJECT_ID)? != BASIC {
        return None;
    }
    let basic = Elements(bytes.expect(OCTET_STRING)?).expect(SEQUENCE)?;
    let data = Elements(basic).expect(SEQUENCE)?;
    // The version, the responder and a time come first; only the list is a sequence.
    let (_, list) = Elements(data).find(|(tag, _)| *tag == SEQUENCE)?;
    Some(list)
}

/// The serial number in a `CertID`.
fn serial_of(id: &[u8]) -> Option<&[u8]> {
    let mut fields = Elements(id);
    fields.expect(SEQUENCE)?;
    fields.expect(OCTET_STRING)?;
    fields.expect(OCTET_STRING)?;
    fields.expect(INTEGER)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn element(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
        let content = parts.concat();
        let length = u16::try_from(content.len()).unwrap().to_be_bytes();
        [&[tag, 0x82], &length[..], &content].concat()
    }

    /// A response as `openssl ocsp` makes them, with no signature in it.
    fn response(status: u8, serial: &[u8], standing: &[u8], next: Option<&str>) -> Vec<u8> {
        let id = [
            element(SEQUENCE, &[]),
            element(OCTET_STRING, &[&[1; 20]]),
            element(OCTET_STRING, &[&[2; 20]]),
            element(INTEGER, &[serial]),
        ];
        let this = element(0x18, &[b"20260101000000Z"]);
        let next = next.map(|next| element(CONTEXT_0, &[&element(0x18, &[next.as_bytes()])]));
        let single = element(
            SEQUENCE,
            &[
                &element(SEQUENCE, &[&id.concat()]),
                standing,
                &this,
                &next.unwrap_or_default(),
            ],
        );
        let other = element(SEQUENCE, &[&element(SEQUENCE, &[]), standing, &this]);
        let data = element(
            SEQUENCE,
            &[
                &element(0xa2, &[&element(OCTET_STRING, &[&[3; 20]])]),
                &this,
                &element(SEQUENCE, &[&other, &single]),
            ],
        );
        let basic = element(SEQUENCE, &[&data]);
        let bytes = element(
            SEQUENCE,
            &[
                &element(OBJECT_ID, &[BASIC]),
                &element(OCTET_STRING, &[&basic]),
            ],
        );
        element(
            SEQUENCE,
            &[
                &element(ENUMERATED, &[&[status]]),
                &element(CONTEXT_0, &[&bytes]),
            ],
        )
    }

    const NEXT: Option<&str> = Some("20260108000000Z");

    #[test]
    fn a_response_is_good_for_its_certificate_and_its_time() {
        let good = response(0, &[7], &[GOOD, 0], NEXT);
        let validity = read(&good, &[7]).unwrap();
        assert_eq!(validity.until - validity.from, 7 * 86_400);
        let moments = [-1, 0, 7 * 86_400, 7 * 86_400 + 1];
        let holds = moments.map(|after| validity.holds(validity.from + after));
        assert_eq!(holds, [false, true, true, false]);
        // Cut off anywhere, it is refused, not misread.
        assert!((0..good.len()).all(|end| read(&good[..end], &[7]).is_err()));
    }

    #[test]
    fn what_is_not_to_be_sent_is_told_apart() {
        let revoked = element(REVOKED, &[&element(0x18, &[b"20260101000000Z"])]);
        let cases = [
            (response(0, &[8], &[GOOD, 0], NEXT), OcspError::Another),
            (response(0, &[7], &revoked, NEXT), OcspError::Revoked),
            (response(0, &[7], &[0x82, 0], NEXT), OcspError::Unknown),
            (response(0, &[7], &[GOOD, 0], None), OcspError::Endless),
            (
                response(0, &[7], &[GOOD, 0], Some("soon")),
                OcspError::Malformed,
            ),
            (response(3, &[7], &[GOOD, 0], NEXT), OcspError::Unsuccessful),
            (b"garbage".to_vec(), OcspError::Malformed),
            (Vec::new(), OcspError::Malformed),
            (vec![0; STAPLE_BYTES_MAX + 1], OcspError::TooLarge),
        ];
        for (bytes, error) in cases {
            assert_eq!(read(&bytes, &[7]), Err(error), "{error}");
        }
    }
}

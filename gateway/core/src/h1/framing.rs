//! What the framing fields say about the body (RFC 9112 §6), with no room for two readings.

use crate::h1::error::H1Error;
use crate::h1::field::HeaderIndex;
use crate::h1::known::KnownHeader;
use crate::h1::scan;
use crate::h1::{BodyKind, Version};

/// The framing that the fields declare; [`BodyKind::None`] when they declare none.
pub(super) fn declared(
    buf: &[u8],
    index: &HeaderIndex,
    version: Version,
) -> Result<BodyKind, H1Error> {
    let coding = index.value(buf, KnownHeader::TransferEncoding);
    let length = index.value(buf, KnownHeader::ContentLength);
    if coding.is_some() && length.is_some() {
        return Err(H1Error::LengthAndEncoding);
    }
    if let Some(coding) = coding {
        if index.is_repeated(KnownHeader::TransferEncoding) || version == Version::Http10 {
            return Err(H1Error::BadTransferEncoding);
        }
        return transfer_encoding(coding);
    }
    let Some(length) = length else {
        return Ok(BodyKind::None);
    };
    if index.is_repeated(KnownHeader::ContentLength) {
        return Err(H1Error::DuplicateContentLength);
    }
    content_length(length).map(BodyKind::Length)
}

/// `1*DIGIT` that fits 64 bits.
fn content_length(value: &[u8]) -> Result<u64, H1Error> {
    if value.is_empty() {
        return Err(H1Error::BadContentLength);
    }
    value.iter().try_fold(0_u64, |sum, byte| {
        let digit = byte.wrapping_sub(b'0');
        if digit > 9 {
            return Err(H1Error::BadContentLength);
        }
        let sum = sum
            .checked_mul(10)
            .and_then(|sum| sum.checked_add(u64::from(digit)));
        sum.ok_or(H1Error::BadContentLength)
    })
}

/// Only `chunked`, once. A well-formed list that asks for something else is 501, because the
/// sender may be right and we are the ones who cannot; anything malformed is 400.
fn transfer_encoding(value: &[u8]) -> Result<BodyKind, H1Error> {
    if value.eq_ignore_ascii_case(b"chunked") {
        return Ok(BodyKind::Chunked);
    }
    let is_chunked = |coding: &[u8]| coding.eq_ignore_ascii_case(b"chunked");
    if !scan::members(value).all(scan::is_token_text)
        || scan::members(value)
            .filter(|coding| is_chunked(coding))
            .count()
            > 1
    {
        return Err(H1Error::BadTransferEncoding);
    }
    let chunked_last = scan::members(value).last().is_some_and(is_chunked);
    if !chunked_last && scan::members(value).any(is_chunked) {
        return Err(H1Error::BadTransferEncoding);
    }
    Err(H1Error::UnknownTransferCoding)
}

//! The index of a head's field lines: where each name and value lies in the buffer that holds it.
//!
//! The index borrows nothing, so the shell keeps buffer and index side by side, reuses both from
//! request to request, and pays no allocation once they have grown.

use crate::h1::error::H1Error;
use crate::h1::known::KnownHeader;
use crate::h1::{Parse, scan};
use crate::limits::{MAX_FIELDS, MAX_HEAD_BYTES, Underscores};

/// A range of the buffer that holds a head, counted from the buffer's start.
///
/// 16 bits are enough because a head has at most [`crate::limits::MAX_HEAD_BYTES`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Span {
    start: u16,
    end: u16,
}

impl Span {
    /// The range `start..end`; positions beyond 65535 saturate, which heads cannot reach.
    pub(crate) fn new(start: usize, end: usize) -> Self {
        let narrow = |n| u16::try_from(n).unwrap_or(u16::MAX);
        Self {
            start: narrow(start),
            end: narrow(end),
        }
    }

    /// The bytes, from the buffer that was parsed (empty if it is another, shorter one).
    #[must_use]
    pub fn of(self, buf: &[u8]) -> &[u8] {
        buf.get(self.start()..self.end()).unwrap_or_default()
    }

    /// The bytes as text, for ranges that the parser let only ASCII into: method, target,
    /// authority. Empty for anything else.
    #[must_use]
    pub fn text(self, buf: &[u8]) -> &str {
        str::from_utf8(self.of(buf)).unwrap_or_default()
    }

    /// First byte.
    #[must_use]
    pub fn start(self) -> usize {
        usize::from(self.start)
    }

    /// One past the last byte.
    #[must_use]
    pub fn end(self) -> usize {
        usize::from(self.end)
    }

    /// Bytes in the range.
    #[must_use]
    pub fn len(self) -> usize {
        self.end().saturating_sub(self.start())
    }

    /// Whether there are none.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.start >= self.end
    }
}

/// One field line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Field {
    /// The name, lower-cased in the buffer.
    pub name: Span,
    /// The value without white space around it.
    pub value: Span,
    /// One past the line end.
    line_end: u16,
    /// What the name means to the gateway.
    pub known: Option<KnownHeader>,
    /// The line is exactly `name: value CRLF`, so it can be forwarded as it stands.
    pub(crate) plain: bool,
}

impl Field {
    /// One past the CRLF that ends the line.
    pub(super) fn line_end(&self) -> usize {
        usize::from(self.line_end)
    }
}

/// A set of field lines of one head, by position.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct FieldSet(u128);

impl FieldSet {
    /// The empty set.
    pub const NONE: Self = Self(0);

    /// Adds the field at `position` (positions from [`MAX_FIELDS`] up do not exist).
    pub const fn insert(&mut self, position: usize) {
        if position < 128 {
            self.0 |= 1 << position;
        }
    }

    /// Whether the field at `position` is in the set.
    #[must_use]
    pub const fn contains(self, position: usize) -> bool {
        position < 128 && self.0 & (1 << position) != 0
    }

    /// Either set's fields.
    #[must_use]
    pub const fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// The fields of this set that are not in `other`.
    #[must_use]
    pub const fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// Whether no field is in the set.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }
}

/// No field of this name.
const ABSENT: u8 = u8::MAX;

/// The field lines of one head; reused between heads.
///
/// After [`crate::h1::Parse::Partial`] it remembers how far it has looked, so the next call must
/// be about the same head with more bytes behind it, or [`HeaderIndex::clear`] must come first.
#[derive(Clone, Debug)]
pub struct HeaderIndex {
    fields: Vec<Field>,
    /// Position of the first field of each known name.
    first: [u8; KnownHeader::COUNT],
    /// Known names that occur more than once, by slot.
    repeated: u64,
    /// Fields that are written anew on every hop instead of being forwarded.
    per_hop: FieldSet,
    /// Bytes of an incomplete head that were already looked at.
    pub(crate) looked_at: usize,
}

impl Default for HeaderIndex {
    fn default() -> Self {
        Self::new()
    }
}

impl HeaderIndex {
    /// An empty index; allocates on first use.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            fields: Vec::new(),
            first: [ABSENT; KnownHeader::COUNT],
            repeated: 0,
            per_hop: FieldSet(0),
            looked_at: 0,
        }
    }

    /// Forgets the head but keeps the memory.
    pub fn clear(&mut self) {
        self.forget_fields();
        self.looked_at = 0;
    }

    pub(crate) fn forget_fields(&mut self) {
        self.fields.clear();
        self.first = [ABSENT; KnownHeader::COUNT];
        self.repeated = 0;
        self.per_hop = FieldSet::default();
    }

    /// The fields that never cross a hop as they are: framing, `host`, and the connection's own.
    #[must_use]
    pub const fn per_hop(&self) -> FieldSet {
        self.per_hop
    }

    /// One past the last field line in the buffer; never less than the lines' bytes.
    pub(super) fn bytes(&self) -> usize {
        self.fields.last().map_or(0, Field::line_end)
    }

    /// The field lines in order.
    #[must_use]
    pub fn fields(&self) -> &[Field] {
        &self.fields
    }

    /// Position and field of the first line with a known name.
    #[must_use]
    pub fn first(&self, known: KnownHeader) -> Option<(usize, &Field)> {
        let position = usize::from(*self.first.get(known.slot())?);
        self.fields.get(position).map(|field| (position, field))
    }

    /// The value of the first line with a known name.
    #[must_use]
    pub fn value<'b>(&self, buf: &'b [u8], known: KnownHeader) -> Option<&'b [u8]> {
        self.first(known).map(|(_, field)| field.value.of(buf))
    }

    /// Whether a known name occurs.
    #[must_use]
    pub fn has(&self, known: KnownHeader) -> bool {
        self.first
            .get(known.slot())
            .is_some_and(|position| *position != ABSENT)
    }

    /// Whether a known name occurs more than once.
    #[must_use]
    pub const fn is_repeated(&self, known: KnownHeader) -> bool {
        self.repeated & (1 << known.slot()) != 0
    }

    /// Positions and fields of every line with a known name.
    pub fn all(&self, known: KnownHeader) -> impl Iterator<Item = (usize, &Field)> {
        let from = self
            .first(known)
            .map_or(self.fields.len(), |(position, _)| position);
        let fields = self.fields.iter().enumerate().skip(from);
        fields.filter(move |(_, field)| field.known == Some(known))
    }

    /// Positions and fields of every line with a name, given in lower case.
    pub fn named<'i>(
        &'i self,
        buf: &'i [u8],
        name: &[u8],
    ) -> impl Iterator<Item = (usize, &'i Field)> {
        self.fields
            .iter()
            .enumerate()
            .filter(move |(_, field)| field.name.of(buf) == name)
    }

    /// Appends `name: value CRLF` to `buf` and to the index: how a head that arrived in another
    /// form (HTTP/2, HTTP/3) gets the same shape. `name` must be a lower-case token and `value` a
    /// valid field value without white space around it.
    ///
    /// # Errors
    /// When the head would have too many fields or bytes.
    pub fn push(&mut self, buf: &mut Vec<u8>, name: &[u8], value: &[u8]) -> Result<(), H1Error> {
        let line = buf.len() + name.len() + value.len() + 4;
        if line > MAX_HEAD_BYTES {
            return Err(H1Error::HeadTooLarge);
        }
        if self.fields.len() >= MAX_FIELDS {
            return Err(H1Error::TooManyFields);
        }
        let start = buf.len();
        buf.extend_from_slice(name);
        buf.extend_from_slice(b": ");
        buf.extend_from_slice(value);
        buf.extend_from_slice(b"\r\n");
        let value_start = start + name.len() + 2;
        self.record(
            KnownHeader::of(name),
            Span::new(start, start + name.len()),
            Span::new(value_start, value_start + value.len()),
            line,
        );
        Ok(())
    }

    /// Whether bytes behind the part already looked at can change the verdict: a line end, or the
    /// head's bound. Without this, a head sent byte by byte would cost its length squared.
    pub(super) fn has_news(&mut self, view: &[u8]) -> bool {
        let fresh = view.get(self.looked_at..).unwrap_or_default();
        let news = fresh.contains(&b'\n') || view.len() >= MAX_HEAD_BYTES;
        self.looked_at = view.len();
        news
    }

    fn record(&mut self, known: Option<KnownHeader>, name: Span, value: Span, line_end: usize) {
        let plain = value.start == name.end.saturating_add(2) && value.end() + 2 == line_end;
        if let Some(known) = known
            && let Some(first) = self.first.get_mut(known.slot())
        {
            if known.is_per_hop() {
                self.per_hop.insert(self.fields.len());
            }
            if *first == ABSENT {
                *first = u8::try_from(self.fields.len()).unwrap_or(ABSENT);
            } else {
                self.repeated |= 1 << known.slot();
            }
        }
        let line_end = Span::new(0, line_end).end;
        self.fields.push(Field {
            name,
            value,
            line_end,
            known,
            plain,
        });
    }
}

/// Parses field lines from `cursor` to the empty line that ends a head. `Ok(true)` leaves the
/// cursor behind that line; `Ok(false)` and errors leave it at the line that is incomplete or bad.
pub(super) fn parse_fields(
    buf: &mut [u8],
    cursor: &mut usize,
    index: &mut HeaderIndex,
    underscores: Underscores,
) -> Result<bool, H1Error> {
    while let Some(first) = buf.get(*cursor) {
        match first {
            b'\r' => {
                return match buf.get(*cursor + 1) {
                    Some(b'\n') => {
                        *cursor += 2;
                        Ok(true)
                    }
                    Some(_) => Err(H1Error::BareCr),
                    None => Ok(false),
                };
            }
            b'\n' => return Err(H1Error::BareLf),
            b' ' | b'\t' => return Err(H1Error::ObsFold),
            _ => {}
        }
        if index.fields.len() >= MAX_FIELDS {
            return Err(H1Error::TooManyFields);
        }
        match parse_line(buf, *cursor, index, underscores)? {
            Some(end) => *cursor = end,
            None => return Ok(false),
        }
    }
    Ok(false)
}

/// An error in the line at `cursor` counts once that line's end (or the head's bound) is there, so
/// that the verdict is the same however the bytes were cut.
pub(super) fn judge<T>(
    error: H1Error,
    view: &[u8],
    cursor: usize,
    index: &mut HeaderIndex,
) -> Result<Parse<T>, H1Error> {
    let line = view.get(cursor..).unwrap_or_default();
    if view.len() >= MAX_HEAD_BYTES || line.contains(&b'\n') {
        return Err(error);
    }
    index.looked_at = view.len();
    Ok(Parse::Partial)
}

/// Parses one field line that starts at `start`; the start of the next line.
fn parse_line(
    buf: &mut [u8],
    start: usize,
    index: &mut HeaderIndex,
    underscores: Underscores,
) -> Result<Option<usize>, H1Error> {
    let (name_len, underscore) = scan::lower_token(buf.get_mut(start..).unwrap_or_default());
    let colon = start + name_len;
    match buf.get(colon) {
        None => return Ok(None),
        Some(b':') if name_len > 0 => {}
        Some(b'\n') => return Err(H1Error::BareLf),
        Some(_) => return Err(H1Error::BadFieldName),
    }
    if underscore && underscores == Underscores::Reject {
        return Err(H1Error::Underscore);
    }
    let mut value_start = colon + 1;
    while let Some(b' ' | b'\t') = buf.get(value_start) {
        value_start += 1;
    }
    let value_stop = value_start + scan::text(buf.get(value_start..).unwrap_or_default());
    match (buf.get(value_stop), buf.get(value_stop + 1)) {
        (None, _) | (Some(b'\r'), None) => return Ok(None),
        (Some(b'\r'), Some(b'\n')) => {}
        (Some(b'\r'), _) => return Err(H1Error::BareCr),
        (Some(b'\n'), _) => return Err(H1Error::BareLf),
        _ => return Err(H1Error::BadFieldValue),
    }
    let mut value_end = value_stop;
    while value_end > value_start && matches!(buf.get(value_end - 1), Some(b' ' | b'\t')) {
        value_end -= 1;
    }
    let line_end = value_stop + 2;
    let name = Span::new(start, colon);
    let known = KnownHeader::of(name.of(buf));
    index.record(known, name, Span::new(value_start, value_end), line_end);
    Ok(Some(line_end))
}

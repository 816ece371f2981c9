//! The client's unidirectional streams (RFC 9114 §6.2): control, QPACK, and kinds that we do not
//! know.

use bytes::Bytes;

use super::frame::{HeaderReader, Kind, Overhead};
use super::qpack::{DecoderStream, EncoderStream};
use super::settings::{self, ClientSettings, SETTINGS_BYTES_MAX};
use super::{Code, Fault, varint};

/// Bytes of the frames that hold one identifier.
const ID_BYTES_MAX: u64 = 8;
/// What a request justifies on the control stream: a few PRIORITY_UPDATE frames (RFC 9218).
const PER_REQUEST: u64 = 256;

/// What all of a client's unidirectional streams have said together.
#[derive(Debug, Default)]
pub struct Peer {
    control: bool,
    encoder: bool,
    decoder: bool,
    settings: Option<ClientSettings>,
    max_push_id: Option<u64>,
    goaway: Option<u64>,
    overhead: Overhead,
}

/// One unidirectional stream.
#[derive(Debug)]
pub struct PeerStream(Role);

#[derive(Debug)]
enum Role {
    /// Its type is not whole yet.
    Unknown([u8; 8], usize),
    Control(Box<Control>),
    Encoder(EncoderStream),
    Decoder(DecoderStream),
    /// A type that means nothing to us.
    Ignored,
}

#[derive(Debug, Default)]
struct Control {
    header: HeaderReader,
    /// The frame under way, and the bytes of it that are still to come.
    frame: Option<(Kind, u64)>,
    payload: Vec<u8>,
}

impl Default for PeerStream {
    fn default() -> Self {
        Self::new()
    }
}

impl PeerStream {
    /// A stream of which nothing has been read.
    #[must_use]
    pub const fn new() -> Self {
        Self(Role::Unknown([0; 8], 0))
    }

    /// Whether reading it is useless: the client should be told to stop sending.
    #[must_use]
    pub const fn is_ignored(&self) -> bool {
        matches!(self.0, Role::Ignored)
    }

    /// Takes bytes of the stream.
    ///
    /// # Errors
    /// The rule that was broken; always an error of the connection.
    pub fn read(&mut self, peer: &mut Peer, input: &Bytes) -> Result<(), Fault> {
        let mut rest: &[u8] = input;
        if let Role::Unknown(bytes, len) = &mut self.0 {
            let mut kind = None;
            while let Some((byte, after)) = rest.split_first() {
                rest = after;
                if let Some(place) = bytes.get_mut(*len) {
                    *place = *byte;
                    *len += 1;
                }
                kind = bytes.get(..*len).and_then(varint::read);
                if kind.is_some() {
                    break;
                }
            }
            let Some((kind, _)) = kind else { return Ok(()) };
            self.0 = peer.role(kind)?;
        }
        match &mut self.0 {
            Role::Control(control) => control.read(peer, rest),
            Role::Encoder(stream) => stream
                .take(rest)
                .map_err(|_| Fault::Connection(Code::EncoderStream)),
            Role::Decoder(stream) => stream
                .take(rest)
                .map_err(|_| Fault::Connection(Code::DecoderStream)),
            Role::Unknown(..) | Role::Ignored => Ok(()),
        }
    }

    /// The client has ended or reset the stream.
    ///
    /// # Errors
    /// It was one that must last.
    pub const fn end(&self) -> Result<(), Fault> {
        match self.0 {
            // A stream that ends before its type is whole must be tolerated (RFC 9114 §6.2).
            Role::Unknown(..) | Role::Ignored => Ok(()),
            _ => Err(Fault::Connection(Code::ClosedCriticalStream)),
        }
    }
}

impl Peer {
    /// What the client's SETTINGS say; `None` before they came.
    #[must_use]
    pub const fn settings(&self) -> Option<ClientSettings> {
        self.settings
    }

    /// The client began a request: its control stream may say a little more.
    pub const fn request_began(&mut self) {
        self.overhead.forgive(PER_REQUEST);
    }

    fn role(&mut self, kind: u64) -> Result<Role, Fault> {
        let (seen, role) = match kind {
            0x00 => (&mut self.control, Role::Control(Box::default())),
            0x02 => (&mut self.encoder, Role::Encoder(EncoderStream::default())),
            0x03 => (&mut self.decoder, Role::Decoder(DecoderStream::default())),
            // Only servers push.
            0x01 => return Err(Fault::Connection(Code::StreamCreation)),
            _ => return Ok(Role::Ignored),
        };
        if std::mem::replace(seen, true) {
            return Err(Fault::Connection(Code::StreamCreation));
        }
        Ok(role)
    }

    /// A frame of the control stream begins.
    fn begin(&mut self, kind: Kind, len: u64) -> Result<(), Fault> {
        let bound = match kind {
            Kind::Settings if self.settings.is_none() => SETTINGS_BYTES_MAX,
            Kind::Data | Kind::Headers | Kind::PushPromise | Kind::Forbidden | Kind::Settings
                if self.settings.is_some() =>
            {
                return Err(Fault::Connection(Code::FrameUnexpected));
            }
            _ if self.settings.is_none() => {
                return Err(Fault::Connection(Code::MissingSettings));
            }
            Kind::Goaway | Kind::MaxPushId | Kind::CancelPush => ID_BYTES_MAX,
            _ => u64::MAX,
        };
        let ignored = if kind == Kind::Unknown { len } else { 0 };
        self.overhead.frame(0, ignored)?;
        if len > bound {
            return Err(Fault::Connection(if kind == Kind::Settings {
                Code::ExcessiveLoad
            } else {
                Code::Frame
            }));
        }
        Ok(())
    }

    /// A frame of the control stream is whole.
    fn frame(&mut self, kind: Kind, payload: &[u8]) -> Result<(), Fault> {
        match kind {
            Kind::Settings => self.settings = Some(settings::parse(payload)?),
            Kind::MaxPushId => {
                let id = identifier(payload)?;
                if self.max_push_id.is_some_and(|before| id < before) {
                    return Err(Fault::Connection(Code::Id));
                }
                self.max_push_id = Some(id);
            }
            Kind::Goaway => {
                let id = identifier(payload)?;
                if self.goaway.is_some_and(|before| id > before) {
                    return Err(Fault::Connection(Code::Id));
                }
                self.goaway = Some(id);
            }
            // We have promised nothing that could be cancelled (RFC 9114 §7.2.3).
            Kind::CancelPush => {
                identifier(payload)?;
                return Err(Fault::Connection(Code::Id));
            }
            _ => {}
        }
        Ok(())
    }
}

/// The identifier that is the whole of a payload.
fn identifier(payload: &[u8]) -> Result<u64, Fault> {
    match varint::read(payload) {
        Some((id, len)) if len == payload.len() => Ok(id),
        _ => Err(Fault::Connection(Code::Frame)),
    }
}

impl Control {
    fn read(&mut self, peer: &mut Peer, mut rest: &[u8]) -> Result<(), Fault> {
        loop {
            let (kind, left) = match self.frame {
                Some(frame) => frame,
                None => {
                    let (header, taken) = self.header.take(rest);
                    rest = rest.get(taken..).unwrap_or_default();
                    let Some((kind, len)) = header else {
                        return Ok(());
                    };
                    peer.begin(kind, len)?;
                    self.payload.clear();
                    (kind, len)
                }
            };
            let some = usize::try_from(left).unwrap_or(usize::MAX).min(rest.len());
            let (part, after) = rest.split_at_checked(some).unwrap_or_default();
            rest = after;
            // What is ignored is not kept; what is kept was bounded at the frame's start.
            if kind != Kind::Unknown {
                self.payload.extend_from_slice(part);
            }
            let left = left - u64::try_from(some).unwrap_or(0);
            if left > 0 {
                self.frame = Some((kind, left));
                return Ok(());
            }
            self.frame = None;
            peer.frame(kind, &self.payload)?;
        }
    }
}

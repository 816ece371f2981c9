//! A name server that says what a test wants, by UDP and TCP on one port, also what it should not.

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::{Arc, Mutex};
use std::thread;

use hickory_proto::op::{Message, MessageType, Query, ResponseCode};
use hickory_proto::rr::rdata::A;
use hickory_proto::rr::{Name, RData, Record, RecordType};

/// What a name server says about a name.
#[derive(Clone)]
pub(crate) enum Says {
    /// These IPv4 addresses, good for so many seconds.
    Addresses(Vec<IpAddr>, u32),
    /// By UDP that the answer is too long, by TCP the answer.
    ByTcp(Vec<IpAddr>, u32),
    /// Forged answers first: another id, another question, another sender.
    AfterForgeries(IpAddr, IpAddr),
    /// There is no such name.
    Denied,
    /// It cannot say.
    Failed,
    /// Nothing at all.
    Silence,
    /// Bytes that are no message.
    Nonsense,
    /// An address under a name that leads back to itself.
    Loop,
    /// An address under a name of more than 255 bytes.
    LongName,
}

/// A running name server; its threads end with the process.
pub(crate) struct NameServer {
    pub(crate) address: SocketAddr,
    zone: Arc<Mutex<BTreeMap<String, Says>>>,
    asked: Arc<Mutex<Vec<String>>>,
}

impl NameServer {
    pub(crate) fn start() -> Self {
        let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = tcp.local_addr().unwrap();
        let udp = UdpSocket::bind(address).unwrap();
        let server = Self {
            address,
            zone: Arc::default(),
            asked: Arc::default(),
        };
        let (zone, asked) = (Arc::clone(&server.zone), Arc::clone(&server.asked));
        thread::spawn(move || by_udp(&udp, &zone, &asked));
        let zone = Arc::clone(&server.zone);
        thread::spawn(move || {
            for stream in tcp.incoming().map_while(Result::ok) {
                let zone = Arc::clone(&zone);
                thread::spawn(move || by_tcp(stream, &zone));
            }
        });
        server
    }

    /// From now on, this is said about a name.
    pub(crate) fn say(&self, name: &str, says: Says) {
        self.zone.lock().unwrap().insert(name.to_owned(), says);
    }

    /// Addresses that are good for a second.
    pub(crate) fn say_addresses(&self, name: &str, addresses: &[&str]) {
        let addresses = addresses.iter().map(|ip| ip.parse().unwrap());
        self.say(name, Says::Addresses(addresses.collect(), 1));
    }

    /// Every name that was asked for by UDP, in order.
    pub(crate) fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }
}

type Zone = Mutex<BTreeMap<String, Says>>;

/// What is said about the name of a question; unknown ones are denied.
fn look_up(zone: &Zone, query: &Query) -> (String, Says) {
    let name = query.name().to_utf8().trim_end_matches('.').to_owned();
    let says = zone.lock().unwrap().get(&name).cloned();
    (name, says.unwrap_or(Says::Denied))
}

fn by_udp(socket: &UdpSocket, zone: &Zone, asked: &Mutex<Vec<String>>) {
    let mut bytes = [0; 4_096];
    while let Ok((length, client)) = socket.recv_from(&mut bytes) {
        let Ok(question) = Message::from_vec(&bytes[..length]) else {
            continue;
        };
        let query = question.queries[0].clone();
        let (name, says) = look_up(zone, &query);
        asked.lock().unwrap().push(name);
        match &says {
            Says::Silence => continue,
            Says::Nonsense => {
                socket.send_to(&[0xc0, 0x0c, 1, 2, 3], client).unwrap();
                continue;
            }
            Says::Loop | Says::LongName => {
                let answer = broken(&question, matches!(says, Says::Loop));
                socket.send_to(&answer, client).unwrap();
                continue;
            }
            Says::AfterForgeries(forged, _) => forge(socket, client, &question, *forged),
            _ => {}
        }
        let mut answer = answer(&question, &says);
        if let Says::ByTcp(..) = says {
            answer.metadata.truncation = true;
            answer.answers.clear();
        }
        socket.send_to(&answer.to_vec().unwrap(), client).unwrap();
    }
}

/// An answer whose record has a name that cannot be one: a pointer to itself (RFC 1035 §4.1.4), or
/// more than 255 bytes of labels.
fn broken(question: &Message, by_loop: bool) -> Vec<u8> {
    let mut plain = answer(question, &Says::Addresses(Vec::new(), 1));
    plain.edns = None;
    let mut bytes = plain.to_vec().unwrap();
    // one answer
    bytes[7] = 1;
    if by_loop {
        let here = u16::try_from(bytes.len()).unwrap() | 0xc000;
        bytes.extend(here.to_be_bytes());
    } else {
        let label = [&[63][..], &[b'a'; 63]].concat();
        bytes.extend(label.repeat(5));
        bytes.push(0);
    }
    // an address record of class IN, good for an hour
    bytes.extend([0, 1, 0, 1, 0, 0, 14, 16, 0, 4, 127, 0, 0, 2]);
    bytes
}

/// What somebody would send who can only guess.
fn forge(socket: &UdpSocket, client: SocketAddr, question: &Message, address: IpAddr) {
    let lie = Says::Addresses(vec![address], 3_600);
    let mut other_id = answer(question, &lie);
    other_id.metadata.id = question.metadata.id.wrapping_add(1);
    socket.send_to(&other_id.to_vec().unwrap(), client).unwrap();
    let mut other_question = answer(question, &lie);
    let name = Name::from_ascii("other.internal.").unwrap();
    other_question.queries = vec![Query::query(name, RecordType::A)];
    socket
        .send_to(&other_question.to_vec().unwrap(), client)
        .unwrap();
    let stranger = UdpSocket::bind("127.0.0.1:0").unwrap();
    let bytes = answer(question, &lie).to_vec().unwrap();
    stranger.send_to(&bytes, client).unwrap();
}

fn by_tcp(mut stream: TcpStream, zone: &Zone) {
    let mut length = [0; 2];
    while stream.read_exact(&mut length).is_ok() {
        let mut bytes = vec![0; u16::from_be_bytes(length).into()];
        stream.read_exact(&mut bytes).unwrap();
        let question = Message::from_vec(&bytes).unwrap();
        let (_, says) = look_up(zone, &question.queries[0]);
        if let Says::Silence | Says::Nonsense | Says::Loop | Says::LongName = says {
            return;
        }
        let bytes = answer(&question, &says).to_vec().unwrap();
        let length = u16::try_from(bytes.len()).unwrap().to_be_bytes();
        let _ = stream.write_all(&[&length, bytes.as_slice()].concat());
    }
}

fn answer(question: &Message, says: &Says) -> Message {
    let mut answer = question.clone();
    answer.metadata.message_type = MessageType::Response;
    let (addresses, ttl) = match says {
        Says::Addresses(addresses, ttl) | Says::ByTcp(addresses, ttl) => (addresses.clone(), *ttl),
        Says::AfterForgeries(_, address) => (vec![*address], 1),
        Says::Denied => {
            answer.metadata.response_code = ResponseCode::NXDomain;
            (Vec::new(), 0)
        }
        _ => {
            answer.metadata.response_code = ResponseCode::ServFail;
            (Vec::new(), 0)
        }
    };
    let query = &question.queries[0];
    for address in addresses {
        if let (IpAddr::V4(ip), RecordType::A) = (address, query.query_type()) {
            let record = Record::from_rdata(query.name().clone(), ttl, RData::A(A(ip)));
            answer.add_answer(record);
        }
    }
    answer
}

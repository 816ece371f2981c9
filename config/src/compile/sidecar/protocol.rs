//! What a port speaks, by what is written about it. Istio `pkg/config/protocol/instance.go` and
//! `pkg/config/kube/conversion.go`: `appProtocol`, else the name up to its first `-`.

use crate::resource::Spec;
use crate::world::{Service, ServicePort};

/// What is spoken to a port.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Speaks {
    /// HTTP/1.1.
    Http,
    /// HTTP/2, gRPC.
    Http2,
    /// Bytes.
    Tcp,
    /// TLS of the application's own.
    Tls,
    /// Nobody says: the first bytes will.
    Unknown,
}

/// What a port of a service speaks.
pub(super) fn of_port(service: &Service, port: &ServicePort) -> Speaks {
    let number = u32::from(port.number);
    match &service.resource.spec {
        Spec::ServiceEntry(entry) => {
            let mut ports = entry.ports.iter();
            let found = ports.find(|p| p.number == number);
            found.map_or(Speaks::Unknown, |p| match p.protocol.as_str() {
                "" => of_word(&p.name),
                word => of_word(word),
            })
        }
        Spec::Service(kubernetes) => {
            let mut ports = kubernetes.spec.iter().flat_map(|s| &s.ports);
            let found = ports.find(|p| p.port == number);
            found.map_or(Speaks::Unknown, |p| match p.app_protocol.as_str() {
                "" => of_word(&p.name),
                word => of_word(word),
            })
        }
        _ => Speaks::Unknown,
    }
}

/// What a word says, which may go on after a `-`.
pub(super) fn of_word(word: &str) -> Speaks {
    let word = word.to_ascii_lowercase();
    let is = |name: &str| {
        let rest = word.strip_prefix(name);
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('-'))
    };
    if is("http2") || is("grpc") || word == "kubernetes.io/h2c" {
        Speaks::Http2
    } else if is("https") || is("tls") {
        Speaks::Tls
    } else if is("http") || word == "kubernetes.io/ws" {
        Speaks::Http
    } else if ["tcp", "mongo", "mysql", "redis"]
        .iter()
        .any(|name| is(name))
    {
        Speaks::Tcp
    } else {
        Speaks::Unknown
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_word_before_the_first_dash_says_it() {
        for (word, want) in [
            ("http", Speaks::Http),
            ("HTTP", Speaks::Http),
            ("http-web", Speaks::Http),
            ("http2-web", Speaks::Http2),
            ("grpc", Speaks::Http2),
            ("grpc-web", Speaks::Http2),
            ("https", Speaks::Tls),
            ("tls-db", Speaks::Tls),
            ("mysql", Speaks::Tcp),
            ("web", Speaks::Unknown),
            ("httpx", Speaks::Unknown),
            ("", Speaks::Unknown),
        ] {
            assert_eq!(of_word(word), want, "{word}");
        }
    }
}

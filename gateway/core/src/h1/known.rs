//! Field names that something in the gateway looks up: they are recognised once while a head is
//! parsed, so that finding one later is an array access instead of a scan.

macro_rules! known_headers {
    ($($variant:ident $name:literal,)*) => {
        /// A field name that the gateway knows.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[repr(u8)]
        #[expect(missing_docs, reason = "each variant is its name")]
        pub enum KnownHeader { $($variant,)* }

        impl KnownHeader {
            /// All of them.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// The name in lower case. For [`KnownHeader::XEnvoy`] only the common prefix.
            #[must_use]
            pub const fn name(self) -> &'static [u8] {
                match self { $(Self::$variant => $name,)* }
            }

            /// Recognises a lower-case name.
            #[must_use]
            pub fn of(name: &[u8]) -> Option<Self> {
                match name {
                    $($name => Some(Self::$variant),)*
                    _ if name.starts_with(b"x-envoy-") => Some(Self::XEnvoy),
                    _ => None,
                }
            }
        }
    };
}

known_headers! {
    // framing and hop-by-hop
    Host b"host",
    ContentLength b"content-length",
    TransferEncoding b"transfer-encoding",
    Connection b"connection",
    Upgrade b"upgrade",
    Expect b"expect",
    Te b"te",
    Trailer b"trailer",
    KeepAlive b"keep-alive",
    ProxyConnection b"proxy-connection",
    Http2Settings b"http2-settings",
    // who and where
    XForwardedFor b"x-forwarded-for",
    XForwardedProto b"x-forwarded-proto",
    XForwardedHost b"x-forwarded-host",
    XForwardedPort b"x-forwarded-port",
    XForwardedClientCert b"x-forwarded-client-cert",
    XRequestId b"x-request-id",
    Forwarded b"forwarded",
    Via b"via",
    // Envoy's controls; the last one stands for every other x-envoy-* name
    XEnvoyAttemptCount b"x-envoy-attempt-count",
    XEnvoyExternalAddress b"x-envoy-external-address",
    XEnvoyUpstreamServiceTime b"x-envoy-upstream-service-time",
    XEnvoyOriginalPath b"x-envoy-original-path",
    XEnvoyDecoratorOperation b"x-envoy-decorator-operation",
    XEnvoy b"x-envoy-",
    // what rules and logs ask for
    Authorization b"authorization",
    ProxyAuthorization b"proxy-authorization",
    Cookie b"cookie",
    SetCookie b"set-cookie",
    UserAgent b"user-agent",
    Referer b"referer",
    ContentType b"content-type",
    Accept b"accept",
    AcceptEncoding b"accept-encoding",
    Origin b"origin",
    AccessControlRequestMethod b"access-control-request-method",
    AccessControlRequestHeaders b"access-control-request-headers",
    GrpcTimeout b"grpc-timeout",
    GrpcStatus b"grpc-status",
    Traceparent b"traceparent",
    Tracestate b"tracestate",
    B3 b"b3",
    // responses
    Server b"server",
    Date b"date",
    Location b"location",
    AltSvc b"alt-svc",
    Etag b"etag",
    CacheControl b"cache-control",
}

impl KnownHeader {
    /// How many there are.
    pub const COUNT: usize = Self::ALL.len();

    /// The place in tables of [`KnownHeader::COUNT`] entries.
    #[must_use]
    pub const fn slot(self) -> usize {
        self as usize
    }

    /// Whether the field describes this hop (framing, connection, authority) and is therefore
    /// written anew for the next one, never copied.
    #[must_use]
    pub const fn is_per_hop(self) -> bool {
        (self as u8) <= (Self::Http2Settings as u8) && !matches!(self, Self::Expect)
    }

    /// Whether a client's `x-envoy-*` field of this kind would steer the gateway.
    #[must_use]
    pub const fn is_envoy(self) -> bool {
        matches!(
            self,
            Self::XEnvoyAttemptCount
                | Self::XEnvoyExternalAddress
                | Self::XEnvoyUpstreamServiceTime
                | Self::XEnvoyOriginalPath
                | Self::XEnvoyDecoratorOperation
                | Self::XEnvoy
        )
    }
}

/// [`crate::h1::HeaderIndex`] keeps a set of them in 64 bits.
const _: () = assert!(KnownHeader::COUNT <= 64);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_finds_itself() {
        for known in KnownHeader::ALL {
            assert_eq!(KnownHeader::of(known.name()), Some(*known));
            assert_eq!(KnownHeader::ALL[known.slot()], *known);
        }
        assert_eq!(
            KnownHeader::of(b"x-envoy-retry-on"),
            Some(KnownHeader::XEnvoy)
        );
        assert_eq!(
            KnownHeader::of(b"x_request_id"),
            None,
            "an underscore never aliases"
        );
    }
}

//! Who calls, as far as it is proven, and what that allows.

use std::fmt;
use std::net::SocketAddr;

use tonic::Status;

use crate::identity::Identity;
use crate::proxy::Proxy;
use crate::token::Claims;

/// A caller.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Caller {
    /// Anybody on this host: the plaintext port.
    Unproven,
    /// Holder of a join token.
    Token(Claims),
    /// Holder of a certificate of ours.
    Certificate(Identity),
}

impl fmt::Display for Caller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unproven => f.write_str("unproven"),
            Self::Token(claims) => claims.identity.fmt(f),
            Self::Certificate(identity) => identity.fmt(f),
        }
    }
}

impl Caller {
    /// Refuses a proxy that claims to be somebody else's: namespace and service account of the node
    /// must be those of the identity.
    pub(crate) fn may_be(&self, proxy: &Proxy) -> Result<(), Status> {
        let identity = match self {
            Self::Unproven => return Ok(()),
            Self::Token(claims) => &claims.identity,
            Self::Certificate(identity) => identity,
        };
        let same = identity.namespace == proxy.namespace
            && identity.service_account == proxy.service_account;
        if same {
            return Ok(());
        }
        Err(Status::permission_denied(format!(
            "{identity} is not {}/{}, which the node says it is",
            proxy.namespace, proxy.service_account
        )))
    }

    /// Refuses to register the workload of somebody who has not proven who that is: others would
    /// send it their requests.
    pub(crate) fn may_register(&self, proxy: &Proxy) -> Result<(), Status> {
        match (self, &proxy.group) {
            (Self::Unproven, Some(_)) => Err(Status::permission_denied(
                "a workload registers on the encrypted port only",
            )),
            _ => Ok(()),
        }
    }

    /// Whether keys may be given to it: only to who has one already. The plaintext port has no
    /// secrets, and a token may have been read on its way.
    pub(crate) fn may_have_secrets(&self) -> bool {
        matches!(self, Self::Certificate(_))
    }
}

/// What is known of a connection, given to every request on it.
#[derive(Debug, Clone)]
pub(crate) struct Connection {
    /// Where the peer is, if it came over the network.
    pub(crate) peer: Option<SocketAddr>,
    /// Identity of the certificate that it proved to hold.
    pub(crate) certificate: Option<Identity>,
    /// It is encrypted: callers must say who they are.
    pub(crate) is_tls: bool,
}

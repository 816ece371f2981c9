//! Who is on the other side of a connection: a workload's identity, as SPIFFE writes it.

use std::fmt;
use std::str::FromStr;

/// Longest part of an identity: what Kubernetes allows for names, four times over.
const PART_MAX: usize = 1_012;

/// A workload: `spiffe://<trust domain>/ns/<namespace>/sa/<service account>`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Identity {
    /// Trust domain.
    pub trust_domain: String,
    /// Namespace.
    pub namespace: String,
    /// Service account.
    pub service_account: String,
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "spiffe://{}/ns/{}/sa/{}",
            self.trust_domain, self.namespace, self.service_account
        )
    }
}

/// The text is no workload's identity.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NotAnIdentity;

impl fmt::Display for NotAnIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not spiffe://<trust domain>/ns/<namespace>/sa/<service account>")
    }
}

impl std::error::Error for NotAnIdentity {}

impl Identity {
    /// An identity of parts.
    ///
    /// # Errors
    /// A part is empty, too long, or has a character that a SPIFFE path must not have.
    pub fn new(
        trust_domain: &str,
        namespace: &str,
        service_account: &str,
    ) -> Result<Self, NotAnIdentity> {
        let parts = [trust_domain, namespace, service_account];
        if !parts.into_iter().all(is_part) {
            return Err(NotAnIdentity);
        }
        Ok(Self {
            trust_domain: trust_domain.to_owned(),
            namespace: namespace.to_owned(),
            service_account: service_account.to_owned(),
        })
    }
}

/// SPIFFE-ID §2.1 and §2.2: letters, digits, `.`, `-`, `_`, and no dot segments.
fn is_part(part: &str) -> bool {
    let known = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
    !part.is_empty()
        && part.len() <= PART_MAX
        && part.chars().all(known)
        && !matches!(part, "." | "..")
}

impl FromStr for Identity {
    type Err = NotAnIdentity;

    fn from_str(text: &str) -> Result<Self, NotAnIdentity> {
        let path = text.strip_prefix("spiffe://").ok_or(NotAnIdentity)?;
        let parts: Vec<&str> = path.split('/').collect();
        match parts[..] {
            [domain, "ns", namespace, "sa", account] => Self::new(domain, namespace, account),
            _ => Err(NotAnIdentity),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identities_are_read_as_they_are_written() {
        let text = "spiffe://cluster.local/ns/shop/sa/web-1";
        let identity: Identity = text.parse().unwrap();
        assert_eq!(identity.namespace, "shop");
        assert_eq!(identity.to_string(), text);
    }

    #[test]
    fn what_is_not_one_is_refused() {
        for text in [
            "",
            "spiffe://",
            "https://cluster.local/ns/a/sa/b",
            "spiffe://cluster.local/ns/a",
            "spiffe://cluster.local/ns/a/sa/b/c",
            "spiffe://cluster.local/ns//sa/b",
            "spiffe://cluster.local/ns/../sa/b",
            "spiffe://cluster.local/ns/a/sa/b\0",
            "spiffe://cluster.local/ns/a/sa/b?x",
            "spiffe://cluster.local/NS/a/sa/b",
        ] {
            assert_eq!(text.parse::<Identity>(), Err(NotAnIdentity), "{text}");
        }
    }
}

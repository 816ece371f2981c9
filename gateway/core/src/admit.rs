//! Who may pass: the policies that stand before every route, in Istio's order.
//!
//! Nothing reaches an upstream without an [`Admitted`]; only [`admit`] makes one.

use crate::call::Call;
use crate::reply::Reply;
use crate::tables::Tables;

/// Proof that policy said yes, and what it learned of the caller.
#[derive(Debug, Clone, Default)]
pub struct Admitted {
    claims: Claims,
}

impl Admitted {
    /// What a verified token claims; empty without one.
    #[must_use]
    pub fn claims(&self) -> &Claims {
        &self.claims
    }

    /// For comparing with the model, which is told the claims.
    pub(crate) fn with_claims(claims: Claims) -> Self {
        Self { claims }
    }
}

/// Claims of a verified token: path of a claim, and its string or the members of its list.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Claims(Vec<(Vec<String>, Vec<String>)>);

impl Claims {
    /// From paths and values.
    pub(crate) fn new(claims: Vec<(Vec<String>, Vec<String>)>) -> Self {
        Self(claims)
    }

    /// Whether `test` holds for the claim at this path: for its string, or for any member of its
    /// list. A claim that the token does not have never passes.
    pub fn any(&self, path: &[String], mut test: impl FnMut(&str) -> bool) -> bool {
        let mut named = self.0.iter().filter(|(claim, _)| claim == path);
        named.any(|(_, values)| values.iter().any(|value| test(value)))
    }
}

/// Asks every policy in order; the first denial is the answer.
///
/// # Errors
/// The answer of the policy that denied.
#[allow(
    clippy::result_large_err,
    reason = "a denial is answered where it arises, never carried far"
)]
pub fn admit<'t>(tables: &'t Tables, call: &Call<'_>) -> Result<Admitted, Reply<'t>> {
    let mut admitted = Admitted::default();
    for policy in POLICIES {
        policy(tables, call, &mut admitted)?;
    }
    Ok(admitted)
}

/// A policy lets the call pass, perhaps having learned something, or answers it.
type Policy = for<'t> fn(&'t Tables, &Call<'_>, &mut Admitted) -> Result<(), Reply<'t>>;

/// The order is Istio's filter order on a gateway (`pilot/pkg/networking/core/listener_builder.go`).
const POLICIES: [Policy; 0] = [
    // 1. External authorization (`CUSTOM`): before tokens, so it cannot ask about claims.
    // 2. Tokens (`RequestAuthentication`): before routing, because routes may match on claims.
    // 3. Authorization (`AuthorizationPolicy`): AUDIT, DENY, ALLOW.
    // Fault, CORS and routing follow in `decide`: a denial precedes an injected fault.
];

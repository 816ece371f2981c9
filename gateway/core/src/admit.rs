//! Who may pass: the policies that stand before every route, in Istio's order.
//!
//! Nothing reaches an upstream without an [`Admitted`]; only [`admit`] and
//! [`admit_connection`] make one.

mod authz;
mod base64url;
mod claims;
mod edits;
mod external;
mod json;
mod jwks;
mod jwt;

use crate::call::Call;
use crate::reply::Reply;
use crate::tables::Tables;
use sallyport_config::model::Observed;
use std::cell::RefCell;

pub use claims::Claims;
pub use edits::RequestEdits;
pub use external::{
    ANSWER_BYTES_MAX, Asked, Changes, Cleared, HttpCall, Inquiry, Outcome, Question, Shown,
    inquire, inquire_connection,
};
pub use jwks::{JWKS_BYTES_MAX, KeySet, KeyStore, Misses};
pub use jwt::TokenCache;

pub(crate) use authz::{Authorization, Check, Facts, authorize};
pub(crate) use jwt::Tokens;

/// Proof that policy said yes, and what it learned of the caller.
#[derive(Debug, Clone, Default)]
pub struct Admitted {
    claims: Claims,
    edits: RequestEdits,
}

impl Admitted {
    /// What a verified token claims; empty without one.
    #[must_use]
    pub fn claims(&self) -> &Claims {
        &self.claims
    }

    /// What policies change of the request, before routes look at it.
    #[must_use]
    pub fn edits(&self) -> &RequestEdits {
        &self.edits
    }

    /// For comparing with the model, which is told the claims.
    pub(crate) fn with_claims(claims: Claims) -> Self {
        Self {
            claims,
            ..Self::default()
        }
    }
}

/// What policies need to know beside the call.
#[derive(Debug, Clone, Copy, Default)]
pub struct Context<'c> {
    /// Seconds since 1970, for the times in tokens.
    pub unix_seconds: u64,
    /// Keys that were fetched; a rule whose keys are not among them refuses its tokens.
    pub keys: Option<&'c KeyStore>,
    /// Where it is noted that fetched keys did not verify a token.
    pub misses: Option<&'c Misses>,
    /// Signatures that were checked by this worker.
    pub cache: Option<&'c TokenCache>,
    /// Where it is noted what policies say that decide nothing, also of a request that is denied.
    pub observed: Option<&'c RefCell<Observed>>,
}

/// Asks every policy in order; the first denial is the answer. Whoever else must be asked has been:
/// see [`inquire`].
///
/// # Errors
/// The answer of the policy that denied.
pub fn admit<'t>(
    tables: &'t Tables,
    call: &Call<'_>,
    context: &Context<'_>,
    _: &Cleared,
) -> Result<Admitted, Denial<'t>> {
    let mut admitted = Admitted::default();
    for policy in POLICIES {
        policy(tables, call, context, &mut admitted)?;
    }
    Ok(admitted)
}

/// Asks every policy about a connection that carries bytes; whoever else must be asked has been: see
/// [`inquire_connection`]. What HTTP tells is not known of it: see
/// [`sallyport_config::ir::PolicyRule::on_connection`]. What policies say that decide nothing is noted
/// in `observed`.
///
/// # Errors
/// Which policy refused it, as `%CONNECTION_TERMINATION_DETAILS%` says it.
pub fn admit_connection(
    tables: &Tables,
    call: &Call<'_>,
    _: &Cleared,
    observed: &mut Observed,
) -> Result<Admitted, String> {
    authz::connection(tables, call, observed).map(|()| Admitted::default())
}

/// A query without the parameters in which tokens are looked for: a token is not for logs. `None`
/// when there are none; the inner `None` when nothing else is left.
#[must_use]
pub fn without_tokens(tables: &Tables, query: Option<&str>) -> Option<Option<String>> {
    tables.tokens().redacted(query)
}

/// The answer of a policy that denied; boxed, for it is rare and large.
pub type Denial<'t> = Box<Reply<'t>>;

/// A policy lets the call pass, perhaps having learned something, or answers it.
type Policy =
    for<'t> fn(&'t Tables, &Call<'_>, &Context<'_>, &mut Admitted) -> Result<(), Denial<'t>>;

/// The order is Istio's filter order on a gateway (`pilot/pkg/networking/core/listener_builder.go`).
const POLICIES: [Policy; 2] = [
    // 1. External authorization (`CUSTOM`): before tokens, so it cannot ask about claims. It takes
    //    time, so it is not in this list: `Cleared` proves that it was asked.
    // 2. Tokens (`RequestAuthentication`): before routing, because routes may match on claims.
    jwt::tokens,
    // 3. Authorization (`AuthorizationPolicy`): AUDIT, which decides nothing, DENY, ALLOW.
    authz::authorization,
    // Fault, CORS and routing follow in `decide`: a denial precedes an injected fault.
];

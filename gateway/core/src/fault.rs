//! Injected faults: a delay, then an abort, on dice that do not know each other.

use crate::call::Call;
use crate::failure::FailureKind;
use crate::reply::{Reply, failed};
use sallyport_config::ir::{AbortStatus, Fault, Millis};
use sallyport_config::model::Dice;
use std::borrow::Cow;

/// How long to wait, if the die falls on it.
pub(crate) fn delay(fault: Option<&Fault>, dice: &Dice) -> Option<Millis> {
    let delay = fault?.delay.as_ref()?;
    delay.share.hit(dice.delay).then_some(delay.duration)
}

/// The answer of an abort, if the die falls on it.
pub(crate) fn abort<'t>(fault: Option<&Fault>, call: &Call<'_>, dice: &Dice) -> Option<Reply<'t>> {
    let abort = fault?.abort.as_ref()?;
    if !abort.share.hit(dice.abort) {
        return None;
    }
    let (status, grpc) = match abort.status {
        AbortStatus::Http(status) => (status, None),
        AbortStatus::Grpc(code) if is_grpc(call) => (200, Some(code)),
        AbortStatus::Grpc(code) => (http_of_grpc(code), None),
    };
    let mut reply = failed(FailureKind::FaultAbort(status));
    if let Some(code) = grpc {
        let words = String::from_utf8_lossy(&reply.body).into_owned();
        reply.body = Cow::Borrowed(b"");
        reply.headers.extend([
            ("content-type".into(), "application/grpc".into()),
            ("grpc-status".into(), Cow::Owned(code.to_string())),
            ("grpc-message".into(), Cow::Owned(words)),
        ]);
    }
    Some(reply)
}

/// Whether the caller speaks gRPC: `application/grpc`, also with a suffix, but not gRPC-Web.
fn is_grpc(call: &Call<'_>) -> bool {
    call.headers.any("content-type", &mut |line| {
        let rest = line.strip_prefix(b"application/grpc");
        rest.is_some_and(|rest| matches!(rest.first(), None | Some(b'+')))
    })
}

/// HTTP status of a gRPC one (Envoy `Grpc::Utility::grpcToHttpStatus`).
fn http_of_grpc(code: u8) -> u16 {
    match code {
        0 => 200,
        1 => 499,
        3 | 9 | 11 => 400,
        4 => 504,
        5 => 404,
        6 | 10 => 409,
        7 => 403,
        8 => 429,
        12 => 501,
        14 => 503,
        16 => 401,
        _ => 500,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::call::{HeaderLines, Scheme};
    use crate::flags::Flags;
    use sallyport_config::ir::{FaultAbort, FaultDelay, Ppm};

    /// One content type.
    struct Type(&'static str);

    impl HeaderLines for Type {
        fn any(&self, name: &str, visit: &mut dyn FnMut(&[u8]) -> bool) -> bool {
            name == "content-type" && visit(self.0.as_bytes())
        }
        fn first(&self, name: &str) -> Option<&[u8]> {
            (name == "content-type").then_some(self.0.as_bytes())
        }
    }

    #[test]
    fn an_abort_speaks_the_callers_language() {
        let half = Ppm(500_000);
        for (status, content_type, die, want) in [
            (
                AbortStatus::Http(418),
                "text/plain",
                499_999,
                Some((418, None)),
            ),
            (AbortStatus::Http(418), "text/plain", 500_000, None),
            (AbortStatus::Grpc(14), "text/plain", 0, Some((503, None))),
            (
                AbortStatus::Grpc(14),
                "application/grpc",
                0,
                Some((200, Some("14"))),
            ),
            (
                AbortStatus::Grpc(14),
                "application/grpc+proto",
                0,
                Some((200, Some("14"))),
            ),
            (
                AbortStatus::Grpc(14),
                "application/grpc-web",
                0,
                Some((503, None)),
            ),
        ] {
            let headers = Type(content_type);
            let call = Call {
                scheme: Scheme::Http,
                method: "POST",
                authority: "a.com",
                path: "/",
                query: None,
                headers: &headers,
                client: ([127, 0, 0, 1], 1).into(),
                peer: ([127, 0, 0, 1], 1).into(),
                local: ([127, 0, 0, 1], 1).into(),
                sni: None,
                identity: None,
            };
            let fault = Fault {
                delay: None,
                abort: Some(FaultAbort {
                    status,
                    share: half,
                }),
            };
            let dice = Dice {
                abort: die,
                ..Dice::default()
            };
            let have = abort(Some(&fault), &call, &dice).map(|reply| {
                assert_eq!(
                    (&*reply.details, reply.flags),
                    ("fault_filter_abort", Flags::FI)
                );
                let mut headers = reply.headers.into_iter();
                let code = headers.find(|(name, _)| name == "grpc-status");
                assert_eq!(reply.body.is_empty(), code.is_some());
                (reply.status, code.map(|(_, code)| code.into_owned()))
            });
            let want = want.map(|(status, code)| (status, code.map(str::to_owned)));
            assert_eq!(have, want, "{status:?} for {content_type}");
        }
    }

    #[test]
    fn a_delay_falls_on_its_share() {
        let fault = Fault {
            delay: Some(FaultDelay {
                duration: Millis(5),
                share: Ppm(1),
            }),
            abort: None,
        };
        for (die, want) in [(0, Some(Millis(5))), (1, None)] {
            let dice = Dice {
                delay: die,
                ..Dice::default()
            };
            assert_eq!(delay(Some(&fault), &dice), want);
        }
        assert_eq!(delay(None, &Dice::default()), None);
    }

    #[test]
    fn grpc_statuses_have_an_http_one() {
        for (code, want) in (0..=17).zip([
            200, 499, 500, 400, 504, 404, 409, 403, 429, 400, 409, 400, 501, 500, 503, 500, 401,
            500,
        ]) {
            assert_eq!(http_of_grpc(code), want, "{code}");
        }
    }
}

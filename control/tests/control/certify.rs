//! Certificates over the wire: who gets which, and everybody who gets none.

use sallyport_wire::istio_ca::{IstioCertificateRequest, create_certificate};
use tonic::{Code, Request};

use crate::process::{Control, Workload, certify, request};

const MESH: &[(&str, &str)] = &[(
    "mesh/a.yaml",
    "apiVersion: v1\nkind: Service\nmetadata: {name: a}\nspec:\n  ports: [{port: 80}]\n",
)];

#[tokio::test]
async fn a_token_joins_and_a_certificate_renews() {
    let control = Control::start(MESH);
    let web = control.join("shop", "web").await;
    let (_, csr) = request();
    let channel = control.encrypted(Some(&web)).await;
    let chain = certify(channel, &csr, None).await.unwrap();
    assert_eq!(chain.len(), 2);
    let root = std::fs::read_to_string(format!("{}/root-cert.pem", control.ca_dir())).unwrap();
    assert_eq!(chain[1], root);
    let metrics = control.get("/metrics").await.1;
    assert!(
        metrics.contains("\ncitadel_server_success_cert_issuance_count 2\n"),
        "{metrics}"
    );
}

#[tokio::test]
async fn nobody_gets_nothing() {
    let control = Control::start(MESH);
    let (_, csr) = request();
    let token = control.token("shop", "web");
    // a letter that is surely another: with `A` for every last letter one token in sixteen stays whole
    let last = if token.ends_with('A') { 'Q' } else { 'A' };
    let forged = format!("{}{last}", &token[..token.len() - 1]);
    for token in [None, Some("nonsense"), Some(forged.as_str())] {
        let refused = certify(control.encrypted(None).await, &csr, token)
            .await
            .unwrap_err();
        assert_eq!(
            refused.code(),
            Code::Unauthenticated,
            "{token:?}: {refused:?}"
        );
        assert!(
            !refused.message().contains("eyJ"),
            "the token is in the message"
        );
    }
    // the plaintext port certifies nobody
    let refused = certify(control.plaintext().await, &csr, Some(&token))
        .await
        .unwrap_err();
    assert_eq!(refused.code(), Code::Unimplemented);
    let metrics = control.get("/metrics").await.1;
    assert!(
        metrics.contains("\ncitadel_server_authentication_failure_count 3\n"),
        "{metrics}"
    );
}

#[tokio::test]
async fn a_token_that_was_read_on_its_way_is_worth_nothing() {
    let control = Control::start(MESH);
    let token = control.token("shop", "web");
    let ((_, mine), (_, theirs)) = (request(), request());
    let channel = control.encrypted(None).await;
    assert!(certify(channel.clone(), &mine, Some(&token)).await.is_ok());
    assert!(
        certify(channel.clone(), &mine, Some(&token)).await.is_ok(),
        "a repetition"
    );
    let refused = certify(channel, &theirs, Some(&token)).await.unwrap_err();
    assert_eq!(refused.code(), Code::Unauthenticated);
}

#[tokio::test]
async fn requests_beyond_bounds_are_refused() {
    let control = Control::start(MESH);
    let web = control.join("shop", "web").await;
    let channel = control.encrypted(Some(&web)).await;
    let refused = certify(channel.clone(), &"x".repeat(100_000), None)
        .await
        .unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument);
    let refused = certify(channel.clone(), &"x".repeat(1024 * 1024), None)
        .await
        .unwrap_err();
    assert_eq!(refused.code(), Code::OutOfRange);
    let (_, csr) = request();
    let mut impersonating = IstioCertificateRequest {
        csr,
        ..Default::default()
    };
    let name = prost_types::Value {
        kind: Some(prost_types::value::Kind::StringValue("x".to_owned())),
    };
    let fields = [("ImpersonatedIdentity".to_owned(), name)];
    impersonating.metadata = Some(prost_types::Struct {
        fields: fields.into(),
    });
    let refused = create_certificate(channel, Request::new(impersonating))
        .await
        .unwrap_err();
    assert_eq!(refused.code(), Code::PermissionDenied);
}

#[tokio::test]
async fn a_certificate_of_another_authority_is_not_let_in() {
    let (control, other) = (Control::start(MESH), Control::start(MESH));
    let stranger = other.join("shop", "web").await;
    let (_, csr) = request();
    let channel = control.encrypted_lazily(&stranger);
    let refused = certify(channel, &csr, None).await.unwrap_err();
    // the handshake fails, which a client may learn in several ways
    let code = refused.code();
    assert!(
        matches!(code, Code::Unavailable | Code::Cancelled | Code::Unknown),
        "{refused:?}"
    );
    let metrics = control.get("/metrics").await.1;
    assert!(
        metrics.contains(
            "
citadel_server_csr_count 0
"
        ),
        "{metrics}"
    );
}

/// Renewals of one workload, each on a connection of its own with the certificate before.
const RENEWALS: usize = 200;

#[tokio::test]
async fn renewals_go_on_while_the_root_is_replaced() {
    let (control, next) = (Control::start(MESH), Control::start(MESH));
    let file = |of: &Control, name: &str| format!("{}/{name}", of.ca_dir());
    let read = |of: &Control, name: &str| std::fs::read_to_string(file(of, name)).unwrap();
    let both = format!(
        "{}{}",
        read(&control, "root-cert.pem"),
        read(&next, "root-cert.pem")
    );
    let reloads = |count: usize| format!("\nsallyport_control_ca_reloads_total {count}\n");
    let mut web = control.join("shop", "web").await;
    let mut roots = String::new();
    for round in 0..RENEWALS {
        if round == RENEWALS / 4 {
            // first everybody is told of the new root
            std::fs::write(file(&control, "root-cert.pem"), &both).unwrap();
            control.reload();
            control
                .until("/metrics", |body| body.contains(&reloads(1)))
                .await;
        }
        if round == RENEWALS / 2 {
            // then it signs
            for name in ["ca-cert.pem", "ca-key.pem"] {
                std::fs::copy(file(&next, name), file(&control, name)).unwrap();
            }
            control.reload();
            control
                .until("/metrics", |body| body.contains(&reloads(2)))
                .await;
        }
        let (key, csr) = request();
        let channel = control.encrypted(Some(&web)).await;
        let mut chain = certify(channel, &csr, None).await.unwrap();
        roots = chain.pop().unwrap();
        web = Workload {
            key,
            chain: chain.concat(),
        };
    }
    assert_eq!(roots, both);
    // the last certificate is of the new root: a server that knows nothing else takes it
    let (_, csr) = request();
    assert!(
        certify(next.encrypted(Some(&web)).await, &csr, None)
            .await
            .is_ok()
    );
}

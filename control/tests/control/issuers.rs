//! Keys of token issuers for stock Envoys: fetched by the control process, and never from where it
//! was not allowed to.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener};
use std::sync::{Arc, Mutex};

use crate::child::eventually;
use crate::process::{Control, node};
use crate::streams::{Client, ask};

const LISTENERS: &str = "type.googleapis.com/envoy.config.listener.v3.Listener";
/// RFC 7517, appendix A.1.
const KEYS: &str = r#"{"keys":[{"kty":"EC","crv":"P-256","kid":"1","x":"MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4","y":"4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM"}]}"#;
/// Part of the key that nobody has, which stands where there are none.
const NOBODYS: &str = "aBG1tXR1QTvNu0VKtYNEAHvAuqWGb6cfilIoultU44c";

/// An HTTP server that gives everybody the same answer, by now.
#[derive(Clone)]
struct Server {
    at: SocketAddr,
    answer: Arc<Mutex<String>>,
}

impl Server {
    fn start(answer: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let server = Self {
            at: listener.local_addr().unwrap(),
            answer: Arc::new(Mutex::new(answer.to_owned())),
        };
        let answer = Arc::clone(&server.answer);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                let mut head = Vec::new();
                while !head.ends_with(b"\r\n\r\n") {
                    let mut byte = [0];
                    match stream.read(&mut byte) {
                        Ok(1) => head.push(byte[0]),
                        _ => break,
                    }
                }
                let text = answer.lock().unwrap().clone();
                // who does not wait for it has lost it
                let _ = stream.write_all(text.as_bytes());
            }
        });
        server
    }

    fn answers(&self, answer: String) {
        *self.answer.lock().unwrap() = answer;
    }
}

/// An answer that is fine.
fn good(body: &str) -> String {
    let length = body.len();
    format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}")
}

const SORRY: &str = "HTTP/1.1 503 no\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";

/// A workload whose callers show tokens of an issuer with keys at a URL.
fn mesh(url: &str) -> String {
    format!(
        "apiVersion: networking.istio.io/v1\nkind: ServiceEntry\nmetadata: {{name: a, namespace: shop}}\n\
         spec:\n  hosts: [a.test]\n  resolution: STATIC\n  ports: [{{number: 80, name: http}}]\n  \
         endpoints: [{{address: 127.0.0.1}}]\n---\napiVersion: security.istio.io/v1\n\
         kind: RequestAuthentication\nmetadata: {{name: a, namespace: shop}}\nspec:\n  jwtRules: \
         [{{issuer: issuer.test, jwksUri: '{url}'}}]\n"
    )
}

/// Waits until a sidecar is given a listener with this in it, and not with that.
async fn listener(client: &mut Client, wanted: &str, not: &str) {
    let has = |body: &[u8], part: &str| body.windows(part.len()).any(|w| w == part.as_bytes());
    loop {
        let response = client.next().await.unwrap().unwrap();
        let mut bodies = response.resources.iter();
        let listeners = response.type_url == LISTENERS;
        let found = bodies.find_map(|r| {
            let body = &r.resource.as_ref().unwrap().value;
            (listeners && has(body, wanted)).then_some(body)
        });
        let mut answer = ask(None, &response.type_url);
        answer.response_nonce = response.nonce;
        client.requests.send(answer).await.unwrap();
        if let Some(body) = found {
            assert!(has(body, "issuer.test") && !has(body, not));
            return;
        }
    }
}

async fn sidecar(control: &Control) -> Client {
    let node = Some(node("sidecar", "shop", "a"));
    let client = Client::open(control.plaintext().await, node, None).await;
    let client = client.unwrap();
    client.requests.send(ask(None, LISTENERS)).await.unwrap();
    client
}

#[tokio::test]
async fn envoys_are_given_keys_and_keep_them_while_the_issuer_is_away() {
    let server = Server::start(SORRY);
    let mesh = mesh(&format!("http://{}/keys", server.at));
    let flags = ["--allow-private", "127.0.0.1/32"];
    let mut control = Control::start_flagged(&[("mesh/a.yaml", &mesh)], &flags);
    let mut client = sidecar(&control).await;
    // no keys yet: no token is good
    listener(&mut client, NOBODYS, "MKBCTNIc").await;
    server.answers(good(KEYS));
    listener(&mut client, "MKBCTNIc", NOBODYS).await;
    let metrics = control.get("/metrics").await.1;
    let good = "\npilot_jwks_resolver_network_fetch_success_total 1\n";
    assert!(metrics.contains(good), "{metrics}");
    server.answers(SORRY.to_owned());
    let directory = control.state("jwks");
    let kept = |name: std::path::PathBuf| name.extension().is_none().then_some(());
    let files = || std::fs::read_dir(&directory).unwrap();
    eventually("the keys are kept", || {
        files().find_map(|f| kept(f.unwrap().path()))
    });
    control.kill();
    control.restart();
    let mut client = sidecar(&control).await;
    listener(&mut client, "MKBCTNIc", NOBODYS).await;
    let failed = |body: &str| !body.contains("fetch_fail_total 0\n");
    control.until("/metrics", failed).await;
}

#[tokio::test]
async fn neither_a_rule_nor_a_redirect_leads_to_an_internal_address() {
    let trap = TcpListener::bind("127.0.0.2:0").unwrap();
    trap.set_nonblocking(true).unwrap();
    let target = format!("http://{}/latest/meta-data", trap.local_addr().unwrap());
    let redirect = format!(
        "HTTP/1.1 302 Found\r\nlocation: {target}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
    );
    let server = Server::start(&redirect);
    let redirected = format!("http://{}/keys", server.at);
    let flags = ["--allow-private", "127.0.0.1/32"];
    for (url, flags) in [
        (&target, &[][..]),
        (&target, &flags),
        (&redirected, &flags),
        (&redirected, &[]),
    ] {
        let control = Control::start_flagged(&[("mesh/a.yaml", &mesh(url))], flags);
        let failed = |body: &str| {
            body.contains("fetch_fail_total ") && !body.contains("fetch_fail_total 0\n")
        };
        control.until("/metrics", failed).await;
        listener(&mut sidecar(&control).await, NOBODYS, "MKBCTNIc").await;
        let nobody = trap.accept().unwrap_err();
        assert_eq!(nobody.kind(), ErrorKind::WouldBlock, "{url} {flags:?}");
    }
}

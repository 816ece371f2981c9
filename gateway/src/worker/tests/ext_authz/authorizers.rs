//! Authorizers whose verdict is the last segment of the path.

use std::collections::HashMap;
use std::io::Write;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use sallyport_config::ir;
use sallyport_wire::envoy::envoy::config::core::v3::{HeaderValue, HeaderValueOption};
use sallyport_wire::envoy::envoy::service::auth::v3::attribute_context::HttpRequest;
use sallyport_wire::envoy::envoy::service::auth::v3::authorization_server::{
    Authorization, AuthorizationServer,
};
use sallyport_wire::envoy::envoy::service::auth::v3::check_response::HttpResponse;
use sallyport_wire::envoy::envoy::service::auth::v3::{
    AttributeContext, CheckRequest, CheckResponse, DeniedHttpResponse, OkHttpResponse,
};
use sallyport_wire::envoy::envoy::r#type::v3::HttpStatus;
use sallyport_wire::envoy::google::rpc;
use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;
use tonic::{Request, Response, Status};

use super::super::support::{Client, PATIENCE, field};

/// One over HTTP/1.
pub(super) struct Judge {
    pub(super) address: SocketAddr,
    /// Head and body of what it was asked.
    asked: Arc<Mutex<Vec<(String, String)>>>,
}

impl Judge {
    pub(super) fn heads(&self) -> Vec<String> {
        let asked = self.asked.lock().unwrap();
        asked.iter().map(|(head, _)| head.clone()).collect()
    }

    pub(super) fn last(&self) -> (String, String) {
        self.asked.lock().unwrap().last().unwrap().clone()
    }

    pub(super) fn wait_for_heads(&self, count: usize) {
        let end = Instant::now() + PATIENCE;
        while self.heads().len() < count {
            assert!(Instant::now() < end, "nobody was asked");
            std::thread::yield_now();
        }
    }
}

pub(super) fn judge() -> Judge {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let judge = Judge {
        address: listener.local_addr().unwrap(),
        asked: Arc::default(),
    };
    let asked = Arc::clone(&judge.asked);
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let (stream, asked) = (stream.unwrap(), Arc::clone(&asked));
            std::thread::spawn(move || hear(stream, &asked));
        }
    });
    judge
}

fn hear(stream: TcpStream, asked: &Mutex<Vec<(String, String)>>) {
    let mut client = Client::new(stream);
    while let Some(head) = client.head() {
        let length = field(&head, "content-length").map_or(0, |text| text.parse().unwrap());
        let body = client.take(length);
        let target = head.split(' ').nth(1).unwrap_or_default().to_owned();
        asked.lock().unwrap().push((head, body));
        let path = target.split('?').next().unwrap_or_default();
        let answer = match path.rsplit('/').next() {
            Some("allow") => "HTTP/1.1 200 OK\r\nx-user: alice\r\nset-cookie: judge=1\r\n\
                content-length: 2\r\n\r\nok"
                .to_owned(),
            Some("deny") => "HTTP/1.1 401 Unauthorized\r\nx-why: nobody\r\nx-inner: 1\r\n\
                content-length: 11\r\n\r\nwho are you"
                .to_owned(),
            Some("huge") => format!(
                "HTTP/1.1 403 Forbidden\r\ncontent-length: 1000000\r\n\r\n{}",
                "x".repeat(1_000_000)
            ),
            Some("hang") => continue,
            _ => "HTTP/1.1 500 Oops\r\ncontent-length: 0\r\n\r\n".to_owned(),
        };
        if client.stream.write_all(answer.as_bytes()).is_err() {
            return;
        }
    }
}

/// One over gRPC.
#[derive(Clone)]
pub(super) struct Referee {
    pub(super) address: SocketAddr,
    /// Requests by path.
    seen: Arc<Mutex<HashMap<String, HttpRequest>>>,
    pub(super) asked: Arc<AtomicUsize>,
    /// What was told of connections that carry bytes.
    connections: Arc<Mutex<Vec<AttributeContext>>>,
    /// Those are refused.
    pub(super) stern: Arc<AtomicBool>,
}

impl Referee {
    /// What was told of the connection that was asked about last.
    pub(super) fn connection(&self) -> AttributeContext {
        self.connections.lock().unwrap().last().unwrap().clone()
    }

    pub(super) fn last(&self, path: &str) -> HttpRequest {
        self.seen.lock().unwrap()[path].clone()
    }
}

pub(super) fn referee() -> Referee {
    let (sender, referee) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let mut runtime = tokio::runtime::Builder::new_current_thread();
        runtime.enable_all().build().unwrap().block_on(async {
            let incoming = TcpIncoming::bind((Ipv4Addr::LOCALHOST, 0).into()).unwrap();
            let referee = Referee {
                address: incoming.local_addr().unwrap(),
                seen: Arc::default(),
                asked: Arc::default(),
                connections: Arc::default(),
                stern: Arc::default(),
            };
            sender.send(referee.clone()).unwrap();
            let server = Server::builder().add_service(AuthorizationServer::new(referee));
            server.serve_with_incoming(incoming).await.unwrap();
        });
    });
    referee.recv().unwrap()
}

/// Whoever is over gRPC is asked about everything.
pub(super) fn over_grpc() -> ir::Policies {
    let mut policies = super::asked(ir::CheckProtocol::Grpc);
    policies.authorization[0].rules = vec![ir::PolicyRule::default()];
    policies
}

fn option(name: &str, value: &str) -> HeaderValueOption {
    HeaderValueOption {
        header: Some(HeaderValue {
            key: name.to_owned(),
            value: value.to_owned(),
            ..HeaderValue::default()
        }),
        ..HeaderValueOption::default()
    }
}

#[tonic::async_trait]
impl Authorization for Referee {
    async fn check(
        &self,
        request: Request<CheckRequest>,
    ) -> Result<Response<CheckResponse>, Status> {
        let attributes = request.into_inner().attributes.unwrap();
        self.asked.fetch_add(1, Ordering::Relaxed);
        if attributes.request.is_none() {
            self.connections.lock().unwrap().push(attributes);
            let code = if self.stern.load(Ordering::Relaxed) {
                7
            } else {
                0
            };
            return Ok(Response::new(CheckResponse {
                status: Some(rpc::Status {
                    code,
                    ..rpc::Status::default()
                }),
                ..CheckResponse::default()
            }));
        }
        let http = attributes.request.and_then(|request| request.http);
        let path = http
            .as_ref()
            .map(|http| http.path.clone())
            .unwrap_or_default();
        self.seen
            .lock()
            .unwrap()
            .insert(path.clone(), http.unwrap_or_default());
        let (code, answer) = match path.as_str() {
            "/allow" => (
                0,
                HttpResponse::OkResponse(OkHttpResponse {
                    headers: vec![option("x-user", "alice")],
                    ..OkHttpResponse::default()
                }),
            ),
            "/deny" => (
                7,
                HttpResponse::DeniedResponse(DeniedHttpResponse {
                    status: Some(HttpStatus { code: 418 }),
                    headers: vec![option("x-why", "no")],
                    body: "no".to_owned(),
                }),
            ),
            _ => return Err(Status::internal("broken")),
        };
        Ok(Response::new(CheckResponse {
            status: Some(rpc::Status {
                code,
                ..rpc::Status::default()
            }),
            http_response: Some(answer),
            ..CheckResponse::default()
        }))
    }
}

//! Endpoints with names, with a name server that changes its mind, lies, or says nothing.

use std::io::{Read as _, Write as _};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;

use crate::child::{Client, DEADLINE, Gateway, Origin, Scratch, config, eventually};
use crate::nameserver::{NameServer, Says};

const NAME: &str = "api.internal";

/// A gateway that asks `server` for the addresses of its only upstream.
struct House {
    gateway: Gateway,
    server: NameServer,
    door: SocketAddr,
    one: Origin,
    _scratch: Scratch,
}

impl House {
    fn open(name: &str, driver: &str, resolution: &str, says: Says) -> Self {
        let scratch = Scratch::new(&format!("{name}-{driver}"));
        let (one, server) = (Origin::start("one"), NameServer::start());
        server.say(NAME, says);
        let port = one.address.port();
        let text = config(one.address).replace("STATIC", resolution).replace(
            "protocol: HTTP}]",
            &format!("protocol: HTTP, targetPort: {port}}}]"),
        );
        let text: Vec<&str> = text
            .lines()
            .filter(|line| !line.contains("endpoints:"))
            .collect();
        scratch.write("a.yaml", &text.join("\n"));
        let dns = server.address.to_string();
        let arguments = ["--port-map", "80=0", "--driver", driver, "--dns", &dns];
        let gateway = Gateway::start(
            &scratch.0,
            &[&arguments[..], &["--dns-family", "v4"]].concat(),
        );
        Self {
            door: gateway.listener(80),
            gateway,
            server,
            one,
            _scratch: scratch,
        }
    }

    /// An origin at another address, with the same port.
    fn second(&self, ip: &str) -> Origin {
        Origin::start_at(
            "two",
            (ip.parse::<IpAddr>().unwrap(), self.one.address.port()).into(),
        )
    }

    fn get(&self) -> (u16, String) {
        Client::connect(self.door).get("api.example.com", "/")
    }

    fn until(&self, what: &str, wanted: (u16, &str)) {
        eventually(what, || {
            let (status, body) = self.get();
            (status == wanted.0 && body.contains(wanted.1)).then_some(())
        });
    }

    fn counted(&self, outcome: &str) -> f64 {
        let parts = ["sallyport_dns_lookups_total{", &format!("\"{outcome}\"")];
        self.gateway.sample(&parts).unwrap()
    }
}

fn one() -> Says {
    Says::Addresses(vec!["127.0.0.1".parse().unwrap()], 1)
}

macro_rules! on_each_driver {
    ($($test:ident)*) => {$(
        mod $test {
            #[test]
            fn on_io_uring() {
                super::cases::$test("io_uring");
            }
            #[test]
            fn on_epoll() {
                super::cases::$test("epoll");
            }
        }
    )*};
}

on_each_driver! {
    requests_follow_a_name_without_a_failure
    what_fails_keeps_what_worked
    long_answers_and_forged_ones
    one_address_at_a_time
    a_server_that_says_nothing
    names_that_loop_or_are_too_long_and_answers_good_for_no_time
    hosts_that_requests_name
    server_names_that_clients_name
}

mod cases {
    use super::*;

    pub(super) fn requests_follow_a_name_without_a_failure(driver: &str) {
        let house = House::open("follow", driver, "DNS", one());
        let _two = house.second("127.0.0.2");
        let mut client = Client::connect(house.door);
        let mut get = || {
            let (status, body) = client.get("api.example.com", "/");
            assert_eq!(status, 200);
            body
        };
        assert_eq!(get(), "one", "the first request finds an endpoint");
        house
            .server
            .say_addresses(NAME, &["127.0.0.1", "127.0.0.2"]);
        eventually("both", || (get() == "two").then_some(()));
        eventually("both", || (get() == "one").then_some(()));
        house.server.say_addresses(NAME, &["127.0.0.2"]);
        let clusters = || house.gateway.admin("/clusters");
        eventually("the first is gone", || {
            (get() == "two" && !clusters().contains("::127.0.0.1:")).then_some(())
        });
        assert_eq!(get(), "two");
        assert_eq!(house.gateway.generation_id(), 1, "no new configuration");
        assert!(house.counted("answered") >= 3.0);
        let asked = house.server.asked();
        assert!(asked.iter().all(|name| name == NAME), "{asked:?}");
    }

    pub(super) fn what_fails_keeps_what_worked(driver: &str) {
        let house = House::open("fails", driver, "DNS", one());
        assert_eq!(house.get(), (200, "one".to_owned()));
        house.server.say(NAME, Says::Failed);
        eventually("two failures", || {
            (house.counted("failed") >= 2.0).then_some(())
        });
        assert_eq!(house.get(), (200, "one".to_owned()));
        assert_eq!(
            house.gateway.sample(&["sallyport_dns_names_failing"]),
            Some(1.0)
        );
        assert!(
            house
                .gateway
                .admin("/dns")
                .contains("\"failures_in_a_row\": ")
        );
        house.server.say(NAME, Says::Denied);
        house.until("denied for good", (503, "no healthy upstream"));
        assert!(house.counted("denied") >= 3.0);
        house.server.say(NAME, one());
        house.until("it is back", (200, "one"));
    }

    pub(super) fn long_answers_and_forged_ones(driver: &str) {
        let house = House::open("long", driver, "DNS", one());
        let two = house.second("127.0.0.2");
        let address = |ip: &str| ip.parse().unwrap();
        house
            .server
            .say(NAME, Says::ByTcp(vec![address("127.0.0.2")], 1));
        house.until("asked by TCP", (200, "two"));
        let lies = Says::AfterForgeries(address("127.0.0.3"), address("127.0.0.1"));
        house.server.say(NAME, lies);
        house.until("the true answer", (200, "one"));
        assert!(!house.gateway.admin("/clusters").contains("127.0.0.3"));
        let many = (0..2_000_u16).map(|n| {
            let [a, b] = n.to_be_bytes();
            IpAddr::from([127, 1, a, b])
        });
        house.server.say(NAME, Says::ByTcp(many.collect(), 1));
        let admin = house.gateway.address("admin");
        eventually("a bounded number of endpoints", || {
            let (_, text) = Client::connect(admin).get("a", "/clusters");
            (text.matches("::weight::").count() == 1_024).then_some(())
        });
        drop(two);
    }

    pub(super) fn one_address_at_a_time(driver: &str) {
        let house = House::open("round-robin", driver, "DNS_ROUND_ROBIN", one());
        let _two = house.second("127.0.0.2");
        assert_eq!(house.get(), (200, "one".to_owned()));
        house
            .server
            .say_addresses(NAME, &["127.0.0.2", "127.0.0.1"]);
        house.until("the first address of the newest answer", (200, "two"));
        let text = house.gateway.admin("/clusters");
        assert_eq!(text.matches("::weight::").count(), 1, "{text}");
    }

    pub(super) fn a_server_that_says_nothing(driver: &str) {
        let house = House::open("silent", driver, "DNS", Says::Silence);
        let (status, body) = house.get();
        assert_eq!((status, body.as_str()), (503, "no healthy upstream"));
        let flagged = ["istio_requests_total{", "response_flags=\"UH\""];
        assert_eq!(house.gateway.sample(&flagged), Some(1.0));
        house.server.say(NAME, Says::Nonsense);
        eventually("nonsense is a failure", || {
            (house.counted("failed") >= 1.0).then_some(())
        });
        house.server.say(NAME, one());
        house.until("an answer at last", (200, "one"));
    }

    pub(super) fn names_that_loop_or_are_too_long_and_answers_good_for_no_time(driver: &str) {
        let house = House::open("broken", driver, "DNS", one());
        let _two = house.second("127.0.0.2");
        assert_eq!(house.get(), (200, "one".to_owned()));
        for (count, says) in [(1.0, Says::Loop), (2.0, Says::LongName)] {
            house.server.say(NAME, says);
            eventually("a failure", || {
                (house.counted("failed") >= count).then_some(())
            });
            assert_eq!(house.get(), (200, "one".to_owned()));
        }
        let now = Says::Addresses(vec!["127.0.0.2".parse().unwrap()], 0);
        house.server.say(NAME, now);
        house.until("an answer that is old at once", (200, "two"));
        let asked = house.server.asked().len();
        for _ in 0..50 {
            assert_eq!(house.get(), (200, "two".to_owned()));
        }
        let more = house.server.asked().len() - asked;
        assert!(more <= 1, "asked {more} times for 50 requests");
    }

    pub(super) fn hosts_that_requests_name(driver: &str) {
        let one_origin = Origin::start("one");
        let port = one_origin.address.port();
        let house = OnDemand::open(
            "named",
            driver,
            HTTP,
            port,
            &["--allow-private", "127.0.0.0/24"],
        );
        let _two = Origin::start_at("two", ([127, 0, 0, 2], port).into());
        house.server.say("a.wild.test", one());
        house.server.say_addresses("b.wild.test", &["127.0.0.2"]);
        house
            .server
            .say_addresses("inside.wild.test", &["127.1.0.1"]);
        house.server.say_addresses("evil.test", &["127.0.0.1"]);
        let get = |host: &str| Client::connect(house.door).get(host, "/");
        assert_eq!(get("a.wild.test"), (200, "one".to_owned()));
        assert_eq!(get("B.wild.test:80"), (200, "two".to_owned()));
        assert_eq!(get("a.wild.test"), (200, "one".to_owned()));
        for (host, status, said) in [
            ("nobody.wild.test", 503, "DNS resolution failure"),
            ("inside.wild.test", 403, "host not allowed"),
            ("evil.test", 403, "host not allowed"),
            ("wild.test", 403, "host not allowed"),
            ("127.0.0.1", 403, "host not allowed"),
        ] {
            assert_eq!(get(host), (status, said.to_owned()), "{host}");
        }
        let asked = house.server.asked();
        let times = |name: &str| asked.iter().filter(|asked| *asked == name).count();
        assert_eq!(
            (times("a.wild.test"), times("evil.test")),
            (1, 0),
            "{asked:?}"
        );
        let flagged = ["istio_requests_total{", "response_flags=\"DF\""];
        assert!(house.gateway.sample(&flagged).is_some());
        house.server.say("slow.wild.test", Says::Silence);
        let (status, body) = get("slow.wild.test");
        assert_eq!((status, &*body), (503, "DNS resolution failure"));
    }

    pub(super) fn server_names_that_clients_name(driver: &str) {
        let origin = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = origin.local_addr().unwrap().port();
        std::thread::spawn(move || {
            // It greets, and leaves the handshake to others.
            for mut stream in origin.incoming().map_while(Result::ok) {
                stream.write_all(b"here").unwrap();
            }
        });
        let house = OnDemand::open("sni", driver, TLS, port, &["--allow-private", "127.0.0.1"]);
        house.server.say("a.wild.test", one());
        house
            .server
            .say_addresses("inside.wild.test", &["127.0.0.2"]);
        let reaches = |name: &str| {
            let mut stream = TcpStream::connect(house.door).unwrap();
            stream.set_read_timeout(Some(DEADLINE)).unwrap();
            stream.write_all(&client_hello(name)).unwrap();
            let mut bytes = [0; 4];
            stream.read_exact(&mut bytes).is_ok() && bytes == *b"here"
        };
        assert!(reaches("a.wild.test"));
        assert!(!reaches("inside.wild.test"));
        assert!(!reaches("nobody.wild.test"));
        assert!(reaches("a.wild.test"));
    }
}

/// A gateway whose upstream is whatever host under `wild.test` a client names.
struct OnDemand {
    gateway: Gateway,
    server: NameServer,
    door: SocketAddr,
    _scratch: Scratch,
}

const HTTP: &str = "\
---
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: gw, namespace: istio-system}
spec:
  selector: {istio: ingressgateway}
  servers:
  - {port: {number: 80, name: http, protocol: HTTP}, hosts: ['*']}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: wild, namespace: default}
spec:
  hosts: ['*']
  gateways: [istio-system/gw]
  http:
  - route: [{destination: {host: '*.wild.test', port: {number: 80}}}]
";

const TLS: &str = "\
---
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: gw, namespace: istio-system}
spec:
  selector: {istio: ingressgateway}
  servers:
  - {port: {number: 80, name: tls, protocol: TLS}, hosts: ['*.wild.test'], tls: {mode: PASSTHROUGH}}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: wild, namespace: default}
spec:
  hosts: ['*.wild.test']
  gateways: [istio-system/gw]
  tls:
  - match: [{sniHosts: ['*.wild.test']}]
    route: [{destination: {host: '*.wild.test', port: {number: 80}}}]
";

impl OnDemand {
    fn open(name: &str, driver: &str, routes: &str, port: u16, further: &[&str]) -> Self {
        let scratch = Scratch::new(&format!("{name}-{driver}"));
        let server = NameServer::start();
        let entry = format!(
            "apiVersion: networking.istio.io/v1\nkind: ServiceEntry\n\
             metadata: {{name: wild, namespace: default}}\nspec:\n  hosts: ['*.wild.test']\n  \
             resolution: DYNAMIC_DNS\n  ports: [{{number: 80, name: x, protocol: TLS, \
             targetPort: {port}}}]\n{routes}"
        );
        scratch.write("a.yaml", &entry);
        let dns = server.address.to_string();
        let arguments = ["--port-map", "80=0", "--driver", driver, "--dns", &dns];
        let arguments = [
            &arguments[..],
            &["--dns-family", "v4", "--workers", "1"],
            further,
        ]
        .concat();
        let gateway = Gateway::start(&scratch.0, &arguments);
        Self {
            door: gateway.listener(80),
            gateway,
            server,
            _scratch: scratch,
        }
    }
}

/// The first flight of a TLS client that wants to speak to a name.
fn client_hello(name: &str) -> Vec<u8> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(rustls::RootCertStore::empty())
        .with_no_client_auth();
    let name = name.to_owned().try_into().unwrap();
    let mut client = rustls::ClientConnection::new(Arc::new(config), name).unwrap();
    let mut bytes = Vec::new();
    client.write_tls(&mut bytes).unwrap();
    bytes
}

//! Keys of token issuers: fetched, rotated, lost for a while, and issuers that mean no good.

#[path = "tokens/issuer.rs"]
mod issuer;

use std::time::Instant;

use crate::child::{Client, Gateway, Origin, Scratch, config, eventually};
use crate::nameserver::NameServer;
use issuer::{Issuer, Key};

/// A gateway that believes tokens whose keys are at these places of an issuer.
struct House {
    gateway: Gateway,
    scratch: Scratch,
    _origin: Origin,
    _server: NameServer,
}

/// Where issuers are, which loopback addresses stand for in these tests.
const HERE: &[&str] = &["--allow-private", "127.0.0.1/32"];

impl House {
    /// `rules` are the lines of `jwtRules`, where `AT` stands for the issuer's `https://host:port`.
    fn open(name: &str, driver: &str, issuer: &Issuer, rules: &str, further: &[&str]) -> Self {
        let scratch = Scratch::new(&format!("tokens-{name}-{driver}"));
        let origin = Origin::start("hello");
        let server = NameServer::start();
        server.say_addresses("issuer.test", &["127.0.0.1"]);
        let text = format!(
            "{}---\napiVersion: security.istio.io/v1\nkind: RequestAuthentication\n\
             metadata: {{name: tokens, namespace: istio-system}}\nspec:\n  jwtRules:\n{}",
            config(origin.address),
            rules.replace("AT", &issuer.url()),
        );
        scratch.write("conf/a.yaml", &text);
        scratch.write("ca.pem", &issuer.ca);
        let gateway = start(&scratch, driver, &server, further);
        Self {
            gateway,
            scratch,
            _origin: origin,
            _server: server,
        }
    }

    /// Status and body for a request with this token.
    fn get(&self, token: &str) -> (u16, String) {
        let fields = format!("host: api.example.com\r\nauthorization: Bearer {token}\r\n");
        let request = format!("GET / HTTP/1.1\r\n{fields}\r\n");
        Client::connect(self.gateway.listener(80)).ask(&request)
    }

    /// What `/jwks` says of the set whose URL ends like this.
    fn set(&self, end: &str) -> serde_json::Value {
        let all: serde_json::Value = serde_json::from_str(&self.gateway.admin("/jwks")).unwrap();
        let sets = all["sets"].as_array().unwrap().iter();
        let mut ours = sets.filter(|set| set["url"].as_str().unwrap().ends_with(end));
        ours.next().unwrap().clone()
    }
}

fn start(scratch: &Scratch, driver: &str, server: &NameServer, further: &[&str]) -> Gateway {
    let (dns, ca) = (server.address.to_string(), scratch.path("ca.pem"));
    let arguments = ["--port-map", "80=0", "--driver", driver, "--dns", &dns];
    let keys = ["--dns-family", "v4", "--jwks-ca", &ca];
    let arguments = [&arguments[..], &keys, further].concat();
    Gateway::start(&scratch.0.join("conf"), &arguments)
}

const RULE: &str = "  - {issuer: i, jwksUri: AT/keys}\n";

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
    keys_are_fetched_and_rotated
    an_outage_keeps_old_keys_also_over_a_restart
    an_issuer_says_itself_where_its_keys_are
    internal_addresses_are_not_reached
    answers_that_are_no_keys
}

mod cases {
    use super::*;

    pub(super) fn keys_are_fetched_and_rotated(driver: &str) {
        let (issuer, a, b) = (Issuer::start(), Key::new("a"), Key::new("b"));
        issuer.keys("/keys", &[&a]);
        let house = House::open("rotate", driver, &issuer, RULE, HERE);
        let ok = (200, "hello".to_owned());
        assert_eq!(
            house.get(&a.token("i")),
            ok,
            "the first request finds the keys"
        );
        let unknown = "Jwks doesn't have key to match kid or alg from Jwt".to_owned();
        assert_eq!(house.get(&b.token("i")), (401, unknown));
        issuer.keys("/keys", &[&a, &b]);
        eventually("the new key", || {
            (house.get(&b.token("i")) == ok).then_some(())
        });
        assert_eq!(house.get(&a.token("i")), ok);
        issuer.keys("/keys", &[&b]);
        house.get(&Key::new("c").token("i"));
        eventually("the old key is gone", || {
            (house.get(&a.token("i")).0 == 401).then_some(())
        });
        assert_eq!(house.get(&b.token("i")), ok);
        let (asked, begun) = (issuer.asked("/keys"), Instant::now());
        for _ in 0..200 {
            assert_eq!(house.get(&Key::new("x").token("i")).0, 401);
        }
        let turns = usize::try_from(begun.elapsed().as_secs() / 10).unwrap();
        assert!(
            issuer.asked("/keys") <= asked + 1 + turns,
            "fetches at a bounded rate"
        );
        let good = ["sallyport_jwks_fetches_total{", "\"good\""];
        assert!(house.gateway.sample(&good).unwrap() >= 3.0);
        assert!(
            house
                .gateway
                .sample(&["sallyport_jwks_age_seconds{"])
                .is_some()
        );
        assert_eq!(house.gateway.generation_id(), 1);
    }

    pub(super) fn an_outage_keeps_old_keys_also_over_a_restart(driver: &str) {
        let (issuer, key) = (Issuer::start(), Key::new("a"));
        issuer.keys("/keys", &[&key]);
        let state =
            std::env::temp_dir().join(format!("sallyport-it-{driver}-{}", std::process::id()));
        let state = Scratch(state);
        let (state_dir, mut options) = (state.0.display().to_string(), HERE.to_vec());
        options.extend(["--state-dir", &state_dir]);
        let mut house = House::open("outage", driver, &issuer, RULE, &options);
        assert_eq!(house.get(&key.token("i")).0, 200);
        issuer.say("/keys", "HTTP/1.1 500 Oh\r\ncontent-length: 0\r\n\r\n");
        house.get(&Key::new("x").token("i"));
        eventually("a failed fetch", || {
            house.set("/keys")["error"]
                .as_str()?
                .contains("status 500")
                .then_some(())
        });
        assert_eq!(house.get(&key.token("i")).0, 200);
        assert!(house.gateway.sample(&["sallyport_jwks_failures{"]).unwrap() >= 1.0);
        let kept = || std::fs::read_dir(state.0.join("jwks")).unwrap().count();
        eventually("the keys on disk", || (kept() == 1).then_some(()));
        house.gateway = start(&house.scratch, driver, &house._server, &options);
        assert_eq!(house.get(&key.token("i")).0, 200);
        assert_eq!(house.set("/keys")["keys"], 1);
    }

    pub(super) fn an_issuer_says_itself_where_its_keys_are(driver: &str) {
        let (issuer, key) = (Issuer::start(), Key::new("a"));
        let at = issuer.url();
        issuer.keys("/elsewhere", &[&key]);
        let description =
            |named: &str| format!("{{\"issuer\":\"{named}\",\"jwks_uri\":\"{at}/moved\"}}");
        issuer.body(
            "/good/.well-known/openid-configuration",
            &description(&format!("{at}/good")),
        );
        issuer.body(
            "/evil/.well-known/openid-configuration",
            &description(&format!("{at}/good")),
        );
        issuer.say(
            "/moved",
            "HTTP/1.1 302 Found\r\nlocation: /elsewhere\r\ncontent-length: 0\r\n\r\n",
        );
        let rules = "  - {issuer: AT/good}\n  - {issuer: AT/evil}\n";
        let house = House::open("oidc", driver, &issuer, rules, HERE);
        assert_eq!(house.get(&key.token(&format!("{at}/good"))).0, 200);
        let refused = (401, "Jwks remote fetch is failed".to_owned());
        assert_eq!(house.get(&key.token(&format!("{at}/evil"))), refused);
        let error = house.set("/evil")["error"].to_string();
        assert!(error.contains("another issuer"), "{error}");
    }

    pub(super) fn internal_addresses_are_not_reached(driver: &str) {
        let (issuer, key) = (Issuer::start(), Key::new("a"));
        issuer.keys("/keys", &[&key]);
        let house = House::open("internal", driver, &issuer, RULE, &[]);
        let refused = (401, "Jwks remote fetch is failed".to_owned());
        assert_eq!(house.get(&key.token("i")), refused);
        let error = house.set("/keys")["error"].to_string();
        assert!(error.contains("--allow-private"), "{error}");
        assert_eq!(issuer.connections(), 0);
        let trap = Origin::start_at("trap", "127.0.0.2:0".parse().unwrap());
        for (path, to) in [
            ("/a", format!("https://{}/slow", trap.address)),
            ("/b", format!("http://{}/slow", issuer.address)),
            ("/c", "https://169.254.169.254/latest/meta-data".to_owned()),
            ("/d", "/d".to_owned()),
        ] {
            issuer.say(
                path,
                &format!("HTTP/1.1 302 Found\r\nlocation: {to}\r\ncontent-length: 0\r\n\r\n"),
            );
        }
        let rules: String = ["a", "b", "c", "d"]
            .map(|name| format!("  - {{issuer: {name}, jwksUri: AT/{name}}}\n"))
            .concat();
        let house = House::open("redirects", driver, &issuer, &rules, HERE);
        for (path, why) in [
            ("/a", "internal address"),
            ("/b", "from https to http"),
            ("/c", "internal address"),
            ("/d", "more than 3 redirects"),
        ] {
            eventually(path, || {
                house.set(path)["error"]
                    .as_str()?
                    .contains(why)
                    .then_some(())
            });
        }
        assert!(trap.arrived.try_recv().is_err(), "nobody came");
    }

    pub(super) fn answers_that_are_no_keys(driver: &str) {
        let issuer = Issuer::start();
        let long = format!("{{\"keys\":[],\"x\":\"{}\"}}", "x".repeat(2 * 1024 * 1024));
        issuer.body("/long", &long);
        issuer.body("/html", "<html>sign in</html>");
        issuer.body("/none", "{}");
        issuer.say(
            "/gone",
            "HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n",
        );
        issuer.say(
            "/gzip",
            "HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: 1\r\n\r\nx",
        );
        issuer.say(
            "/cut",
            "HTTP/1.1 200 OK\r\ncontent-length: 99\r\n\r\n{\"keys\":[",
        );
        issuer.say("/endless", "");
        let cases = [
            ("/long", "cannot be read"),
            ("/html", "not a JSON object"),
            ("/none", "no `keys`"),
            ("/gone", "status 404"),
            ("/gzip", "encoded"),
            ("/cut", "cannot be read"),
            ("/endless", "no answer within 700 ms"),
        ];
        let rule = |(path, _): (&str, &str)| {
            format!("  - {{issuer: \"{path}\", jwksUri: \"AT{path}\", timeout: 700ms}}\n")
        };
        let rules = cases.map(rule).concat();
        let house = House::open("wrong", driver, &issuer, &rules, HERE);
        for (path, why) in cases {
            let error = eventually(path, || {
                house.set(path)["error"].as_str().map(str::to_owned)
            });
            assert!(error.contains(why), "{path}: {error}");
            let token = Key::new("a").token(path);
            let refused = (401, "Jwks remote fetch is failed".to_owned());
            assert_eq!(house.get(&token), refused, "{path}");
        }
        let stranger = House::open("stranger", driver, &Issuer::start(), RULE, HERE);
        stranger.scratch.write("ca.pem", &issuer.ca);
        let gateway = start(&stranger.scratch, driver, &stranger._server, HERE);
        eventually("a certificate of nobody", || {
            gateway
                .admin("/jwks")
                .contains("TLS: invalid peer certificate")
                .then_some(())
        });
    }
}

//! The operators' servers, and what is counted and logged about requests.

use std::fs;

use crate::child::{Client, Gateway, Origin, Scratch, config, eventually};

/// Every path with a word that its answer has.
const PATHS: &[(&str, &str)] = &[
    ("/", "admin commands are"),
    ("/help", "/quitquitquit"),
    ("/ready", "LIVE"),
    ("/listeners", "0.0.0.0_80::127.0.0.1:"),
    ("/listeners?format=json", "\"port_value\""),
    ("/clusters", "outbound|8000||api.internal::rq_total::"),
    ("/clusters?format=json", "\"eds_health_status\""),
    ("/certs", "\"certificates\""),
    ("/config_dump", "\"configs\""),
    ("/generation", "\"id\": 1"),
    ("/diagnostics", "no findings"),
    ("/diagnostics?format=json", "\"diagnostics\": []"),
    ("/stats", "sallyport_workers: "),
    (
        "/stats?format=prometheus",
        "# TYPE istio_requests_total counter",
    ),
    ("/stats/prometheus", "istio_build{component=\"proxy\""),
    ("/server_info", "\"state\": \"LIVE\""),
    ("/logging", "sallyport: info"),
    (
        "/explain?url=http://api.example.com/v1",
        "VirtualService default/api",
    ),
];

fn start(name: &str, arguments: &[&str]) -> (Scratch, Origin, Gateway) {
    let scratch = Scratch::new(name);
    let origin = Origin::start("origin");
    scratch.write("a.yaml", &config(origin.address));
    let arguments = [&["--port-map", "80=0"], arguments].concat();
    let gateway = Gateway::start(&scratch.0, &arguments);
    (scratch, origin, gateway)
}

#[test]
fn every_path_answers() {
    let (_scratch, _origin, gateway) = start("paths", &[]);
    for (path, word) in PATHS {
        let text = gateway.admin(path);
        assert!(text.contains(word), "{path}: {text}");
        if text.starts_with('{') {
            serde_json::from_str::<serde_json::Value>(&text).unwrap();
        }
    }
    let (status, text) = gateway.ask("admin", "GET", "/nowhere");
    assert!(status == 404 && text.contains("/config_dump"), "{text}");
    assert_eq!(gateway.ask("metrics", "GET", "/metrics").0, 200);
    assert_eq!(gateway.ask("metrics", "GET", "/listeners").0, 404);
    assert_eq!(gateway.ask("status", "GET", "/stats").0, 404);
}

#[test]
fn changes_want_post_and_no_web_page() {
    let (_scratch, _origin, gateway) = start("post", &[]);
    let paths = [
        "/healthcheck/fail",
        "/healthcheck/ok",
        "/quitquitquit",
        "/drain_listeners",
        "/logging?level=debug",
    ];
    for path in paths {
        assert_eq!(gateway.ask("admin", "GET", path).0, 405, "{path}");
        let mut page = Client::connect(gateway.address("admin"));
        let request =
            format!("POST {path} HTTP/1.1\r\nhost: a\r\norigin: https://evil.example\r\n\r\n");
        assert_eq!(page.ask(&request).0, 403, "{path}");
    }
    let ready = || gateway.ask("status", "GET", "/healthz/ready").0;
    assert_eq!(ready(), 200);
    assert_eq!(gateway.ask("admin", "POST", "/healthcheck/fail").0, 200);
    assert_eq!(ready(), 503);
    assert_eq!(gateway.ask("admin", "POST", "/healthcheck/ok").0, 200);
    assert_eq!(ready(), 200);
    gateway.ask("admin", "POST", "/logging?level=debug");
    assert!(gateway.admin("/logging").contains("sallyport: debug"));
}

#[test]
fn drained_listeners_accept_no_more() {
    let (_scratch, _origin, gateway) = start("drain-listeners", &[]);
    let address = gateway.listener(80);
    assert_eq!(Client::connect(address).get("api.example.com", "/").0, 200);
    assert_eq!(gateway.ask("admin", "POST", "/drain_listeners").0, 200);
    eventually("the port is closed", || {
        std::net::TcpStream::connect(address).is_err().then_some(())
    });
}

#[test]
fn quitquitquit_drains_and_ends() {
    let (_scratch, _origin, mut gateway) = start("quit", &[]);
    assert_eq!(gateway.ask("admin", "POST", "/quitquitquit").0, 200);
    assert_eq!(gateway.wait().code(), Some(0));
}

#[test]
fn requests_are_counted_with_their_labels() {
    for driver in ["io_uring", "epoll"] {
        let (_scratch, _origin, gateway) = start("counted", &["--driver", driver]);
        let mut client = Client::connect(gateway.listener(80));
        for _ in 0..5 {
            assert_eq!(client.get("api.example.com", "/v1").0, 200);
        }
        assert_eq!(client.get("other.example.com", "/").0, 404);
        let served = [
            "istio_requests_total{reporter=\"source\"",
            "destination_service=\"api.internal\"",
            "response_code=\"200\"",
            "response_flags=\"-\"",
        ];
        let lost = [
            "istio_requests_total{",
            "destination_service=\"unknown\"",
            "response_code=\"404\"",
            "response_flags=\"NR\"",
        ];
        assert_eq!(gateway.sample(&served), Some(5.0));
        assert_eq!(gateway.sample(&lost), Some(1.0));
        let durations = [
            "istio_request_duration_milliseconds_count{",
            "response_code=\"200\"",
        ];
        assert_eq!(gateway.sample(&durations), Some(5.0));
        assert_eq!(
            gateway.sample(&["sallyport_connections_active{"]),
            Some(1.0)
        );
        assert_eq!(
            gateway.sample(&["sallyport_upstream_connects_total{"]),
            Some(1.0)
        );
        assert_eq!(
            gateway.sample(&["sallyport_requests_in_flight "]),
            Some(0.0)
        );
        assert_eq!(
            gateway.sample(&[&format!("sallyport_driver{{driver=\"{driver}\"}}")]),
            Some(1.0)
        );
        drop(client);
        eventually("the connection is gone", || {
            (gateway.sample(&["sallyport_connections_active{"]) == Some(0.0)).then_some(())
        });
    }
}

#[test]
fn requests_are_logged_with_their_fields_and_logs_rotate() {
    let (scratch, _origin, gateway) = start("logged", &[]);
    let log = scratch.path("access.log");
    let mesh = format!(
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: istio, namespace: istio-system}}\ndata:\n  mesh: |\n    accessLogFile: {log}\n    accessLogEncoding: JSON\n"
    );
    scratch.write("mesh.yaml", &mesh);
    eventually("the mesh settings", || {
        (gateway.generation_id() == 2).then_some(())
    });
    let mut client = Client::connect(gateway.listener(80));
    let line = |marker: &str| {
        eventually("a log line", || {
            let text = fs::read_to_string(&log).ok()?;
            let line = text.lines().find(|line| line.contains(marker))?;
            Some(serde_json::from_str::<serde_json::Value>(line).unwrap())
        })
    };
    assert_eq!(client.get("api.example.com", "/v1?first").0, 200);
    let entry = line("first");
    for (field, value) in [
        ("method", "GET"),
        ("path", "/v1?first"),
        ("protocol", "HTTP/1.1"),
        ("authority", "api.example.com"),
        ("response_flags", "-"),
        ("upstream_cluster", "outbound|8000||api.internal"),
        ("route_name", "all"),
    ] {
        assert_eq!(
            entry[field].as_str().unwrap_or("-"),
            value,
            "{field} of {entry}"
        );
    }
    assert_eq!(entry["response_code"], 200);
    assert_eq!(client.get("lost.example.com", "/").0, 404);
    assert_eq!(line("lost")["response_flags"], "NR");
    fs::rename(&log, scratch.path("access.log.1")).unwrap();
    gateway.signal("USR1");
    eventually("a new log file", || {
        client.get("api.example.com", "/v1?second");
        fs::read_to_string(&log)
            .ok()?
            .contains("second")
            .then_some(())
    });
}

//! Start, signals, end, exit status.

use crate::child::{Client, Gateway, Origin, Scratch, config, eventually, run};

#[test]
fn exit_status_says_how_it_went() {
    let scratch = Scratch::new("exit");
    let good = config("127.0.0.1:1".parse().unwrap());
    scratch.write("good.yaml", &good);
    scratch.write(
        "bad.yaml",
        &good.replace("hosts: [api.example.com]", "hots: [api.example.com]"),
    );
    let (good, bad) = (scratch.path("good.yaml"), scratch.path("bad.yaml"));
    for (arguments, status, said) in [
        (
            vec!["--check", "--config", &good],
            0,
            "configuration is good: 1 listeners, 1 clusters",
        ),
        (
            vec!["run", "--check", "--config", &bad],
            1,
            "did you mean `hosts`",
        ),
        (
            vec!["--check", "--config", "/nowhere.yaml"],
            1,
            "/nowhere.yaml",
        ),
        (vec!["--chekc", "--config", &good], 2, "--chekc"),
        (vec![], 2, "--config"),
        (vec!["--version"], 0, "sallyport-gateway 0."),
        (vec!["--help"], 0, "SALLYPORT_LOG_LEVEL"),
    ] {
        let output = run(&arguments);
        let text = [output.stdout, output.stderr].concat();
        let text = String::from_utf8(text).unwrap();
        assert_eq!(output.status.code(), Some(status), "{arguments:?}: {text}");
        assert!(text.contains(said), "{arguments:?}: {text}");
    }
}

#[test]
fn a_taken_admin_port_ends_the_start_and_is_named() {
    let scratch = Scratch::new("admin-taken");
    scratch.write("a.yaml", &config("127.0.0.1:1".parse().unwrap()));
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let output = run(&["--config", &scratch.path("a.yaml"), "--admin", &address]);
    let text = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{text}");
    let owner = format!("(pid {})", std::process::id());
    assert!(text.contains(&address) && text.contains(&owner), "{text}");
}

#[test]
fn a_taken_port_is_named_with_its_owner_and_the_others_serve() {
    let scratch = Scratch::new("taken");
    let origin = Origin::start("origin");
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let text = config(origin.address).replace(
        "  servers:\n",
        "  servers:\n  - port: {number: 81, name: http-taken, protocol: HTTP}\n    hosts: ['*']\n",
    );
    scratch.write("a.yaml", &text);
    let map = format!("80=0,81={port}");
    let gateway = Gateway::start(&scratch.0, &["--port-map", &map]);
    let (status, body) = Client::connect(gateway.listener(80)).get("api.example.com", "/");
    assert_eq!((status, body.as_str()), (200, "origin"));
    let said = gateway.admin("/diagnostics");
    assert!(said.contains(&format!("127.0.0.1:{port}")), "{said}");
    assert!(
        said.contains(&format!("pid {}", std::process::id())),
        "{said}"
    );
    drop(taken);
    // It is tried again without being asked.
    eventually("the freed port", || {
        gateway
            .admin("/listeners")
            .contains(&format!(":{port}\n"))
            .then_some(())
    });
}

#[test]
fn a_second_gateway_does_not_share_a_port_and_takes_it_over() {
    let scratch = Scratch::new("second");
    let origin = Origin::start("origin");
    scratch.write("a.yaml", &config(origin.address));
    let first = Gateway::start(&scratch.0, &["--port-map", "80=0"]);
    let port = first.listener(80).port();
    let map = format!("80={port}");
    let second = Gateway::start(&scratch.0, &["--port-map", &map]);
    let said = second.admin("/diagnostics");
    assert!(said.contains("held by sallyport"), "{said}");
    assert_eq!(second.ask("status", "GET", "/healthz/ready").0, 503);
    drop(first);
    let address = second.listener(port);
    assert_eq!(Client::connect(address).get("api.example.com", "/").0, 200);
}

#[test]
fn a_broken_start_waits_for_better_and_is_not_ready() {
    let scratch = Scratch::new("broken-start");
    scratch.write("a.yaml", "{ broken");
    let gateway = Gateway::start(&scratch.0, &["--port-map", "80=0"]);
    assert_eq!(gateway.ask("status", "GET", "/healthz/ready").0, 503);
    assert!(gateway.log().contains("SP0001"), "{}", gateway.log());
    let origin = Origin::start("origin");
    scratch.write("a.yaml", &config(origin.address));
    let (status, _) = Client::connect(gateway.listener(80)).get("api.example.com", "/");
    assert_eq!(status, 200);
    assert_eq!(gateway.ask("status", "GET", "/healthz/ready").0, 200);
}

#[test]
fn a_stop_lets_requests_finish() {
    for driver in ["io_uring", "epoll"] {
        let scratch = Scratch::new("drain");
        let origin = Origin::start("origin");
        scratch.write("a.yaml", &config(origin.address));
        let mut gateway = Gateway::start(&scratch.0, &["--port-map", "80=0", "--driver", driver]);
        let address = gateway.listener(80);
        let (mut busy, mut idle) = (Client::connect(address), Client::connect(address));
        assert_eq!(idle.get("api.example.com", "/").0, 200);
        busy.send("GET /slow HTTP/1.1\r\nhost: api.example.com\r\n\r\n")
            .unwrap();
        origin.arrived.recv().unwrap();
        gateway.signal("TERM");
        eventually("readiness fails", || {
            (gateway.ask("status", "GET", "/healthz/ready").0 == 503).then_some(())
        });
        assert!(idle.is_closed(), "an idle connection is closed");
        origin.release.send(()).unwrap();
        let (head, body) = busy.receive().unwrap();
        assert!(head.starts_with("HTTP/1.1 200"), "{head}");
        assert!(
            head.to_ascii_lowercase().contains("connection: close"),
            "{head}"
        );
        assert_eq!(body, "origin");
        assert_eq!(gateway.wait().code(), Some(0));
    }
}

#[test]
fn a_second_stop_ends_at_once() {
    let scratch = Scratch::new("stop-twice");
    let origin = Origin::start("origin");
    scratch.write("a.yaml", &config(origin.address));
    let mut gateway = Gateway::start(&scratch.0, &["--port-map", "80=0"]);
    let mut busy = Client::connect(gateway.listener(80));
    busy.send("GET /slow HTTP/1.1\r\nhost: api.example.com\r\n\r\n")
        .unwrap();
    origin.arrived.recv().unwrap();
    gateway.signal("TERM");
    eventually("the drain begins", || {
        gateway.log().contains("draining").then_some(())
    });
    gateway.signal("INT");
    assert_eq!(gateway.wait().code(), Some(0));
    assert!(busy.is_closed());
}

#[test]
fn other_signals_do_what_they_say_and_no_more() {
    let scratch = Scratch::new("signals");
    let origin = Origin::start("origin");
    scratch.write("a.yaml", &config(origin.address));
    let gateway = Gateway::start(&scratch.0, &["--port-map", "80=0"]);
    gateway.signal("USR2");
    eventually("USR2 is answered", || {
        gateway.log().contains("hot restart").then_some(())
    });
    gateway.signal("PIPE");
    gateway.signal("HUP");
    let (status, _) = Client::connect(gateway.listener(80)).get("api.example.com", "/");
    assert_eq!(
        (status, gateway.generation_id()),
        (200, 1),
        "nothing changed"
    );
}

//! A process that runs out: of descriptors, of memory.

use crate::child::{Client, Gateway, Origin, Scratch, config, eventually};

/// Clients that were answered, and stay.
fn crowd(gateway: &Gateway, size: usize) -> Vec<Client> {
    let address = gateway.listener(80);
    let mut clients: Vec<_> = (0..size).map(|_| Client::connect(address)).collect();
    for client in &mut clients {
        // One that was turned away may not even take it.
        let _ = client.send("GET / HTTP/1.1\r\nhost: api.example.com\r\n\r\n");
    }
    clients.retain_mut(|client| client.receive().is_ok());
    clients
}

fn by_driver(name: &str, test: impl Fn(&Scratch, &str)) {
    for driver in ["auto", "epoll"] {
        let scratch = Scratch::new(&format!("{name}-{driver}"));
        test(&scratch, driver);
    }
}

#[test]
fn clients_beyond_the_descriptors_are_turned_away_and_operators_are_answered() {
    by_driver("descriptors", |scratch, driver| {
        let origin = Origin::start("origin");
        scratch.write("a.yaml", &config(origin.address));
        let arguments = ["--port-map", "80=0", "--workers", "2", "--driver", driver];
        let gateway = Gateway::start_within(256, &scratch.0, &arguments);
        let clients = crowd(&gateway, 500);
        // half of what is left when 64, and 16 for each worker, are kept for other things
        assert_eq!(clients.len(), 80, "{driver}");
        assert_eq!(gateway.admin("/ready"), "LIVE\n");
        let refused = gateway.sample(&["sallyport_connections_refused_total"]);
        assert_eq!(refused, Some(420.0), "{driver}");
        drop(clients);
        eventually("room again", || {
            (gateway.sample(&["sallyport_connections_active"]) == Some(0.0)).then_some(())
        });
        assert_eq!(crowd(&gateway, 80).len(), 80, "{driver}");
    });
}

#[test]
fn requests_are_refused_before_memory_is_used_up() {
    by_driver("memory", |scratch, driver| {
        let origin = Origin::start("origin");
        scratch.write("a.yaml", &config(origin.address));
        // Less than any process has.
        let arguments = [
            "--port-map",
            "80=0",
            "--driver",
            driver,
            "--memory-limit",
            "1Mi",
        ];
        let gateway = Gateway::start(&scratch.0, &arguments);
        eventually("the first look", || {
            (gateway.sample(&["sallyport_overload "]) == Some(2.0)).then_some(())
        });
        assert!(
            Client::connect(gateway.listener(80)).is_closed(),
            "{driver}"
        );
        assert_eq!(
            gateway.sample(&["sallyport_memory_limit_bytes"]),
            Some(1_048_576.0)
        );
        let used = gateway.sample(&["sallyport_memory_used_bytes"]).unwrap();
        assert!(used > 1_048_576.0, "{used}");
        assert_eq!(gateway.admin("/ready"), "LIVE\n");
        let said = "new connections and requests are refused";
        eventually("the log", || gateway.log().contains(said).then_some(()));
    });
}

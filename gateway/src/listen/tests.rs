//! Tests of binding: ports, twins, owners.

use std::net::{Ipv4Addr, Ipv6Addr, TcpStream};

use super::*;

fn listener(bind: ir::Bind, port: u16) -> ir::Listener {
    ir::Listener {
        name: format!("test_{port}"),
        bind,
        port,
        kind: ir::ListenerKind::Plain(ir::Service::Close),
    }
}

fn options(workers: usize) -> BindOptions {
    BindOptions {
        default: vec![Ipv4Addr::UNSPECIFIED.into(), Ipv6Addr::UNSPECIFIED.into()],
        workers,
    }
}

#[test]
fn port_zero_is_chosen_once_for_all_workers_and_families() {
    let bound = bind(&listener(ir::Bind::Default, 0), &options(3)).unwrap();
    let ports: Vec<u16> = bound
        .addresses
        .iter()
        .map(|address| match address {
            BoundAddress::Tcp(address) => address.port(),
            BoundAddress::Unix(_) => panic!("a path among addresses"),
        })
        .collect();
    assert!(ports.iter().all(|port| *port == ports[0] && *port != 0));
    assert_eq!(bound.workers.len(), 3);
    for worker in &bound.workers {
        assert_eq!(worker.sockets.len(), bound.addresses.len());
    }
    TcpStream::connect((Ipv4Addr::LOCALHOST, ports[0])).unwrap();
}

#[test]
fn a_taken_port_names_its_owner() {
    let taken = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = taken.local_addr().unwrap().port();
    let wanted = listener(ir::Bind::Ip(Ipv4Addr::LOCALHOST.into()), port);
    let error = bind(&wanted, &options(1)).unwrap_err().to_string();
    assert!(error.contains(&format!("127.0.0.1:{port}")), "{error}");
    let pid = format!("(pid {})", std::process::id());
    assert!(error.contains(&pid), "{error}");
}

#[test]
fn a_unix_socket_that_nobody_listens_on_is_replaced() {
    let path = std::env::temp_dir().join(format!("sallyport-{}.sock", std::process::id()));
    let path = path.to_str().unwrap().to_owned();
    let wanted = listener(ir::Bind::Unix(path.clone()), 0);
    drop(bind(&wanted, &options(2)).unwrap());
    let again = bind(&wanted, &options(2)).unwrap();
    assert!(bind(&wanted, &options(2)).is_err(), "it is in use now");
    drop(again);
    std::fs::remove_file(&path).unwrap();
}

//! The exported text, label by label.

use std::collections::BTreeMap;

use sallyport_config::ir;
use sallyport_core::flags::Flags;
use sallyport_core::rate::Met;

use super::*;
use crate::stats::{Sample, WorkerStats};

fn cluster() -> ir::Cluster {
    ir::Cluster {
        name: "outbound|80|v1|api.default.svc.cluster.local".to_owned(),
        host: "api.default.svc.cluster.local".to_owned(),
        port: 80,
        subset: "v1".to_owned(),
        service_name: "api".to_owned(),
        service_namespace: "default".to_owned(),
        ..ir::Cluster::default()
    }
}

fn sample(cluster: Option<&ir::Cluster>, code: u16, flags: Flags) -> Sample<'_> {
    Sample {
        cluster,
        workload: "",
        principals: None,
        protocol: Protocol::Http,
        code,
        grpc_status: None,
        flags,
        duration_us: 1_500,
        request_bytes: 120,
        response_bytes: 1_024,
    }
}

fn facts() -> Facts {
    let node = Node {
        name: "gw".to_owned(),
        service_account: String::new(),
        namespace: "istio-system".to_owned(),
        labels: BTreeMap::from([("istio".to_owned(), "ingressgateway".to_owned())]),
        cluster: "Kubernetes".to_owned(),
        network: String::new(),
        locality: String::new(),
    };
    Facts {
        source: Source::of(&node),
        ..Facts::default()
    }
}

#[test]
fn a_request_has_every_label_of_istio_in_order() {
    let mut stats = WorkerStats::default();
    let cluster = cluster();
    for _ in 0..3 {
        stats.request_started();
        stats.request_finished(&sample(Some(&cluster), 200, Flags::NONE));
    }
    let text = render(&stats.report(), &facts());
    let expected = "istio_requests_total{reporter=\"source\",source_workload=\"gw\",\
        source_canonical_service=\"gw\",source_canonical_revision=\"latest\",\
        source_workload_namespace=\"istio-system\",source_principal=\"unknown\",\
        source_app=\"unknown\",source_version=\"unknown\",source_cluster=\"Kubernetes\",\
        destination_workload=\"unknown\",destination_workload_namespace=\"unknown\",\
        destination_principal=\"unknown\",destination_app=\"unknown\",\
        destination_version=\"unknown\",\
        destination_service=\"api.default.svc.cluster.local\",\
        destination_canonical_service=\"unknown\",destination_canonical_revision=\"unknown\",\
        destination_service_name=\"api\",destination_service_namespace=\"default\",\
        destination_cluster=\"unknown\",request_protocol=\"http\",response_code=\"200\",\
        grpc_response_status=\"\",response_flags=\"-\",\
        connection_security_policy=\"unknown\"} 3\n";
    assert!(text.contains(expected), "{text}");
    for line in [
        "le=\"1\"} 0\n",
        "le=\"5\"} 3\n",
        "le=\"+Inf\"} 3\n",
        "connection_security_policy=\"unknown\"} 4.5\n",
        "sallyport_requests_in_flight 0\n",
        "sallyport_request_duration_count 3\n",
    ] {
        assert!(text.contains(line), "{line} in {text}");
    }
}

#[test]
fn a_request_without_a_cluster_is_unknown_with_its_flags() {
    let mut stats = WorkerStats::default();
    stats.request_finished(&sample(None, 404, Flags::NR));
    let text = render(&stats.report(), &facts());
    assert!(text.contains("destination_service=\"unknown\""));
    assert!(text.contains("response_code=\"404\",grpc_response_status=\"\",response_flags=\"NR\""));
}

#[test]
fn a_workload_has_the_namespace_of_its_service_when_it_is_known() {
    for (workload, namespace) in [
        ("api-v1", "default"),
        ("unknown", "unknown"),
        ("", "unknown"),
    ] {
        let (mut stats, cluster) = (WorkerStats::default(), cluster());
        let sample = Sample {
            workload,
            ..sample(Some(&cluster), 200, Flags::NONE)
        };
        stats.request_finished(&sample);
        let text = render(&stats.report(), &facts());
        let expected = format!("destination_workload_namespace=\"{namespace}\"");
        assert!(text.contains(&expected), "{workload}: {text}");
    }
}

#[test]
fn every_sample_follows_its_type_and_parses() {
    let mut stats = WorkerStats::default();
    let slot = stats.listener("we\"ird\n\\name");
    stats.connection_opened(slot);
    stats.upstream_connected("c");
    stats.request_finished(&sample(Some(&cluster()), 503, Flags::UF.with(Flags::URX)));
    let mut report = stats.report();
    report.merge(stats.report());
    let text = render(&report, &facts());
    let mut current = String::new();
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# TYPE ") {
            current = rest.split(' ').next().unwrap().to_owned();
        } else if !line.starts_with('#') {
            assert!(line.starts_with(&current), "{line} under {current}");
            let (_, value) = line.rsplit_once(' ').unwrap();
            value.parse::<f64>().unwrap();
        }
    }
    assert!(text.contains("{listener=\"we\\\"ird\\n\\\\name\"} 2\n"));
    assert!(text.contains("response_flags=\"URX,UF\""));
}

#[test]
fn stats_lines_are_filtered_and_have_no_buckets() {
    let mut stats = WorkerStats::default();
    stats.request_finished(&sample(Some(&cluster()), 200, Flags::NONE));
    let text = lines(&stats.report(), &facts(), "sallyport_request");
    assert!(text.contains("sallyport_request_duration{quantile=\"0.99\"}: "));
    assert!(!text.contains("istio_") && !text.contains("_bucket"));
}

#[test]
fn a_full_table_counts_without_labels() {
    use crate::stats::counters::SERIES_MAX;
    let mut stats = WorkerStats::default();
    let mut cluster = cluster();
    for n in 0..SERIES_MAX + 5 {
        cluster.name = format!("c{n}");
        stats.request_finished(&sample(Some(&cluster), 200, Flags::NONE));
    }
    let report = stats.report();
    assert_eq!(
        (report.series.len(), report.series_overflow),
        (SERIES_MAX, 5)
    );
}

#[test]
fn dry_runs_have_istios_labels() {
    let mut stats = WorkerStats::default();
    let observed = sallyport_config::model::Observed {
        audited: Some(true),
        deny: Some(sallyport_config::model::Shadow::default()),
        allow: None,
    };
    stats.observed(&observed);
    let mut report = stats.report();
    report.merge(stats.report());
    let text = render(&report, &facts());
    for line in [
        r#"sallyport_authz_audited_total{result="logged"} 2"#,
        r#"sallyport_authz_dry_run_total{authz_dry_run_action="deny",authz_dry_run_result="denied"} 2"#,
        r#"sallyport_authz_dry_run_total{authz_dry_run_action="allow",authz_dry_run_result="allowed"} 0"#,
    ] {
        assert!(text.lines().any(|l| l == line), "{text}");
    }
}

#[test]
fn principals_are_labels() {
    let (mut stats, cluster) = (WorkerStats::default(), cluster());
    let principals = crate::tls::client::Principals {
        own: "spiffe://td/ns/a/sa/gw".into(),
        peer: "spiffe://td/ns/b/sa/api".into(),
    };
    let known = Sample {
        principals: Some(&principals),
        ..sample(Some(&cluster), 200, Flags::NONE)
    };
    stats.request_finished(&known);
    // others are other series
    stats.request_finished(&sample(Some(&cluster), 200, Flags::NONE));
    let text = render(&stats.report(), &facts());
    for label in [
        r#"source_principal="spiffe://td/ns/a/sa/gw""#,
        r#"destination_principal="spiffe://td/ns/b/sa/api""#,
        r#"source_principal="unknown""#,
    ] {
        let mut counts = text
            .lines()
            .filter(|l| l.starts_with("istio_requests_total"));
        assert!(
            counts.any(|l| l.contains(label) && l.ends_with(" 1")),
            "{text}"
        );
    }
}

#[test]
fn rate_limits_are_counted_by_name() {
    let mut stats = WorkerStats::default();
    for met in [Met::Within, Met::Within, Met::Unenforced, Met::Refused] {
        stats.limit_met("ns/edge/once", met);
    }
    let facts = Facts {
        forgotten: vec![("ns/edge/once".to_owned(), 7)],
        ..facts()
    };
    let text = render(&stats.report(), &facts);
    for (name, count) in [
        ("ok", 2),
        ("rate_limited", 2),
        ("enforced", 1),
        ("keys_forgotten", 7),
    ] {
        let line =
            format!("sallyport_local_rate_limit_{name}_total{{limit=\"ns/edge/once\"}} {count}\n");
        assert!(text.contains(&line), "{text}");
    }
}

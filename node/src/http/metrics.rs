//! Measures for Prometheus: what the interface counts, and what the node shows of
//! itself when it is asked.

use std::sync::atomic::AtomicU64;
use std::time::SystemTime;

use precentor_core::status::{RoleName, Status};
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use crate::net::Refusals;
use crate::space::Space;
use crate::tls::Identity;

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RequestLabels {
    method: String,
    path: String,
    status: u16,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct StateLabel {
    state: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RefusalLabels {
    peer: String,
    reason: String,
}

/// What is counted from request to request.
#[derive(Debug, Default)]
pub(super) struct Counts {
    requests: Family<RequestLabels, Counter>,
}

impl Counts {
    /// A request was answered. The path is one that was declared: there are few.
    pub(super) fn note(&self, method: &str, path: &str, status: u16) {
        let labels = RequestLabels {
            method: method.to_owned(),
            path: path.to_owned(),
            status,
        };
        self.requests.get_or_create(&labels).inc();
    }

    /// Everything, as OpenMetrics text.
    pub(super) fn text(
        &self,
        status: Option<&Status>,
        refusals: &Refusals,
        own: Option<&Identity>,
        space: &Space,
    ) -> String {
        let mut registry = Registry::with_prefix("precentor");
        registry.register(
            "http_requests",
            "HTTP requests that were answered",
            self.requests.clone(),
        );
        let refused = Family::<RefusalLabels, Counter>::default();
        for (peer, reason, count) in refusals.all() {
            let labels = RefusalLabels {
                peer: peer.map_or_else(|| "unknown".to_owned(), |node| node.to_string()),
                reason: format!("{reason:?}"),
            };
            refused.get_or_create(&labels).inc_by(count);
        }
        registry.register(
            "connections_refused",
            "What was turned away at the border to other nodes",
            refused,
        );
        let room = Level::default();
        room.set(space.free_bytes());
        registry.register("disk_free_bytes", "Room on the disk of this node", room);
        let low = Level::default();
        low.set(u64::from(space.is_low()));
        let help = "1 if that is less than is held back";
        registry.register("disk_low", help, low);
        if let Some(own) = own {
            let until = own.until.duration_since(SystemTime::UNIX_EPOCH);
            let gauge = Level::default();
            gauge.set(until.unwrap_or_default().as_secs());
            registry.register(
                "certificate_over_seconds",
                "When the certificate of this node is over, in seconds since 1970",
                gauge,
            );
        }
        if let Some(status) = status {
            register(&mut registry, status);
        }
        let mut text = String::new();
        encode(&mut text, &registry).expect("a string takes every text");
        text
    }
}

type Level = Gauge<u64, AtomicU64>;

fn register(registry: &mut Registry, status: &Status) {
    let mut gauge = |name: &str, help: &str, value: u64| {
        let gauge = Level::default();
        gauge.set(value);
        registry.register(name, help, gauge);
    };
    gauge(
        "leader",
        "1 if this node leads",
        u64::from(status.role == RoleName::Leader),
    );
    gauge(
        "has_leader",
        "1 if this node knows a leader",
        u64::from(status.leader.is_some()),
    );
    gauge("term", "The term of this node", status.term.0);
    gauge("log_last_index", "The last log entry", status.last.0);
    gauge(
        "log_commit_index",
        "The last committed entry",
        status.commit.0,
    );
    gauge(
        "log_applied_index",
        "The last applied entry",
        status.applied.0,
    );
    gauge(
        "disk_write_latency_microseconds",
        "How long a write takes, smoothed",
        status.own.write_latency_us,
    );
    gauge(
        "turns_late",
        "Turns that came late, of late",
        status.own.late_turns,
    );
    gauge(
        "requests_kept",
        "Requests kept on disk until there is a leader",
        status.local.requests,
    );
    gauge(
        "contexts",
        "Addresses with a context",
        status.queue.contexts,
    );
    gauge("workers", "Registered workers", status.workers.len() as u64);
    let live = Family::<StateLabel, Level>::default();
    let queue = &status.queue;
    for (state, count) in [
        ("waiting", queue.waiting),
        ("delayed", queue.delayed),
        ("ready", queue.ready),
        ("running", queue.running),
        ("parked", queue.parked),
    ] {
        live.get_or_create(&StateLabel { state }).set(count);
    }
    registry.register("jobs", "Jobs that are not over", live);
    let ended = Family::<StateLabel, Counter>::default();
    for (state, count) in [
        ("done", queue.done),
        ("dead", queue.dead),
        ("cancelled", queue.cancelled),
        ("dependency_failed", queue.dependency_failed),
        ("superseded", queue.superseded),
    ] {
        ended.get_or_create(&StateLabel { state }).inc_by(count);
    }
    registry.register(
        "jobs_ended",
        "Jobs that are over, since the founding",
        ended,
    );
}

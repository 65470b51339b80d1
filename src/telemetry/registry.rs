//! The metrics page: sums the shards, asks the gauges' source, and writes Prometheus text.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use prometheus::{
    IntCounterVec, Opts, TextEncoder,
    proto::{Bucket, Counter, Gauge, Histogram, LabelPair, Metric, MetricFamily, MetricType},
};

use super::{
    FailureKind, SlotLabels, SlotMetrics, names,
    slots::{BUCKETS_US, HistogramSum, SlotSums},
};
use crate::ids::{ServiceName, Slot};

/// One value, asked for at scrape time: of a counter if the name ends in `_total`, else of a gauge.
#[derive(Clone, Debug)]
pub struct GaugeSample {
    /// One of the constants in `names`.
    pub metric: (&'static str, &'static str),
    pub labels: Vec<(&'static str, String)>,
    pub value: f64,
}

/// Versions of which counters are kept, of each slot, beside the one that stands there.
const FORMER_VERSIONS_MAX: usize = 8;

type GaugeSource = Box<dyn Fn() -> Vec<GaugeSample> + Send + Sync>;

/// All metrics of one proxy. Cloning shares them.
#[derive(Clone)]
pub struct Registry {
    inner: Arc<Inner>,
}

struct Inner {
    workers: usize,
    slots: Mutex<Slots>,
    gauges: Mutex<Vec<GaugeSource>>,
    events: prometheus::Registry,
    switches: IntCounterVec,
    gates: IntCounterVec,
    reloads: IntCounterVec,
    ejections: IntCounterVec,
    unrouted: IntCounterVec,
    connection_failures: IntCounterVec,
    access_dropped: Mutex<Option<Arc<AtomicU64>>>,
}

/// The counters of what stands in slots, and of what stood there.
#[derive(Default)]
struct Slots {
    known: BTreeMap<SlotLabels, Known>,
    /// Counts the calls, so that it is known which versions were current last.
    turn: u64,
}

struct Known {
    metrics: Arc<SlotMetrics>,
    /// The turn at which this version was put into a table last.
    current_at: u64,
}

impl Slots {
    fn current(&mut self, labels: &SlotLabels, workers: usize) -> Arc<SlotMetrics> {
        self.turn += 1;
        let new = || Known { metrics: Arc::new(SlotMetrics::new(labels.clone(), workers)), current_at: 0 };
        let known = self.known.entry(labels.clone()).or_insert_with(new);
        known.current_at = self.turn;
        let metrics = known.metrics.clone();
        self.forget_former(labels);
        metrics
    }

    /// Forgets the versions of a slot that were current longest ago, so that a release each day does not make the page
    /// longer each day. What a table or a request still holds is never forgotten: nobody else could count there.
    fn forget_former(&mut self, current: &SlotLabels) {
        let first = SlotLabels { version: String::new(), ..current.clone() };
        let of_slot = self.known.range(first..);
        let of_slot =
            of_slot.take_while(|(labels, _)| labels.service == current.service && labels.slot == current.slot);
        let mut former: Vec<_> = of_slot.filter(|(labels, _)| *labels != current).collect();
        former.sort_unstable_by_key(|(_, known)| std::cmp::Reverse(known.current_at));
        let too_many = former.into_iter().skip(FORMER_VERSIONS_MAX);
        let unused = too_many.filter(|(_, known)| Arc::strong_count(&known.metrics) == 1);
        let forgotten: Vec<SlotLabels> = unused.map(|(labels, _)| labels.clone()).collect();
        for labels in forgotten {
            self.known.remove(&labels);
        }
    }
}

impl std::fmt::Debug for Registry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Registry").field("workers", &self.inner.workers).finish_non_exhaustive()
    }
}

impl Registry {
    /// An empty registry for so many workers.
    ///
    /// # Errors
    /// Only if two names in `names` are the same, which a test rules out.
    pub fn new(workers: usize) -> prometheus::Result<Self> {
        let events = prometheus::Registry::new();
        let counter = |(name, help): (&str, &str), labels: &[&str]| -> prometheus::Result<IntCounterVec> {
            let counter = IntCounterVec::new(Opts::new(name, help), labels)?;
            events.register(Box::new(counter.clone()))?;
            Ok(counter)
        };
        let switches = counter(names::SWITCHES, &["service", "action", "outcome"])?;
        let gates = counter(names::GATES, &["service", "slot", "purpose", "result"])?;
        let reloads = counter(names::RELOADS, &["outcome"])?;
        let ejections = counter(names::EJECTIONS, &["service", "slot"])?;
        let unrouted = counter(names::UNROUTED, &["kind"])?;
        let connection_failures = counter(names::CONNECTION_FAILURES, &["kind"])?;
        for kind in ["tls_handshake", "plain_http", "proxy_header"] {
            connection_failures.with_label_values(&[kind]);
        }
        for outcome in ["applied", "unchanged", "refused"] {
            reloads.with_label_values(&[outcome]);
        }
        unrouted.with_label_values(&[FailureKind::NoService.as_str()]);
        Ok(Self {
            inner: Arc::new(Inner {
                workers,
                slots: Mutex::default(),
                gauges: Mutex::default(),
                events,
                switches,
                gates,
                reloads,
                ejections,
                unrouted,
                connection_failures,
                access_dropped: Mutex::default(),
            }),
        })
    }

    /// The counters of these labels, made on first use. Called when a table is built, never per request. Of the versions
    /// that stood in the slot before, the last eight are kept, and those that are still in use.
    pub fn slot(&self, service: &ServiceName, slot: Slot, version: Option<&str>) -> Arc<SlotMetrics> {
        let labels = SlotLabels { service: service.clone(), slot, version: version.unwrap_or_default().to_owned() };
        let mut slots = self.inner.slots.lock().unwrap_or_else(PoisonError::into_inner);
        slots.current(&labels, self.inner.workers)
    }

    /// Forgets the counters of services that no longer exist, so that labels stay bounded.
    pub fn retain_services(&self, keep: impl Fn(&ServiceName) -> bool) {
        self.inner.slots.lock().unwrap_or_else(PoisonError::into_inner).known.retain(|labels, _| keep(&labels.service));
    }

    /// Counts a switch, rollback or slot change.
    pub fn change(&self, service: &ServiceName, action: &str, outcome: &str) {
        self.inner.switches.with_label_values(&[service.as_str(), action, outcome]).inc();
    }

    /// Counts a gate that was run for `switch`, `rollback`, `slot`, `reload` or `test`: `passed`, `failed`, `cancelled`.
    pub fn gate(&self, service: &ServiceName, slot: Slot, purpose: &str, result: &str) {
        self.inner.gates.with_label_values(&[service.as_str(), slot.as_str(), purpose, result]).inc();
    }

    /// Counts a reading of the config file: `applied`, `unchanged` or `refused`.
    pub fn reload(&self, outcome: &str) {
        self.inner.reloads.with_label_values(&[outcome]).inc();
    }

    /// Counts an ejection of an endpoint.
    pub fn ejection(&self, service: &ServiceName, slot: Slot) {
        self.inner.ejections.with_label_values(&[service.as_str(), slot.as_str()]).inc();
    }

    /// Counts a request that failed before a service took it. Off the hot path: such requests are answered at once.
    pub fn unrouted(&self, kind: FailureKind) {
        self.inner.unrouted.with_label_values(&[kind.as_str()]).inc();
    }

    /// Counts a client connection that ended before its first request. Off the hot path.
    pub fn connection_failed(&self, kind: &str) {
        self.inner.connection_failures.with_label_values(&[kind]).inc();
    }

    /// Says where some gauges come from; asked at each scrape.
    pub fn add_gauges(&self, source: GaugeSource) {
        self.inner.gauges.lock().unwrap_or_else(PoisonError::into_inner).push(source);
    }

    /// Says where the count of dropped access records is.
    pub fn set_access_dropped(&self, dropped: Arc<AtomicU64>) {
        *self.inner.access_dropped.lock().unwrap_or_else(PoisonError::into_inner) = Some(dropped);
    }

    /// All there are, without the lock: a long page must not hold up who makes a table.
    fn slots(&self) -> Vec<Arc<SlotMetrics>> {
        let slots = self.inner.slots.lock().unwrap_or_else(PoisonError::into_inner);
        slots.known.values().map(|known| known.metrics.clone()).collect()
    }

    /// The page, in Prometheus text format 0.0.4.
    pub fn render(&self) -> String {
        let mut families = Families::default();
        families.gauge(names::BUILD, &[("version", env!("CARGO_PKG_VERSION"))], 1.0);
        for slot in self.slots() {
            families.slot(&slot.labels, &slot.sums());
        }
        for sample in
            self.inner.gauges.lock().unwrap_or_else(PoisonError::into_inner).iter().flat_map(|source| source())
        {
            let labels: Vec<_> = sample.labels.iter().map(|(key, value)| (*key, value.as_str())).collect();
            families.sample(sample.metric, &labels, sample.value);
        }
        let dropped = self.inner.access_dropped.lock().unwrap_or_else(PoisonError::into_inner).clone();
        families.counter(names::ACCESS_DROPPED, &[], dropped.map_or(0, |count| count.load(Relaxed)));
        let mut all = self.inner.events.gather();
        all.extend(families.0.into_values());
        TextEncoder::new().encode_to_string(&all).unwrap_or_else(|error| format!("# not encodable: {error}\n"))
    }
}

/// Metric families by name, so that the page is in a steady order.
#[derive(Default)]
struct Families(BTreeMap<&'static str, MetricFamily>);

impl Families {
    fn add(&mut self, (name, help): (&'static str, &'static str), kind: MetricType, metric: Metric) {
        let family = self.0.entry(name).or_insert_with(|| {
            let mut family = MetricFamily::default();
            family.set_name(name.to_owned());
            family.set_help(help.to_owned());
            family.set_field_type(kind);
            family
        });
        family.mut_metric().push(metric);
    }

    fn counter(&mut self, name: (&'static str, &'static str), labels: &[(&str, &str)], value: u64) {
        let mut counter = Counter::default();
        counter.set_value(value as f64);
        let mut metric = labelled(labels);
        metric.set_counter(counter);
        self.add(name, MetricType::COUNTER, metric);
    }

    fn gauge(&mut self, name: (&'static str, &'static str), labels: &[(&str, &str)], value: f64) {
        let mut gauge = Gauge::default();
        gauge.set_value(value);
        let mut metric = labelled(labels);
        metric.set_gauge(gauge);
        self.add(name, MetricType::GAUGE, metric);
    }

    /// A value that was read from elsewhere; its name says what it is.
    fn sample(&mut self, name: (&'static str, &'static str), labels: &[(&str, &str)], value: f64) {
        if name.0.ends_with("_total") {
            self.counter(name, labels, value as u64);
        } else {
            self.gauge(name, labels, value);
        }
    }

    fn histogram(&mut self, name: (&'static str, &'static str), labels: &[(&str, &str)], sum: &HistogramSum) {
        let mut count = 0;
        let mut buckets = Vec::with_capacity(BUCKETS_US.len());
        for (bound, value) in BUCKETS_US.iter().zip(sum.buckets) {
            count += value;
            let mut bucket = Bucket::default();
            bucket.set_upper_bound(*bound as f64 / 1e6);
            bucket.set_cumulative_count(count);
            buckets.push(bucket);
        }
        let mut histogram = Histogram::default();
        histogram.set_sample_count(count + sum.buckets[BUCKETS_US.len()]);
        histogram.set_sample_sum(sum.sum_us as f64 / 1e6);
        histogram.set_bucket(buckets);
        let mut metric = labelled(labels);
        metric.set_histogram(histogram);
        self.add(name, MetricType::HISTOGRAM, metric);
    }

    fn slot(&mut self, labels: &SlotLabels, sums: &SlotSums) {
        let own = [
            ("service", labels.service.as_str()),
            ("slot", labels.slot.as_str()),
            ("version", labels.version.as_str()),
        ];
        let with = |extra: (&'static str, &'static str)| [own[0], own[1], own[2], extra];
        for (class, count) in ["0xx", "1xx", "2xx", "3xx", "4xx", "5xx"].into_iter().zip(sums.by_class) {
            if count > 0 || class == "2xx" {
                self.counter(names::REQUESTS, &with(("code", class)), count);
            }
        }
        for (kind, count) in FailureKind::ALL.iter().zip(sums.failures.0) {
            if count > 0 || *kind == FailureKind::UpstreamConnect {
                self.counter(names::FAILURES, &with(("kind", kind.as_str())), count);
            }
        }
        self.counter(names::REPLAYS, &own, sums.replays);
        self.counter(names::REPLAYS_REFUSED, &own, sums.replays_refused);
        self.counter(names::RETRIES, &own, sums.retries);
        self.counter(names::RETRIES_REFUSED, &own, sums.retries_refused);
        self.histogram(names::DURATION, &own, &sums.duration);
        self.histogram(names::FIRST_BYTE, &own, &sums.first_byte);
    }
}

fn labelled(labels: &[(&str, &str)]) -> Metric {
    let pair = |(name, value): &(&str, &str)| {
        let mut label = LabelPair::default();
        label.set_name((*name).to_owned());
        label.set_value((*value).to_owned());
        label
    };
    Metric::from_label(labels.iter().map(pair).collect())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn the_page_has_counters_histograms_and_gauges() {
        let registry = Registry::new(2).unwrap();
        let iris = registry.slot(&"iris".parse().unwrap(), Slot::Blue, Some("v1"));
        iris.finished(1, 200, Duration::from_millis(3));
        iris.failed(0, FailureKind::UpstreamClosed);
        registry.change(&"iris".parse().unwrap(), "switch", "done");
        registry.add_gauges(Box::new(|| {
            let labels = || vec![("service", "iris".into())];
            vec![
                GaugeSample { metric: names::GENERATION, labels: labels(), value: 7.0 },
                GaugeSample { metric: names::LEASES_CUT, labels: labels(), value: 2.0 },
            ]
        }));
        let page = registry.render();
        for line in [
            r#"verdigris_requests_total{service="iris",slot="blue",version="v1",code="2xx"} 1"#,
            r#"verdigris_request_failures_total{service="iris",slot="blue",version="v1",kind="upstream_closed"} 1"#,
            r#"verdigris_request_duration_seconds_bucket{service="iris",slot="blue",version="v1",le="0.005"} 1"#,
            r#"verdigris_request_duration_seconds_bucket{service="iris",slot="blue",version="v1",le="+Inf"} 1"#,
            r#"verdigris_generation{service="iris"} 7"#,
            "# TYPE verdigris_generation gauge",
            r#"verdigris_leases_cut_total{service="iris"} 2"#,
            "# TYPE verdigris_leases_cut_total counter",
            r#"verdigris_switches_total{action="switch",outcome="done",service="iris"} 1"#,
        ] {
            assert!(page.contains(line), "{line} not in\n{page}");
        }
        registry.retain_services(|_| false);
        assert!(!registry.render().contains("slot=\"blue\""));
    }

    /// Fails when: `forget_former` keeps all, counts what a table or a request holds, or looks at the order of names.
    #[test]
    fn of_former_versions_the_last_eight_are_kept_and_those_in_use() {
        let registry = Registry::new(1).unwrap();
        let slot = |version: &str| registry.slot(&"iris".parse().unwrap(), Slot::Blue, Some(version));
        let other = registry.slot(&"iris".parse().unwrap(), Slot::Green, Some("g"));
        let leased = slot("leased");
        for version in ["z", "y", "x", "1", "2", "3", "4", "5", "6", "z", "7", "8", "9"] {
            slot(version).finished(0, 200, Duration::from_millis(1));
        }
        let named = |version: &str| registry.render().contains(&format!("version=\"{version}\",code"));
        for version in ["9", "8", "7", "z", "6", "5", "4", "3", "2", "leased", "g"] {
            assert!(named(version), "{version} is to be there");
        }
        for version in ["1", "x", "y"] {
            assert!(!named(version), "{version} is to be gone");
        }
        drop((leased, other));
        slot("9");
        assert!(!named("leased"), "its last request has ended");
        assert!(named("g"), "nothing came after it");
        assert!(named("2"));
    }
}

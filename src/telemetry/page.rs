//! Writes metrics as Prometheus text, format 0.0.4. A page of thousands of services has hundreds of thousands of lines,
//! so each is written where it is to stand, and nothing is built for it first.

use std::{
    collections::BTreeMap,
    fmt::{Display, Write as _},
};

use super::{
    FailureKind, SlotLabels, names,
    slots::{BUCKETS_US, HistogramSum, SlotSums},
};

/// A metric's name and what it means.
type Name = (&'static str, &'static str);

/// The lines of each metric, by name, so that the page is in a steady order.
#[derive(Debug)]
pub(super) struct Page {
    families: BTreeMap<&'static str, Family>,
    /// The upper bounds of the buckets, in seconds.
    bounds: Vec<String>,
}

#[derive(Debug)]
struct Family {
    help: &'static str,
    kind: &'static str,
    lines: String,
}

impl Page {
    pub(super) fn new() -> Self {
        let bounds = BUCKETS_US.iter().map(|bound| (*bound as f64 / 1e6).to_string()).collect();
        Self { families: BTreeMap::new(), bounds }
    }

    /// A value that is what its name says: a counter if it ends in `_total`, else a gauge.
    pub(super) fn sample<V: AsRef<str>>(&mut self, name: Name, labels: &[(&'static str, V)], value: impl Display) {
        let kind = if name.0.ends_with("_total") { "counter" } else { "gauge" };
        let lines = self.lines(name, kind);
        lines.push_str(name.0);
        let mut before = '{';
        for (label, value) in labels {
            lines.push(before);
            write_label(lines, label, value.as_ref());
            before = ',';
        }
        lines.push_str(if labels.is_empty() { " " } else { "} " });
        end_line(lines, value);
    }

    /// All counters of a slot.
    pub(super) fn slot(&mut self, labels: &SlotLabels, sums: &SlotSums) {
        let mut own = String::new();
        for (label, value) in [("service", labels.service.as_str()), ("slot", labels.slot.as_str())] {
            write_label(&mut own, label, value);
            own.push(',');
        }
        write_label(&mut own, "version", &labels.version);
        for (class, count) in ["0xx", "1xx", "2xx", "3xx", "4xx", "5xx"].into_iter().zip(sums.by_class) {
            if count > 0 || class == "2xx" {
                self.counter(names::REQUESTS, &own, Some(("code", class)), count);
            }
        }
        for (kind, count) in FailureKind::ALL.iter().zip(sums.failures.0) {
            if count > 0 || *kind == FailureKind::UpstreamConnect {
                self.counter(names::FAILURES, &own, Some(("kind", kind.as_str())), count);
            }
        }
        self.counter(names::REPLAYS, &own, None, sums.replays);
        self.counter(names::REPLAYS_REFUSED, &own, None, sums.replays_refused);
        self.counter(names::RETRIES, &own, None, sums.retries);
        self.counter(names::RETRIES_REFUSED, &own, None, sums.retries_refused);
        self.histogram(names::DURATION, &own, &sums.duration);
        self.histogram(names::FIRST_BYTE, &own, &sums.first_byte);
    }

    /// `own` are labels as they stand on the page.
    fn counter(&mut self, name: Name, own: &str, extra: Option<(&str, &str)>, count: u64) {
        let lines = self.lines(name, "counter");
        begin_line(lines, name.0, "", own);
        if let Some((label, value)) = extra {
            lines.push(',');
            write_label(lines, label, value);
        }
        lines.push_str("} ");
        end_line(lines, count);
    }

    fn histogram(&mut self, name: Name, own: &str, sum: &HistogramSum) {
        let bounds = std::mem::take(&mut self.bounds);
        let lines = self.lines(name, "histogram");
        let mut count = 0;
        for (bound, value) in bounds.iter().map(String::as_str).chain(["+Inf"]).zip(sum.buckets) {
            count += value;
            begin_line(lines, name.0, "_bucket", own);
            for part in [",le=\"", bound, "\"} "] {
                lines.push_str(part);
            }
            end_line(lines, count);
        }
        begin_line(lines, name.0, "_sum", own);
        lines.push_str("} ");
        end_line(lines, sum.sum_us as f64 / 1e6);
        begin_line(lines, name.0, "_count", own);
        lines.push_str("} ");
        end_line(lines, count);
        self.bounds = bounds;
    }

    fn lines(&mut self, (name, help): Name, kind: &'static str) -> &mut String {
        &mut self.families.entry(name).or_insert_with(|| Family { help, kind, lines: String::new() }).lines
    }

    /// The page, behind what was `written` already.
    pub(super) fn finish(self, written: String) -> String {
        let families = self.families.iter();
        let room = families.map(|(name, family)| 2 * name.len() + family.help.len() + family.lines.len() + 32).sum();
        let mut page = written;
        page.reserve(room);
        for (name, Family { help, kind, lines }) in self.families {
            // Writing to a string cannot fail.
            let _ = writeln!(
                page,
                "# HELP {name} {}\n# TYPE {name} {kind}",
                help.replace('\\', "\\\\").replace('\n', "\\n")
            );
            page.push_str(&lines);
        }
        page
    }
}

fn begin_line(lines: &mut String, name: &str, suffix: &str, own: &str) {
    for part in [name, suffix, "{", own] {
        lines.push_str(part);
    }
}

fn end_line(lines: &mut String, value: impl Display) {
    // Writing to a string cannot fail.
    let _ = writeln!(lines, "{value}");
}

fn write_label(lines: &mut String, label: &str, value: &str) {
    lines.push_str(label);
    lines.push_str("=\"");
    if value.contains(['\\', '"', '\n']) {
        lines.push_str(&value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n"));
    } else {
        lines.push_str(value);
    }
    lines.push('"');
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::Slot;

    /// Fails when: a label is not escaped, a bucket is not the sum of those below it, or families stand in another order.
    #[test]
    fn the_page_is_prometheus_text() {
        let mut page = Page::new();
        page.sample(("z_total", "Z \\ z."), &[("l", "a\"b\\c\nd")], 2.0);
        page.sample(("a", "A."), &[] as &[(&str, &str)], 0.5);
        let labels = SlotLabels { service: "iris".parse().unwrap(), slot: Slot::Blue, version: "v\"1".to_owned() };
        let mut sums = SlotSums::default();
        (sums.duration.buckets[0], sums.duration.buckets[16], sums.duration.sum_us) = (3, 1, 1_500_000);
        page.slot(&labels, &sums);
        let text = page.finish("# before\n".to_owned());
        assert!(text.starts_with("# before\n# HELP a A.\n# TYPE a gauge\na 0.5\n"), "{text}");
        assert!(
            text.ends_with("# HELP z_total Z \\\\ z.\n# TYPE z_total counter\nz_total{l=\"a\\\"b\\\\c\\nd\"} 2\n"),
            "{text}"
        );
        let own = r#"service="iris",slot="blue",version="v\"1""#;
        let name = names::DURATION.0;
        for line in [
            format!("# TYPE {name} histogram"),
            format!("{name}_bucket{{{own},le=\"0.0005\"}} 3"),
            format!("{name}_bucket{{{own},le=\"60\"}} 3"),
            format!("{name}_bucket{{{own},le=\"+Inf\"}} 4"),
            format!("{name}_sum{{{own}}} 1.5"),
            format!("{name}_count{{{own}}} 4"),
            format!("{}{{{own},code=\"2xx\"}} 0", names::REQUESTS.0),
        ] {
            assert!(text.lines().any(|one| one == line), "{line} is not in\n{text}");
        }
    }
}

//! `verdigris status`: all services in a table, or one service in full.

use std::time::Duration;

use clap::Args as ClapArgs;

use super::service_path;
use crate::{
    api::{
        EndpointHealth, EndpointStatus, ProxyStatus, RollbackStatus, ServiceList, ServiceStatus, SlotPhase, SlotStatus,
        Tested, UnderWay,
    },
    cli::{
        error::CliError,
        exit::ExitCode,
        page::{Cell, Page, Style},
        render,
        session::Session,
    },
    ids::{ServiceName, Slot},
};

/// Show all services, or one with its slots and endpoints.
#[derive(Clone, Debug, ClapArgs)]
pub struct StatusArgs {
    /// The service's name; without it, all services.
    pub service: Option<ServiceName>,
}

pub(in crate::cli) async fn run(args: &StatusArgs, session: &mut Session<'_>) -> Result<ExitCode, CliError> {
    match &args.service {
        None => {
            let answer = session.client.look("/v1/services", Duration::ZERO).await?;
            session.show(&answer, draw_list)?;
        }
        Some(service) => {
            let answer = session.client.look(&service_path(service), Duration::ZERO).await?;
            session.show(&answer, draw_service)?;
        }
    }
    Ok(ExitCode::Done)
}

fn draw_list(page: &mut Page, list: &ServiceList) {
    let header = ["SERVICE", "GENERATION", "ACTIVE", "BLUE", "GREEN", "IN FLIGHT", "ROLLBACK"];
    page.table(0, &header, &list.services.iter().map(row).collect::<Vec<_>>());
    for service in &list.services {
        if let Some(what) = under_way(service) {
            page.line(format!("{}: under way: {what}", service.name));
        }
    }
    draw_proxy(page, &list.proxy);
}

fn row(service: &ServiceStatus) -> Vec<Cell> {
    vec![
        Cell::new(Style::Strong, service.name.as_str()),
        Cell::plain(service.generation.to_string()),
        Cell::plain(service.active.as_str()),
        slot_cell(&service.slots.blue),
        slot_cell(&service.slots.green),
        Cell::plain(in_flight(service)),
        rollback_cell(&service.rollback),
    ]
}

/// `switch to green, golden: 12 of 60 golden requests`; of a proxy that does not tell more, `switch to green: gate`.
fn under_way(service: &ServiceStatus) -> Option<String> {
    let Some(change) = &service.under_way else { return service.pending.clone() };
    let running = change.gate.running.as_ref().map(|step| format!(", {}", render::running(step)));
    Some(format!("{}{}", change.what, running.unwrap_or_default()))
}

/// `active 2026-11-01, 2/2 healthy`.
fn slot_cell(slot: &SlotStatus) -> Cell {
    let mut text = phase(slot.phase).to_owned();
    if let Some(version) = &slot.version {
        text.push_str(&format!(" {version}"));
    }
    if !slot.endpoints.is_empty() {
        text.push_str(&format!(", {}/{} healthy", healthy(slot), slot.endpoints.len()));
    }
    Cell::new(slot_style(slot), text)
}

/// `3 blue, 1 green`; `0` if nothing runs.
fn in_flight(service: &ServiceStatus) -> String {
    let busy = service.slots.iter().filter(|(_, slot)| slot.drain.in_flight.total > 0);
    let words: Vec<_> = busy.map(|(name, slot)| format!("{} {name}", slot.drain.in_flight.total)).collect();
    if words.is_empty() { "0".to_owned() } else { words.join(", ") }
}

fn rollback_cell(rollback: &RollbackStatus) -> Cell {
    match (rollback.to, rollback.instant) {
        (Some(slot), true) => Cell::new(Style::Good, format!("instant to {slot}")),
        (Some(slot), false) => Cell::new(Style::Warning, format!("not instant to {slot}")),
        (None, _) => Cell::new(Style::Faint, "none"),
    }
}

/// What must not be overlooked about the config file, then the proxy itself.
fn draw_proxy(page: &mut Page, proxy: &ProxyStatus) {
    page.end();
    page.line(format!(
        "verdigris {}, up {}, config {}",
        proxy.version,
        render::short_time(proxy.uptime_ms),
        proxy.config
    ));
    if !proxy.reload.ok {
        page.paint(
            Style::Bad,
            format!("The config file as read at {} is refused; an older one serves on:", proxy.reload.at),
        );
        page.end();
        proxy.reload.problems.iter().for_each(|problem| page.line(format!("  {problem}")));
    }
    if !proxy.certificate_problems.is_empty() {
        page.paint(Style::Bad, "Certificate files on disk cannot be used; older ones serve on:");
        page.end();
        proxy.certificate_problems.iter().for_each(|problem| page.line(format!("  {problem}")));
    }
    if !proxy.reload.needs_restart.is_empty() {
        page.paint(Style::Warning, "Takes effect only after a restart:");
        page.end();
        proxy.reload.needs_restart.iter().for_each(|what| page.line(format!("  {what}")));
    }
}

fn draw_service(page: &mut Page, service: &ServiceStatus) {
    page.paint(Style::Strong, service.name.as_str());
    page.line(format!(": {} is active, generation {}", service.active, service.generation));
    page.line(format!("  match:    {}", service.matches));
    match (&service.under_way, &service.pending) {
        (Some(change), _) => draw_under_way(page, &service.name, change),
        (None, Some(pending)) => page.line(format!("  pending:  {pending}")),
        (None, None) => {}
    }
    draw_rollback(page, &service.rollback);
    for (name, slot) in service.slots.iter() {
        page.end();
        draw_slot(page, name, slot);
    }
}

/// What is being prepared, how far its gate is, and how to stop it while that is possible.
fn draw_under_way(page: &mut Page, name: &ServiceName, change: &UnderWay) {
    page.add("  pending:  ");
    page.paint(Style::Warning, &change.what);
    page.line(format!(", by {}, since {}", change.actor, change.since));
    for step in &change.gate.steps {
        page.add("          ");
        render::gate_step(page, step);
    }
    if let Some(step) = &change.gate.running {
        page.line(format!("            {}", render::running(step)));
    }
    if change.cancellable {
        page.line(format!("            hint: to stop it: verdigris cancel {name}"));
    }
}

fn draw_rollback(page: &mut Page, rollback: &RollbackStatus) {
    page.add("  rollback: ");
    match (rollback.to, rollback.instant) {
        (Some(slot), true) => page.line(format!("to {slot}, instant: {}", rollback.why)),
        (Some(slot), false) => page.line(format!("to {slot}, not instant: {}", rollback.why)),
        (None, _) => page.line(format!("none: {}", rollback.why)),
    }
}

fn draw_slot(page: &mut Page, name: Slot, slot: &SlotStatus) {
    page.paint(Style::Strong, name.as_str());
    page.add(": ");
    page.paint(slot_style(slot), phase(slot.phase));
    let version = slot.version.as_ref().map(|version| format!(", version {version}"));
    page.line(version.unwrap_or_default());
    page.line(format!("  {}", render::in_flight(&slot.drain.in_flight)));
    if slot.phase != SlotPhase::Active {
        page.add("  ");
        render::drain_verdict(page, &slot.drain);
    }
    slot.tested.iter().for_each(|tested| draw_tested(page, tested));
    if !slot.endpoints.is_empty() {
        let rows: Vec<_> = slot.endpoints.iter().map(endpoint_row).collect();
        page.table(2, &["ENDPOINT", "HEALTH", "PROBED", "DETAIL"], &rows);
    }
}

/// `  gate failed at 2026-…: golden: 1 of 3 golden requests passed`.
fn draw_tested(page: &mut Page, tested: &Tested) {
    let (style, word) = if tested.gate.passed { (Style::Good, "passed") } else { (Style::Bad, "failed") };
    page.add("  gate ");
    page.paint(style, word);
    page.add(format!(" at {}", tested.at));
    if let Some((step, evidence)) = render::first_failure(&tested.gate) {
        page.add(format!(": {step}: {evidence}"));
    }
    page.end();
}

fn endpoint_row(endpoint: &EndpointStatus) -> Vec<Cell> {
    let health = match endpoint.health {
        EndpointHealth::Unknown => Cell::new(Style::Faint, "unknown"),
        EndpointHealth::Healthy => Cell::new(Style::Good, "healthy"),
        EndpointHealth::Unhealthy => Cell::new(Style::Bad, "unhealthy"),
    };
    let probed = endpoint.probed_ms_ago.map(|ms| format!("{} ago", render::short_time(ms)));
    vec![
        Cell::plain(render::endpoint(endpoint.http.as_deref(), endpoint.grpc.as_deref())),
        endpoint
            .ejected_for_ms
            .map_or(health, |left| Cell::new(Style::Bad, format!("ejected for {}", render::short_time(left)))),
        Cell::plain(probed.as_deref().unwrap_or("never")),
        Cell::plain(&endpoint.detail),
    ]
}

fn phase(phase: SlotPhase) -> &'static str {
    match phase {
        SlotPhase::Active => "active",
        SlotPhase::Standby => "standby",
        SlotPhase::Draining => "draining",
        SlotPhase::Drained => "drained",
        SlotPhase::Empty => "empty",
    }
}

/// Red only where clients feel it: an active slot with nothing healthy.
fn slot_style(slot: &SlotStatus) -> Style {
    match slot.phase {
        SlotPhase::Active if healthy(slot) == 0 => Style::Bad,
        SlotPhase::Active if healthy(slot) < slot.endpoints.len() => Style::Warning,
        SlotPhase::Active => Style::Good,
        SlotPhase::Draining => Style::Warning,
        SlotPhase::Standby | SlotPhase::Drained => Style::Plain,
        SlotPhase::Empty => Style::Faint,
    }
}

fn healthy(slot: &SlotStatus) -> usize {
    slot.endpoints.iter().filter(|endpoint| endpoint.health == EndpointHealth::Healthy).count()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::commands::samples;

    fn text(draw: impl FnOnce(&mut Page)) -> String {
        let mut page = Page::new(false);
        draw(&mut page);
        page.into_text()
    }

    #[test]
    fn all_services_in_a_table() {
        let mut list = samples::services();
        list.proxy.reload.ok = true;
        list.proxy.reload.problems.clear();
        assert_eq!(
            text(|page| draw_list(page, &list)),
            "SERVICE  GENERATION  ACTIVE  BLUE                              GREEN                           \
             IN FLIGHT        ROLLBACK\n\
             iris     8           green   draining 2026-11-01, 1/1 healthy  active 2026-12-01, 1/2 healthy  \
             2 blue, 5 green  instant to blue\n\
             llama    1           blue    active, 0/1 healthy               empty                           \
             0                none\n\
             iris: under way: switch to blue: gate\n\
             \n\
             verdigris 0.1.0, up 2h 10m, config config.toml\n"
        );
    }

    #[test]
    fn a_refused_file_is_not_overlooked() {
        assert_eq!(
            text(|page| draw_proxy(page, &samples::services().proxy)),
            "\nverdigris 0.1.0, up 2h 10m, config config.toml\n\
             The config file as read at 2026-11-01T12:00:00.000Z is refused; an older one serves on:\n\
             \x20 config.toml:3:1: proxy.listen: not an address\n"
        );
        let mut proxy = samples::services().proxy;
        proxy.reload.ok = true;
        proxy.certificate_problems.push("proxy.tls.key: another's".into());
        assert_eq!(
            text(|page| draw_proxy(page, &proxy)),
            "\nverdigris 0.1.0, up 2h 10m, config config.toml\n\
             Certificate files on disk cannot be used; older ones serve on:\n\
             \x20 proxy.tls.key: another's\n"
        );
    }

    #[test]
    fn an_ejected_endpoint_is_shown_as_such_whatever_its_probes_say() {
        let mut endpoint = samples::services().services[0].slots.blue.endpoints[0].clone();
        endpoint.ejected_for_ms = Some(8_000);
        let drawn = text(|page| page.table(0, &["ENDPOINT", "HEALTH", "PROBED", "DETAIL"], &[endpoint_row(&endpoint)]));
        assert!(drawn.contains("http://127.0.0.1:9001  ejected for 8s  1s ago  200"), "{drawn}");
    }

    /// Fails when: what is under way, how far it is, or a slot's last gate is not told.
    #[test]
    fn what_is_under_way_and_what_was_tested() {
        let mut list = samples::services();
        let service = &mut list.services[0];
        service.under_way = Some(samples::under_way());
        service.slots.blue.tested = Some(Tested { at: "2026-11-01T11:59:00.000Z".into(), gate: samples::gate(false) });
        service.slots.green.tested = Some(Tested { at: "2026-11-01T11:58:00.000Z".into(), gate: samples::gate(true) });
        let one = text(|page| draw_service(page, &list.services[0]));
        let expected = "\x20 pending:  switch to blue, by cli alice, since 2026-11-01T12:00:00.000Z\n\
            \x20           readiness passed (5ms)\n\
            \x20           golden: 12 of 60 golden requests\n\
            \x20           hint: to stop it: verdigris cancel iris\n\
            \x20 rollback:";
        assert!(one.contains(expected), "{one}");
        let failed = "\n  gate failed at 2026-11-01T11:59:00.000Z: readiness: http://127.0.0.1:9002: connection refused (1 ms)\n";
        assert!(one.contains(failed) && one.contains("\n  gate passed at 2026-11-01T11:58:00.000Z\n"), "{one}");
        let all = text(|page| draw_list(page, &list));
        assert!(all.contains("\niris: under way: switch to blue, golden: 12 of 60 golden requests\n"), "{all}");
    }

    #[test]
    fn one_service_in_full() {
        assert_eq!(
            text(|page| draw_service(page, &samples::services().services[0])),
            "iris: green is active, generation 8\n\
             \x20 match:    path /v2/models/iris\n\
             \x20 pending:  switch to blue: gate\n\
             \x20 rollback: to blue, instant: 1 of 1 endpoints of blue healthy\n\
             \n\
             blue: draining, version 2026-11-01\n\
             \x20 2 in flight (2 requests)\n\
             \x20 not safe to delete: 2 requests still running, the oldest for 1s\n\
             \x20 ENDPOINT               HEALTH   PROBED  DETAIL\n\
             \x20 http://127.0.0.1:9001  healthy  1s ago  200\n\
             \n\
             green: active, version 2026-12-01\n\
             \x20 5 in flight (4 requests, 1 stream)\n\
             \x20 ENDPOINT                                           HEALTH     PROBED  DETAIL\n\
             \x20 http://127.0.0.1:9002 (gRPC h2c://127.0.0.1:9003)  healthy    1s ago  200\n\
             \x20 http://127.0.0.1:9004                              unhealthy  never   connection refused\n"
        );
    }
}

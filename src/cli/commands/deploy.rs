//! `verdigris deploy`: put new endpoints into a slot, wait until they are ready, have the gate run, and switch if that was
//! asked for.

use std::time::Duration;

use clap::Args as ClapArgs;
use http::Method;
use tokio::time::{Instant, sleep_until};

use super::{
    change::{self, WaitArgs},
    ready::{Awaited, without_time},
    service_path, slot_path, test,
};
use crate::{
    api::{ChangeReply, EndpointSpec, GatePurpose, GateReport, SlotUpdate, SwitchRequest, TestReply},
    cli::{
        args,
        client::Answer,
        error::CliError,
        exit::ExitCode,
        follow::{Following, follow},
        progress::Watched,
        render,
        session::Session,
    },
    ids::{Generation, ServiceName, Slot},
};

/// Put a new version's endpoints into a slot, wait until they are ready, and run its gate.
///
/// With --switch the gate is the switch's own. If the endpoints are not ready in time, or the gate fails, the exit code
/// is 2: the slot has its new endpoints, but this command moved no traffic.
#[derive(Clone, Debug, ClapArgs)]
pub struct DeployArgs {
    /// The service's name.
    pub service: ServiceName,
    /// The slot, blue or green.
    pub slot: Slot,
    /// An endpoint of the new version; once for each replica.
    #[arg(long = "endpoint", value_name = "URL", required = true, num_args = 1..)]
    pub endpoints: Vec<String>,
    /// The gRPC address of the endpoint at the same position, if it has a port of its own.
    #[arg(long = "grpc", value_name = "URL", num_args = 1..)]
    pub grpc: Vec<String>,
    /// The model version that runs there.
    #[arg(long = "version", value_name = "VERSION")]
    pub model_version: Option<String>,
    /// Why, for the journal.
    #[arg(long, value_name = "TEXT")]
    pub reason: Option<String>,
    /// Cancel another change of this service whose gate still runs, and take its place.
    #[arg(long)]
    pub supersede: bool,
    /// How long the endpoints may take to be ready.
    #[arg(long, value_name = "TIME", value_parser = args::duration, default_value = "2m")]
    pub wait_ready: Duration,
    /// Then switch to it, unless someone else has changed the service meanwhile.
    #[arg(long)]
    pub switch: bool,
    #[command(flatten)]
    pub waiting: WaitArgs,
}

pub(in crate::cli) async fn run(args: &DeployArgs, session: &mut Session<'_>) -> Result<ExitCode, CliError> {
    if args.waiting.wait_drained && !args.switch {
        return Err(CliError::Usage("--wait-drained waits for a switch; add --switch, or leave it out".to_owned()));
    }
    let endpoints = pair(&args.endpoints, &args.grpc)?;
    let replaced = put(args, endpoints, session).await?;
    let awaited = Awaited {
        service: args.service.clone(),
        slot: args.slot,
        deadline: Instant::now() + args.wait_ready,
        fresh_since: None,
    };
    if args.switch {
        release(args, replaced.value.generation, awaited, session).await
    } else {
        stand_by(args, awaited, session).await
    }
}

/// Leaves the slot tested: waits until it is ready and has its gate run, again if it was not ready after all.
async fn stand_by(args: &DeployArgs, mut awaited: Awaited, session: &mut Session<'_>) -> Result<ExitCode, CliError> {
    loop {
        wait(args, &awaited, session).await?;
        let in_time = Instant::now() < awaited.deadline;
        match test::ask(&args.service, args.slot, session).await {
            Ok(tested) if tested.value.gate.passed => return test::conclude(&tested, false, session),
            Ok(tested) if is_unready(&tested.value.gate) && in_time => not_yet(args, &tested.value.gate, session),
            Ok(tested) => return give_up(args, &tested, session),
            Err(error) if error.is_busy() && in_time => session.progress(&format!("{}: waiting: {error}", args.slot)),
            Err(error) => return Err(error),
        }
        pause(&mut awaited).await;
    }
}

/// The whole release: waits until the slot is ready and switches. The switch's own gate is the gate, so that it runs once.
async fn release(
    args: &DeployArgs,
    generation: Generation,
    mut awaited: Awaited,
    session: &mut Session<'_>,
) -> Result<ExitCode, CliError> {
    loop {
        if !wait(args, &awaited, session).await? {
            // Has the evidence collected; no switch is asked for that the journal would have to call refused.
            let tested = test::ask(&args.service, args.slot, session).await?;
            if !tested.value.gate.passed {
                return give_up(args, &tested, session);
            }
        }
        let in_time = Instant::now() < awaited.deadline;
        match switch(args, generation, session).await {
            Ok(switched) => return change::conclude(&switched, &args.waiting, false, session),
            Err(CliError::Problem { problem, .. }) if in_time && problem.gate.as_ref().is_some_and(is_unready) => {
                problem.gate.iter().for_each(|gate| not_yet(args, gate, session));
            }
            Err(error) => {
                if error.exit_code() == ExitCode::Refused {
                    session.progress(&format!("{}: {NO_TRAFFIC}", args.slot));
                }
                return Err(error);
            }
        }
        pause(&mut awaited).await;
    }
}

async fn wait(args: &DeployArgs, awaited: &Awaited, session: &mut Session<'_>) -> Result<bool, CliError> {
    session.goes_on = Some(format!("{} {NO_TRAFFIC}", args.slot));
    awaited.ready(session).await
}

/// The probes that said "ready" were wrong or late: only later ones count from here on.
async fn pause(awaited: &mut Awaited) {
    let now = Instant::now();
    awaited.fresh_since = Some(now);
    sleep_until((now + ASK_AGAIN_AFTER).min(awaited.deadline)).await;
}

/// Endpoints with their gRPC addresses, by position.
fn pair(http: &[String], grpc: &[String]) -> Result<Vec<EndpointSpec>, CliError> {
    if grpc.is_empty() {
        return Ok(http.iter().cloned().map(EndpointSpec::Url).collect());
    }
    if http.len() != grpc.len() {
        return Err(CliError::Usage(format!(
            "{} but {}: give each --endpoint its --grpc, in the same order, or none at all",
            render::counted(http.len() as u64, "--endpoint address"),
            render::counted(grpc.len() as u64, "--grpc address")
        )));
    }
    let both =
        |(http, grpc): (&String, &String)| EndpointSpec::Pair { http: Some(http.clone()), grpc: Some(grpc.clone()) };
    Ok(http.iter().zip(grpc).map(both).collect())
}

async fn put(
    args: &DeployArgs,
    endpoints: Vec<EndpointSpec>,
    session: &mut Session<'_>,
) -> Result<Answer<ChangeReply>, CliError> {
    let names: Vec<_> = endpoints.iter().map(render::endpoint_spec).collect();
    let version = args.model_version.clone();
    let (reason, supersede) = (args.reason.clone(), args.supersede);
    let update = SlotUpdate { endpoints, version, reason, supersede, ..SlotUpdate::default() };
    let path = slot_path(&args.service, args.slot);
    // Of an active slot the gate runs first; then there is something to see.
    let client = session.client();
    let work = client.change(Method::PUT, &path, Some(&update), Duration::ZERO);
    session.goes_on = Some(change::change_goes_on(&args.service));
    let following = Following { gate: watched(args, GatePurpose::Slot), drain: None };
    let answer: Answer<ChangeReply> = follow(session, following, work).await?;
    session.progress(&format!("{} ({})", answer.value.message, names.join(", ")));
    Ok(answer)
}

/// Only readiness comes by itself: a model that is ready and wrong will not be right in a minute.
fn is_unready(gate: &GateReport) -> bool {
    render::first_failure(gate).is_some_and(|(step, _)| step == "readiness")
}

fn not_yet(args: &DeployArgs, gate: &GateReport, session: &mut Session<'_>) {
    let seen = render::first_failure(gate).map_or("the gate failed", |(_, evidence)| without_time(evidence));
    session.progress(&format!("{}: not ready yet: {seen}", args.slot));
}

fn give_up(args: &DeployArgs, tested: &Answer<TestReply>, session: &mut Session<'_>) -> Result<ExitCode, CliError> {
    let code = test::conclude(tested, false, session)?;
    let within = render::duration(args.wait_ready);
    let why = match is_unready(&tested.value.gate) {
        true => format!("not ready within {within}"),
        false => "ready, but its gate failed".to_owned(),
    };
    session.progress(&format!("{}: {why}; it {NO_TRAFFIC}", args.slot));
    Ok(code)
}

/// Switches only if nobody has changed the service since its slot was filled.
async fn switch(
    args: &DeployArgs,
    generation: Generation,
    session: &mut Session<'_>,
) -> Result<Answer<ChangeReply>, CliError> {
    let request = SwitchRequest {
        to: Some(args.slot),
        if_generation: Some(generation.0),
        reason: args.reason.clone(),
        supersede: args.supersede,
        wait: args.waiting.wait(),
        timeout: args.waiting.timeout_text(),
        ..SwitchRequest::default()
    };
    let path = format!("{}/switch", service_path(&args.service));
    session.progress(&format!("{}: switching, once it has passed its gate", args.slot));
    args.waiting.announce(session);
    session.goes_on = Some(change::change_goes_on(&args.service));
    let client = session.client();
    let work = client.change(Method::POST, &path, Some(&request), args.waiting.time());
    let following = Following { gate: watched(args, GatePurpose::Switch), drain: args.waiting.drain_time() };
    follow(session, following, work).await
}

fn watched(args: &DeployArgs, purpose: GatePurpose) -> Watched {
    Watched { service: args.service.clone(), slot: Some(args.slot), purpose }
}

const NO_TRAFFIC: &str = "keeps its new endpoints, but no traffic was moved to it";
const ASK_AGAIN_AFTER: Duration = Duration::from_millis(500);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::commands::samples;

    fn texts(list: &[&str]) -> Vec<String> {
        list.iter().map(|&text| text.to_owned()).collect()
    }

    #[test]
    fn grpc_addresses_are_paired_by_position() {
        let paired = pair(&texts(&["http://a:1", "http://b:1"]), &texts(&["h2c://a:2", "h2c://b:2"]));
        let spec = |http: &str, grpc: &str| EndpointSpec::Pair { http: Some(http.into()), grpc: Some(grpc.into()) };
        assert_eq!(paired.ok(), Some(vec![spec("http://a:1", "h2c://a:2"), spec("http://b:1", "h2c://b:2")]));
        let alone = pair(&texts(&["http://a:1"]), &[]);
        assert_eq!(alone.ok(), Some(vec![EndpointSpec::Url("http://a:1".into())]));
        let odd = pair(&texts(&["http://a:1", "http://b:1"]), &texts(&["h2c://a:2"]));
        assert_eq!(odd.map_err(|error| error.exit_code()), Err(ExitCode::Usage));
    }

    #[test]
    fn the_same_failure_reads_the_same() {
        let seen = samples::gate(false).steps[0].evidence[0].clone();
        assert_eq!(without_time(&seen), "http://127.0.0.1:9002: connection refused");
        assert_eq!(without_time("HTTP (TLS)"), "HTTP (TLS)");
    }
}

//! `verdigris deploy`: put new endpoints into a slot, wait until they pass its gate, and switch if that was asked for.

use std::time::Duration;

use clap::Args as ClapArgs;
use http::Method;
use tokio::time::{Instant, sleep_until};

use super::{
    change::{self, WaitArgs},
    service_path, slot_path, test,
};
use crate::{
    api::{ChangeReply, EndpointSpec, GateReport, SlotUpdate, StepResult, SwitchRequest, TestReply},
    cli::{args, client::Answer, error::CliError, exit::ExitCode, render, session::Session},
    ids::{Generation, ServiceName, Slot},
};

/// Put a new model version's endpoints into a slot, and wait until they are ready.
///
/// If they are not ready in time, the exit code is 2: the slot has its new endpoints, but this command moved no traffic.
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
    /// How long the slot may take to pass its gate.
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
    let tested = until_ready(args, session).await?;
    if !tested.value.gate.passed {
        return give_up(args, &tested, session);
    }
    if !args.switch {
        return test::conclude(&tested, session);
    }
    session.progress(&format!("{}: ready; switching", args.slot));
    args.waiting.announce(session);
    let switched = switch(args, replaced.value.generation, session).await?;
    change::conclude(&switched, &args.waiting, session)
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
    let update = SlotUpdate { endpoints, version, reason: args.reason.clone(), ..SlotUpdate::default() };
    let path = slot_path(&args.service, args.slot);
    let answer: Answer<ChangeReply> = session.client.change(Method::PUT, &path, Some(&update), Duration::ZERO).await?;
    session.progress(&format!("{} ({})", answer.value.message, names.join(", ")));
    Ok(answer)
}

/// Has the gate run again and again until the slot is ready or the time for it is over; the last report.
async fn until_ready(args: &DeployArgs, session: &mut Session<'_>) -> Result<Answer<TestReply>, CliError> {
    let deadline = Instant::now() + args.wait_ready;
    let mut told = String::new();
    loop {
        let asked = Instant::now();
        let seen = match test::ask(&session.client, &args.service, args.slot).await {
            Ok(answer) if is_final(&answer.value.gate) || Instant::now() >= deadline => return Ok(answer),
            Ok(answer) => first_failure(&answer.value.gate),
            Err(error) if error.is_busy() && Instant::now() < deadline => error.to_string(),
            Err(error) => return Err(error),
        };
        if seen != told {
            session.progress(&format!("{}: not ready yet: {seen}", args.slot));
            told = seen;
        }
        sleep_until((asked + ASK_AGAIN_AFTER).min(deadline)).await;
    }
}

/// Only readiness comes by itself: a model that is ready and wrong will not be right in a minute.
fn is_final(gate: &GateReport) -> bool {
    let failed = gate.steps.iter().find(|step| step.result == StepResult::Fail);
    gate.passed || failed.is_some_and(|step| step.name != "readiness")
}

/// The first evidence of a failed step, without the time it took, which is another each time.
fn first_failure(gate: &GateReport) -> String {
    let Some(step) = gate.steps.iter().find(|step| step.result == StepResult::Fail) else {
        return "the gate failed".to_owned();
    };
    let evidence = step.evidence.first().unwrap_or(&step.name);
    evidence.rsplit_once(" (").map_or(evidence.as_str(), |(what, _time)| what).to_owned()
}

fn give_up(args: &DeployArgs, tested: &Answer<TestReply>, session: &mut Session<'_>) -> Result<ExitCode, CliError> {
    let code = test::conclude(tested, session)?;
    let within = render::duration(args.wait_ready);
    let why = match is_final(&tested.value.gate) {
        true => "ready, but its gate failed".to_owned(),
        false => format!("not ready within {within}"),
    };
    session.progress(&format!("{}: {why}; it keeps its new endpoints, but no traffic was moved to it", args.slot));
    Ok(code)
}

/// Switches only if nobody has changed the service since its slot was filled.
async fn switch(
    args: &DeployArgs,
    generation: Generation,
    session: &Session<'_>,
) -> Result<Answer<ChangeReply>, CliError> {
    let request = SwitchRequest {
        to: Some(args.slot),
        if_generation: Some(generation.0),
        force: false,
        dry_run: false,
        supersede: false,
        reason: args.reason.clone(),
        wait: args.waiting.wait(),
        timeout: args.waiting.timeout_text(),
    };
    let path = format!("{}/switch", service_path(&args.service));
    session.client.change(Method::POST, &path, Some(&request), args.waiting.time()).await
}

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
        assert_eq!(first_failure(&samples::gate(false)), "http://127.0.0.1:9002: connection refused");
        assert_eq!(first_failure(&GateReport::default()), "the gate failed");
    }
}

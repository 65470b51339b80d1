//! `verdigris reload`.

use std::time::Duration;

use clap::Args as ClapArgs;
use http::Method;

use crate::{
    api::ReloadReply,
    cli::{
        error::CliError,
        exit::ExitCode,
        page::{Page, Style},
        session::Session,
    },
};

/// Read the config file again now.
#[derive(Clone, Debug, ClapArgs)]
pub struct ReloadArgs {}

pub(in crate::cli) async fn run(_args: &ReloadArgs, session: &mut Session<'_>) -> Result<ExitCode, CliError> {
    let answer = session.client.change(Method::POST, "/v1/config/reload", None::<&()>, Duration::ZERO).await?;
    session.show(&answer, draw)?;
    Ok(ExitCode::Done)
}

fn draw(page: &mut Page, reply: &ReloadReply) {
    if reply.changes.is_empty() {
        page.line("The config file was read; nothing changed.");
    } else {
        page.line("The config file was read:");
        reply.changes.iter().for_each(|change| page.line(format!("  {change}")));
    }
    if !reply.needs_restart.is_empty() {
        page.paint(Style::Warning, "Takes effect only after a restart:");
        page.end();
        reply.needs_restart.iter().for_each(|what| page.line(format!("  {what}")));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(reply: &ReloadReply) -> String {
        let mut page = Page::new(false);
        draw(&mut page, reply);
        page.into_text()
    }

    #[test]
    fn changes_and_what_needs_a_restart() {
        assert_eq!(text(&ReloadReply::default()), "The config file was read; nothing changed.\n");
        let reply =
            ReloadReply { changes: vec!["iris: replay".into()], needs_restart: vec!["proxy.workers: 1 to 2".into()] };
        assert_eq!(
            text(&reply),
            "The config file was read:\n  iris: replay\nTakes effect only after a restart:\n  proxy.workers: 1 to 2\n"
        );
    }
}

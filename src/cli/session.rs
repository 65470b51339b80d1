//! One client command under way: whom it asks and where it writes.

use std::{
    io::{self, Write},
    sync::Arc,
};

use super::{
    client::{Answer, Client},
    error::CliError,
    page::Page,
    terminal::Terminal,
};

pub(super) struct Session<'a> {
    pub(super) client: Arc<Client>,
    pub(super) json: bool,
    pub(super) terminal: Terminal,
    /// What goes on without this command if it is interrupted now, and what to do about it.
    pub(super) goes_on: Option<String>,
    live: String,
    out: &'a mut dyn Write,
    err: &'a mut dyn Write,
}

impl<'a> Session<'a> {
    pub(super) fn new(
        client: Client,
        json: bool,
        terminal: Terminal,
        out: &'a mut dyn Write,
        err: &'a mut dyn Write,
    ) -> Self {
        Self { client: Arc::new(client), json, terminal, goes_on: None, live: String::new(), out, err }
    }

    /// Writes an answer: the document as it came, or what `render` makes of it.
    pub(super) fn show<T>(&mut self, answer: &Answer<T>, render: impl FnOnce(&mut Page, &T)) -> Result<(), CliError> {
        self.live("");
        if self.json {
            return Ok(write(self.out, &document(&answer.json))?);
        }
        let mut page = Page::new(self.terminal.colour);
        render(&mut page, &answer.value);
        Ok(write(self.out, &page.into_text())?)
    }

    /// Tells how far it is, for a person who waits, in a line that stays. A reader that has gone does not stop the work.
    pub(super) fn progress(&mut self, text: &str) {
        self.live("");
        let mut page = Page::new(false);
        page.line(text);
        let _ = write(self.err, &page.into_text());
    }

    /// The same in the one line that is written over and over, cut to the width; nothing takes it away. Only on a
    /// terminal.
    pub(super) fn live(&mut self, text: &str) {
        let Some(columns) = self.terminal.live else { return };
        let mut page = Page::new(false);
        page.add(text);
        // The last column stays free: some terminals go to the next line there.
        let line: String = page.into_text().chars().take(columns().saturating_sub(1)).collect();
        if line != self.live {
            let _ = write(self.err, &format!("\r{line}\u{1b}[K"));
            self.live = line;
        }
    }

    /// A client for work that goes on beside the writing.
    pub(super) fn client(&self) -> Arc<Client> {
        self.client.clone()
    }
}

/// The document with the line end that a terminal wants.
pub(super) fn document(json: &str) -> String {
    format!("{}\n", json.trim_end())
}

/// Writes and flushes. A reader that has gone (`| head`) has read what it wanted: no failure.
pub(super) fn write(place: &mut dyn Write, text: &str) -> io::Result<()> {
    match place.write_all(text.as_bytes()).and_then(|()| place.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        other => other,
    }
}

//! One client command under way: whom it asks and where it writes.

use std::io::{self, Write};

use super::{
    client::{Answer, Client},
    error::CliError,
    page::Page,
};

pub(super) struct Session<'a> {
    pub(super) client: Client,
    pub(super) json: bool,
    pub(super) colour: bool,
    pub(super) out: &'a mut dyn Write,
    pub(super) err: &'a mut dyn Write,
}

impl Session<'_> {
    /// Writes an answer: the document as it came, or what `render` makes of it.
    pub(super) fn show<T>(&mut self, answer: &Answer<T>, render: impl FnOnce(&mut Page, &T)) -> Result<(), CliError> {
        if self.json {
            return Ok(write(self.out, &document(&answer.json))?);
        }
        let mut page = Page::new(self.colour);
        render(&mut page, &answer.value);
        Ok(write(self.out, &page.into_text())?)
    }

    /// Tells how far it is, for a person who waits. A reader that has gone does not stop the work.
    pub(super) fn progress(&mut self, text: &str) {
        let mut page = Page::new(false);
        page.line(text);
        let _ = write(self.err, &page.into_text());
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

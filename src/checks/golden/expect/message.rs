//! The raw message of a gRPC answer, byte for byte.

use base64::{Engine as _, engine::general_purpose::STANDARD};

use super::{Failure, Node, Reader, View};

#[derive(Clone, Debug)]
pub(super) struct RawMessage(Vec<u8>);

impl RawMessage {
    pub(super) fn read<'t>(reader: &mut Reader<'t>, node: &Node<'t>) -> Option<Self> {
        let text = reader.string(node)?;
        reader
            .accept(node, STANDARD.decode(&text), "write the message in base64, without its five bytes of framing")
            .map(Self)
    }

    pub(super) fn judge(&self, view: &View<'_>, failures: &mut Vec<Failure>) {
        let found = match view.raw_message() {
            Ok(message) if message == self.0 => return,
            Ok(message) => {
                let differs = message.iter().zip(&self.0).position(|(left, right)| left != right);
                let at = differs.unwrap_or_else(|| message.len().min(self.0.len()));
                format!("{} bytes that differ from byte {at} on", message.len())
            }
            Err(reason) => reason,
        };
        failures.push(Failure::new("message_base64", format!("a message of {} bytes", self.0.len()), found));
    }
}

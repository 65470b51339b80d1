//! gRPC's length-prefixed messages over h2 streams.

use bytes::{Buf, BufMut, Bytes, BytesMut};
use h2::{RecvStream, SendStream};
use http::HeaderMap;

/// A message with its prefix: not compressed, length.
pub(crate) fn frame(message: &[u8]) -> Bytes {
    let mut framed = BytesMut::with_capacity(message.len() + 5);
    framed.put_u8(0);
    framed.put_u32(u32::try_from(message.len()).unwrap());
    framed.put_slice(message);
    framed.freeze()
}

/// Sends data no faster than the peer takes it.
pub(crate) async fn pass(send: &mut SendStream<Bytes>, mut data: Bytes) -> Result<(), h2::Error> {
    while data.has_remaining() {
        send.reserve_capacity(data.len());
        let granted = std::future::poll_fn(|context| send.poll_capacity(context)).await;
        let granted = granted.unwrap_or(Ok(0))?;
        if granted == 0 {
            return Err(h2::Reason::CANCEL.into());
        }
        send.send_data(data.split_to(granted.min(data.len())), false)?;
    }
    Ok(())
}

/// The messages of one direction of a call.
pub(crate) struct Messages {
    body: RecvStream,
    buffer: BytesMut,
}

impl Messages {
    pub(crate) fn new(body: RecvStream) -> Self {
        Self { body, buffer: BytesMut::new() }
    }

    /// The next message; `None` at the clean end. A reset, or an end inside a message, is an error.
    pub(crate) async fn next(&mut self) -> Result<Option<Bytes>, h2::Error> {
        loop {
            if self.buffer.len() >= 5 {
                let length = u32::from_be_bytes(self.buffer[1..5].try_into().unwrap()) as usize;
                if self.buffer.len() >= 5 + length {
                    self.buffer.advance(5);
                    return Ok(Some(self.buffer.split_to(length).freeze()));
                }
            }
            match self.body.data().await {
                Some(Ok(data)) => {
                    self.body.flow_control().release_capacity(data.len())?;
                    self.buffer.extend_from_slice(&data);
                }
                Some(Err(error)) => return Err(error),
                None if self.buffer.is_empty() => return Ok(None),
                None => return Err(h2::Reason::PROTOCOL_ERROR.into()),
            }
        }
    }

    pub(crate) async fn trailers(&mut self) -> Result<Option<HeaderMap>, h2::Error> {
        self.body.trailers().await
    }
}

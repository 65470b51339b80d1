//! An HTTP/2 client for gRPC calls, and for plain requests over h2c, on one connection that lives as long as the test.

use std::{
    net::SocketAddr,
    sync::{Arc, OnceLock},
};

use bytes::Bytes;
use h2::{
    SendStream,
    client::{ResponseFuture, SendRequest},
};
use http::{HeaderMap, Request, Response};
use tokio::net::TcpStream;

use super::{
    grpc_wire::{Messages, frame, pass},
    wait::within,
};

/// A client connection.
#[derive(Clone)]
pub(crate) struct Channel {
    send: SendRequest<Bytes>,
    addr: SocketAddr,
    /// How the connection ended, once it has.
    ended: Arc<OnceLock<String>>,
}

/// A call that goes both ways.
pub(crate) struct Call {
    pub(crate) send: SendStream<Bytes>,
    response: Option<ResponseFuture>,
    pub(crate) head: Option<Response<()>>,
    incoming: Option<Messages>,
}

/// A finished call.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) http_status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) messages: Vec<String>,
    pub(crate) trailers: Option<HeaderMap>,
}

impl Reply {
    /// The status, from the trailers or from trailers-only headers.
    pub(crate) fn grpc_status(&self) -> Option<String> {
        let trailers = self.trailers.as_ref().and_then(|trailers| text(trailers, "grpc-status"));
        trailers.or_else(|| text(&self.headers, "grpc-status"))
    }

    pub(crate) fn header(&self, name: &str) -> Option<String> {
        text(&self.headers, name)
    }
}

pub(crate) fn text(map: &HeaderMap, name: &str) -> Option<String> {
    map.get(name).map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned())
}

impl Channel {
    pub(crate) async fn open(addr: SocketAddr) -> Self {
        let stream = within("a connection", TcpStream::connect(addr)).await.unwrap();
        stream.set_nodelay(true).ok();
        // The window is also h2's allowance for small frames, and a stream of tokens is nothing but small frames.
        let mut builder = h2::client::Builder::new();
        builder.initial_connection_window_size(i32::MAX.cast_unsigned());
        let (send, connection) = builder.handshake(stream).await.unwrap();
        let ended = Arc::new(OnceLock::new());
        let end = ended.clone();
        tokio::spawn(async move {
            let how = connection.await;
            end.set(format!("{how:?}")).ok();
        });
        Self { send, addr, ended }
    }

    /// How the peer ended the connection, if it did. A GOAWAY shows in the next call's failure, too.
    pub(crate) fn ended(&self) -> Option<&str> {
        self.ended.get().map(String::as_str)
    }

    /// A plain or gRPC request of which only the head is sent.
    pub(crate) async fn request(
        &self,
        request: Request<()>,
        end: bool,
    ) -> Result<(ResponseFuture, SendStream<Bytes>), h2::Error> {
        let mut ready = self.send.clone().ready().await?;
        ready.send_request(request, end)
    }

    pub(crate) fn uri(&self, path: &str) -> String {
        format!("http://{}{path}", self.addr)
    }

    pub(crate) async fn try_start(&self, method: &str) -> Result<Call, h2::Error> {
        let request = Request::post(self.uri(&format!("/test.Echo/{method}")))
            .header("content-type", "application/grpc")
            .header("te", "trailers")
            .body(())
            .unwrap();
        let (response, send) = self.request(request, false).await?;
        Ok(Call { send, response: Some(response), head: None, incoming: None })
    }

    pub(crate) async fn start(&self, method: &str) -> Call {
        self.try_start(method).await.unwrap_or_else(|bad| panic!("call {method}: {bad}"))
    }

    /// Sends these messages, then reads all there is.
    pub(crate) async fn try_call(&self, method: &str, messages: &[&str]) -> Result<Reply, h2::Error> {
        let mut call = self.try_start(method).await?;
        for message in messages {
            call.try_say(message).await?;
        }
        call.send.send_data(Bytes::new(), true)?;
        call.try_finish().await
    }

    pub(crate) async fn call(&self, method: &str, messages: &[&str]) -> Reply {
        let reply = within("a gRPC reply", self.try_call(method, messages)).await;
        reply.unwrap_or_else(|bad| panic!("call {method}: {bad}"))
    }
}

impl Call {
    pub(crate) async fn try_say(&mut self, message: &str) -> Result<(), h2::Error> {
        pass(&mut self.send, frame(message.as_bytes())).await
    }

    pub(crate) async fn say(&mut self, message: &str) {
        within("a message to go", self.try_say(message)).await.unwrap_or_else(|bad| panic!("say {message}: {bad}"));
    }

    pub(crate) fn half_close(&mut self) {
        self.send.send_data(Bytes::new(), true).unwrap();
    }

    pub(crate) async fn try_head(&mut self) -> Result<&Response<()>, h2::Error> {
        if let Some(response) = self.response.take() {
            let (parts, body) = response.await?.into_parts();
            self.incoming = Some(Messages::new(body));
            self.head = Some(Response::from_parts(parts, ()));
        }
        Ok(self.head.as_ref().unwrap())
    }

    pub(crate) async fn try_next(&mut self) -> Result<Option<String>, h2::Error> {
        self.try_head().await?;
        let message = self.incoming.as_mut().unwrap().next().await?;
        Ok(message.map(|message| String::from_utf8_lossy(&message).into_owned()))
    }

    pub(crate) async fn next(&mut self) -> Option<String> {
        within("a message", self.try_next()).await.unwrap_or_else(|bad| panic!("message: {bad}"))
    }

    /// Everything up to the trailers.
    pub(crate) async fn try_finish(&mut self) -> Result<Reply, h2::Error> {
        let mut messages = Vec::new();
        while let Some(message) = self.try_next().await? {
            messages.push(message);
        }
        let head = self.head.as_ref().unwrap();
        let (http_status, headers) = (head.status().as_u16(), head.headers().clone());
        let trailers = self.incoming.as_mut().unwrap().trailers().await?;
        Ok(Reply { http_status, headers, messages, trailers })
    }

    pub(crate) async fn finish(&mut self) -> Reply {
        within("the end of a call", self.try_finish()).await.unwrap_or_else(|bad| panic!("finish: {bad}"))
    }
}

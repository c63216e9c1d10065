use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::{Request, Response, body::Incoming};
use hyper_util::rt::TokioIo;
use tokio::time::timeout;

use super::{Failed, LONGEST, in_full, shortened};
use crate::address::Address;

/// A client of HTTP/1.1.
pub(crate) struct RestClient {
    address: Address,
    connection: Option<SendRequest<Full<Bytes>>>,
}

impl RestClient {
    pub(crate) async fn open(address: Address) -> Result<Self, Failed> {
        let connection = Some(connected(&address).await?);
        Ok(Self { address, connection })
    }

    /// The body of the answer.
    pub(crate) async fn send(&mut self, request: Request<Full<Bytes>>) -> Result<Bytes, Failed> {
        if let Ok(answer) = timeout(LONGEST, self.answered(request)).await {
            return answer;
        }
        self.connection = None;
        Err(Failed::new("timeout", format!("there was no answer in {} s", LONGEST.as_secs())))
    }

    async fn answered(&mut self, request: Request<Full<Bytes>>) -> Result<Bytes, Failed> {
        // Where something breaks, the connection is not put back.
        let (answer, connection) = self.sent(request).await?;
        let status = answer.status();
        let body = answer.into_body().collect().await.map_err(|error| broken(&error))?.to_bytes();
        self.connection = Some(connection);
        if status.is_success() {
            return Ok(body);
        }
        Err(Failed::new(status.as_str(), shortened(&String::from_utf8_lossy(&body))))
    }

    async fn sent(
        &mut self,
        request: Request<Full<Bytes>>,
    ) -> Result<(Response<Incoming>, SendRequest<Full<Bytes>>), Failed> {
        let mut request = request;
        // A server may close a connection that lies idle: what was not sent over it goes over a new one.
        if let Some(mut connection) = self.connection.take()
            && connection.ready().await.is_ok()
        {
            match connection.try_send_request(request).await {
                Ok(answer) => return Ok((answer, connection)),
                Err(mut error) => match error.take_message() {
                    Some(unsent) => request = unsent,
                    None => return Err(broken(&error.into_error())),
                },
            }
        }
        let mut connection = connected(&self.address).await?;
        let answer = connection.send_request(request).await.map_err(|error| broken(&error))?;
        Ok((answer, connection))
    }
}

async fn connected(address: &Address) -> Result<SendRequest<Full<Bytes>>, Failed> {
    let stream = address.connect().await?;
    let (sender, connection) = handshake(TokioIo::new(stream)).await.map_err(|error| broken(&error))?;
    // What breaks it is told to the one who waits for an answer.
    tokio::spawn(connection);
    Ok(sender)
}

fn broken(error: &hyper::Error) -> Failed {
    Failed::new("connection", in_full(error))
}

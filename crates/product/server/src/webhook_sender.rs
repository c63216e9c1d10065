use std::error::Error;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::redirect::Policy;
use reqwest::{Client, Url};
use ropewalk_registry::{Message, Sent, WebhookSender, is_loopback, is_public};

use crate::ServerError;

/// How long an answer may take; MLflow's `MLFLOW_WEBHOOK_REQUEST_TIMEOUT`.
const TIMEOUT: Duration = Duration::from_secs(30);
/// How much of an answer is kept.
const ANSWER_BYTES: usize = 4_096;

/// Posts to webhooks: to public addresses and perhaps this machine, whatever their name resolves to at that moment;
/// through no proxy, following no redirect.
#[derive(Clone, Debug)]
pub struct WebhookCaller {
    client: Client,
    local: bool,
}

impl WebhookCaller {
    /// Ready to call; this machine only if `local`, which must not be where others than its own users can make
    /// webhooks and read what they answer. Errors: this machine's certificates cannot be read.
    pub fn new(local: bool) -> Result<Self, ServerError> {
        let client = Client::builder()
            .redirect(Policy::none())
            .no_proxy()
            .timeout(TIMEOUT)
            .dns_resolver(Arc::new(PublicNames { local }))
            .build();
        let client = client.map_err(|error| ServerError::Serve(format!("cannot call webhooks: {error}")))?;
        Ok(Self { client, local })
    }
}

#[async_trait]
impl WebhookSender for WebhookCaller {
    async fn send(&self, message: &Message) -> Result<Sent, String> {
        let url = Url::parse(&message.url).map_err(|error| error.to_string())?;
        // A host that is an address, however it is written, is never resolved.
        let host = url.host_str().unwrap_or_default().trim_start_matches('[').trim_end_matches(']');
        let allowed = |address: IpAddr| is_public(address) || (self.local && is_loopback(address));
        if host.parse::<IpAddr>().is_ok_and(|address| !allowed(address)) {
            return Err(format!("{host} is not a public address"));
        }
        let mut request = self.client.post(url).body(message.body.clone());
        for (name, value) in &message.headers {
            request = request.header(*name, value);
        }
        let mut response = request.send().await.map_err(|error| told(&error))?;
        let status = response.status().as_u16();
        let mut body = Vec::new();
        while body.len() < ANSWER_BYTES {
            match response.chunk().await {
                Ok(Some(chunk)) => body.extend_from_slice(&chunk),
                // The status was answered; that is what counts.
                Ok(None) | Err(_) => break,
            }
        }
        body.truncate(ANSWER_BYTES);
        Ok(Sent { status, body: String::from_utf8_lossy(&body).into_owned() })
    }
}

/// An error with what caused it, without the URL, which may hold a token.
fn told(error: &reqwest::Error) -> String {
    let mut text = if error.is_timeout() { "no answer in time".to_owned() } else { "cannot send".to_owned() };
    let mut cause = error.source();
    while let Some(inner) = cause {
        text = format!("{text}: {inner}");
        cause = inner.source();
    }
    text
}

/// Resolves names to public addresses only and, where that is allowed, `localhost` to this machine.
#[derive(Clone, Copy, Debug)]
struct PublicNames {
    local: bool,
}

impl Resolve for PublicNames {
    fn resolve(&self, name: Name) -> Resolving {
        let may_be_local = self.local;
        Box::pin(async move {
            let host = name.as_str().to_owned();
            let found: Vec<SocketAddr> = tokio::net::lookup_host((host.as_str(), 0)).await?.collect();
            let local = may_be_local && host.eq_ignore_ascii_case("localhost");
            let allowed = |address: &SocketAddr| is_public(address.ip()) || (local && is_loopback(address.ip()));
            if !found.iter().all(allowed) {
                return Err(Box::<dyn Error + Send + Sync>::from(format!(
                    "{host} leads to an address that is not public"
                )));
            }
            Ok(Box::new(found.into_iter()) as Addrs)
        })
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    use super::*;

    fn message(url: String) -> Message {
        Message { url, headers: vec![("X-MLflow-Delivery-Id", "one".to_owned())], body: "{}".to_owned() }
    }

    #[tokio::test]
    async fn this_machine_is_called_and_private_ones_are_not() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("listener");
        let port = listener.local_addr().expect("address").port();
        let answering = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.expect("caller");
            let mut asked = vec![0; 4096];
            let length = stream.read(&mut asked).await.expect("request");
            let answer = b"HTTP/1.1 302 Found\r\nlocation: http://10.0.0.1/\r\ncontent-length: 2\r\n\r\nok";
            stream.write_all(answer).await.expect("answer");
            String::from_utf8_lossy(&asked[..length]).into_owned()
        });
        let caller = WebhookCaller::new(true).expect("caller");
        let sent = caller.send(&message(format!("http://127.0.0.1:{port}/hook"))).await.expect("sent");
        assert_eq!((sent.status, sent.body.as_str()), (302, "ok"), "a redirect is not followed");
        let asked = answering.await.expect("server").to_lowercase();
        assert!(asked.starts_with("post /hook") && asked.contains("x-mlflow-delivery-id: one"), "{asked}");
        for private in ["https://10.0.0.1/", "https://0xa000001/", "https://[fe80::1]/", "https://169.254.169.254/"] {
            let error = caller.send(&message(private.to_owned())).await.expect_err(private);
            assert!(error.contains("not a public address"), "{error}");
        }
        let reachable = WebhookCaller::new(false).expect("caller");
        for here in
            [format!("http://127.0.0.1:{port}/"), format!("http://localhost:{port}/"), "http://[::1]/".to_owned()]
        {
            let error = reachable.send(&message(here.clone())).await.expect_err(&here);
            assert!(error.contains("not a public address") || error.contains("is not public"), "{error}");
        }
    }
}

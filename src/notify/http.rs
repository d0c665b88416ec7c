//! The one way out: HTTP for every channel, with deadlines, a bounded answer and errors that betray nothing.
//!
//! The danger here is what an address knows. Slack's is the secret itself, others carry a user or a token; so no error,
//! no `Debug` and no answer of this file contains a path, a query, a user or a header: the host is all that is told.
//! The other danger is an answer that never came: whoever creates something elsewhere must know whether the request may
//! have arrived all the same ([`HttpError::may_have_arrived`]).
//!
//! * Redirects are not followed, nothing is repeated by itself, no connection is used twice: one request is one request.
//! * `http://` is refused unless the address is this machine's or a private network's ([`Address::parse`]).
//! * Certificates are checked against the built-in roots and, if there are any, roots of one's own.
//! * A proxy is used only if it was handed in; the environment is not asked here.

use std::error::Error;
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use reqwest::Url;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

use super::channel::Wait;
use crate::domain::Secret;

/// No answer that we read is longer; what follows is not read.
pub const ANSWER_BYTES_MAX: usize = 64 << 10;

/// A receiver may ask for patience, not for ever: after a day it is tried again.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(24 * 3600);

/// How the client is to be.
#[derive(Clone, Debug)]
pub struct HttpOptions {
    /// `backup/0.1.0`, for example.
    pub user_agent: String,
    /// Until a connection is there, TLS with it.
    pub connect_timeout: Duration,
    /// Until the answer has been read.
    pub total_timeout: Duration,
    /// Certificates in PEM that are trusted besides the built-in ones.
    pub extra_roots: Option<Vec<u8>>,
    /// A proxy for `https`, and the hosts that are reached without it (as `HTTPS_PROXY` and `NO_PROXY` have them).
    pub proxy: Option<(Secret, String)>,
}

impl HttpOptions {
    /// 10 s to connect, 30 s in all, the built-in certificates, no proxy.
    pub fn new(user_agent: &str) -> Self {
        Self {
            user_agent: user_agent.to_owned(),
            connect_timeout: Duration::from_secs(10),
            total_timeout: Duration::from_secs(30),
            extra_roots: None,
            proxy: None,
        }
    }
}

/// The client could not be made. Says nothing of the proxy's address.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HttpOptionsError {
    /// The file with certificates of one's own is not PEM, or has none.
    #[error("the certificates given are no PEM certificates")]
    Roots,
    /// The proxy's address is none.
    #[error("the proxy's address is no address")]
    Proxy,
    /// Anything else.
    #[error("the HTTP client could not be made")]
    Other,
}

/// Trust in certificates: the built-in roots and `extra`, with the only cryptography that is built in.
///
/// # Errors
/// If `extra` is no PEM with at least one certificate.
pub fn tls_config(extra: Option<&[u8]>) -> Result<rustls::ClientConfig, HttpOptionsError> {
    let mut roots = rustls::RootCertStore::empty();
    for root in webpki_root_certs::TLS_SERVER_ROOT_CERTS {
        // one that this rustls cannot read is one root less, not a notifier less
        let _ = roots.add(root.clone());
    }
    if let Some(pem) = extra {
        let own: Vec<CertificateDer<'static>> =
            CertificateDer::pem_slice_iter(pem).collect::<Result<_, _>>().map_err(|_| HttpOptionsError::Roots)?;
        if own.is_empty() || own.into_iter().any(|root| roots.add(root).is_err()) {
            return Err(HttpOptionsError::Roots);
        }
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let versions = rustls::ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    Ok(versions.map_err(|_| HttpOptionsError::Other)?.with_root_certificates(roots).with_no_client_auth())
}

/// The client. Cheap to clone; needs a tokio runtime with time and I/O.
#[derive(Clone)]
pub struct Http {
    client: reqwest::Client,
    total_timeout: Duration,
}

impl fmt::Debug for Http {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // reqwest's own Debug shows a proxy's address
        f.debug_struct("Http").field("total_timeout", &self.total_timeout).finish_non_exhaustive()
    }
}

impl Http {
    /// Makes it; nothing is connected to.
    ///
    /// # Errors
    /// If the certificates or the proxy are no such thing.
    pub fn new(options: &HttpOptions) -> Result<Self, HttpOptionsError> {
        let mut builder = reqwest::Client::builder()
            .tls_backend_preconfigured(tls_config(options.extra_roots.as_deref())?)
            .http1_only()
            .redirect(reqwest::redirect::Policy::none())
            .retry(reqwest::retry::never())
            .referer(false)
            // a kept connection may be closed while a request is on its way, which looks like a request that arrived
            .pool_max_idle_per_host(0)
            .user_agent(&options.user_agent)
            .connect_timeout(options.connect_timeout)
            .no_proxy();
        if let Some((proxy, except)) = &options.proxy {
            let proxy = reqwest::Proxy::https(proxy.reveal()).map_err(|_| HttpOptionsError::Proxy)?;
            builder = builder.proxy(proxy.no_proxy(reqwest::NoProxy::from_string(except)));
        }
        let client = builder.build().map_err(|_| HttpOptionsError::Other)?;
        Ok(Self { client, total_timeout: options.total_timeout })
    }

    /// Sends one request, once, and reads its answer. Any status is an answer.
    ///
    /// # Errors
    /// If there was no whole answer in time.
    pub async fn send(&self, request: Request) -> Result<Answer, HttpError> {
        let host = request.address.host();
        match tokio::time::timeout(self.total_timeout, self.exchange(request)).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(error)) => Err(classify(&error, host)),
            // how far it came is not known; so it is taken for sent
            Err(_) => Err(HttpError::TimedOut { host, sent: true }),
        }
    }

    async fn exchange(&self, request: Request) -> Result<Answer, reqwest::Error> {
        let method = match request.method {
            Method::Get => reqwest::Method::GET,
            Method::Post => reqwest::Method::POST,
        };
        let mut builder = self.client.request(method, request.address.0);
        for (name, value) in &request.headers {
            let mut value = reqwest::header::HeaderValue::try_from(value.reveal())
                .unwrap_or_else(|_| reqwest::header::HeaderValue::from_static(""));
            value.set_sensitive(true);
            builder = builder.header(*name, value);
        }
        if let Some((kind, body)) = request.body {
            builder = builder.header(reqwest::header::CONTENT_TYPE, kind).body(body);
        }
        let mut response = builder.send().await?;
        let status = response.status().as_u16();
        let header = |name| response.headers().get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
        let reset = || response.headers().get("x-ratelimit-reset").and_then(|v| v.to_str().ok()).map(str::to_owned);
        let retry_after = header(reqwest::header::RETRY_AFTER).or_else(reset);
        let mut bytes = Vec::new();
        let mut is_cut = false;
        while let Some(chunk) = response.chunk().await? {
            let room = ANSWER_BYTES_MAX - bytes.len();
            bytes.extend_from_slice(&chunk[..chunk.len().min(room)]);
            if chunk.len() > room {
                is_cut = true;
                break;
            }
        }
        Ok(Answer { status, retry_after, body: String::from_utf8_lossy(&bytes).into_owned(), is_cut })
    }
}

/// What is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// GET.
    Get,
    /// POST.
    Post,
}

/// One request. Its headers are taken for secrets, because one of them mostly is.
#[derive(Clone)]
pub struct Request {
    method: Method,
    address: Address,
    headers: Vec<(&'static str, Secret)>,
    body: Option<(&'static str, Vec<u8>)>,
}

impl fmt::Debug for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Request({:?} {:?})", self.method, self.address)
    }
}

impl Request {
    /// Without a body.
    pub fn new(method: Method, address: Address) -> Self {
        Self { method, address, headers: Vec::new(), body: None }
    }

    /// With this header besides. A value that no header can hold is sent empty.
    #[must_use]
    pub fn header(mut self, name: &'static str, value: Secret) -> Self {
        self.headers.push((name, value));
        self
    }

    /// With this JSON as its body.
    #[must_use]
    pub fn json(self, value: &serde_json::Value) -> Self {
        self.body("application/json", value.to_string().into_bytes())
    }

    /// With this body.
    #[must_use]
    pub fn body(mut self, content_type: &'static str, bytes: Vec<u8>) -> Self {
        self.body = Some((content_type, bytes));
        self
    }
}

/// Where to. Its `Debug` shows the host alone.
#[derive(Clone, PartialEq, Eq)]
pub struct Address(Url);

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}/…", self.0.scheme(), self.host())
    }
}

/// A text that is no address to send to. Does not repeat it: it may be the secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    /// Not an absolute http(s) URL with a host.
    #[error("it is no address that begins with https://")]
    NoUrl,
    /// http to somewhere that others can listen on the way to.
    #[error("it begins with http://, and everybody on the way could read it")]
    Plain,
}

impl Address {
    /// Reads an address. `https` always; `http` only to this machine or into a private network (an address of RFC 1918,
    /// loopback, link-local or unique-local; a name without a dot; `localhost`; names under `.local`, `.internal`,
    /// `.lan`, `.home.arpa`, `.localhost`, `.test`), or anywhere with `allow_http`. Names are judged by their text, not
    /// looked up.
    ///
    /// # Errors
    /// If it is none, or http to anywhere else.
    pub fn parse(text: &str, allow_http: bool) -> Result<Self, AddressError> {
        let url = Url::parse(text.trim()).map_err(|_| AddressError::NoUrl)?;
        let host = url.host_str().filter(|host| !host.is_empty()).ok_or(AddressError::NoUrl)?;
        match url.scheme() {
            "https" => {}
            "http" if allow_http || is_near(host) => {}
            "http" => return Err(AddressError::Plain),
            _ => return Err(AddressError::NoUrl),
        }
        Ok(Self(url))
    }

    /// The host, with the port if it is not the scheme's own: all that may be told.
    pub fn host(&self) -> String {
        let host = self.0.host_str().unwrap_or_default();
        self.0.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
    }

    /// The host without a port: for rules that go by its name.
    pub fn host_name(&self) -> &str {
        self.0.host_str().unwrap_or_default()
    }

    /// The same with these parts of a path behind its own, each escaped as one part.
    #[must_use]
    pub fn join(&self, parts: &[&str]) -> Self {
        let mut url = self.0.clone();
        // never an error: parse takes only addresses that have a host
        if let Ok(mut path) = url.path_segments_mut() {
            path.pop_if_empty().extend(parts);
        }
        Self(url)
    }

    /// The same with these pairs as its query, behind what it already has.
    #[must_use]
    pub fn query(&self, pairs: &[(&str, &str)]) -> Self {
        let mut url = self.0.clone();
        url.query_pairs_mut().extend_pairs(pairs);
        Self(url)
    }

    /// The whole text, for the one place that links to it. It may hold a secret.
    pub fn reveal(&self) -> &str {
        self.0.as_str()
    }
}

/// This machine, or a private network.
fn is_near(host: &str) -> bool {
    const NEAR: [&str; 6] = [".local", ".internal", ".lan", ".home.arpa", ".localhost", ".test"];
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    match bare.parse::<IpAddr>() {
        Ok(IpAddr::V4(ip)) => ip.is_loopback() || ip.is_private() || ip.is_link_local(),
        Ok(IpAddr::V6(ip)) => ip.is_loopback() || ip.is_unique_local() || ip.is_unicast_link_local(),
        Err(_) => !host.contains('.') || NEAR.iter().any(|end| host.ends_with(end)),
    }
}

/// What came back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// 100 to 599.
    pub status: u16,
    /// `Retry-After` as it was sent, or else `X-RateLimit-Reset`; see [`Answer::wait`].
    pub retry_after: Option<String>,
    /// At most [`ANSWER_BYTES_MAX`] bytes; what is no UTF-8 is replaced. It is a stranger's text.
    pub body: String,
    /// Whether there was more.
    pub is_cut: bool,
}

impl Answer {
    /// 200 to 299.
    pub fn is_good(&self) -> bool {
        (200..300).contains(&self.status)
    }

    /// Whether the same request may be answered otherwise later: 408, 425, 429 and 500 to 599.
    pub fn is_for_later(&self) -> bool {
        matches!(self.status, 408 | 425 | 429 | 500..=599)
    }

    /// How long a message waits that this answer refuses for now.
    pub fn wait(&self, now: Timestamp) -> Wait {
        self.asked(now).map_or(Wait::Growing, Wait::Asked)
    }

    /// How long the receiver asks us to wait: seconds, an HTTP date or an ISO time (JIRA's `X-RateLimit-Reset`); never
    /// more than a day.
    fn asked(&self, now: Timestamp) -> Option<Duration> {
        let text = self.retry_after.as_deref()?.trim();
        let asked = match text.parse::<u64>() {
            Ok(seconds) => Duration::from_secs(seconds),
            Err(_) => {
                let http = || Timestamp::try_from(httpdate::parse_http_date(text).ok()?).ok();
                let at = text.parse::<Timestamp>().ok().or_else(http)?;
                Duration::try_from(at.duration_since(now)).unwrap_or(Duration::ZERO)
            }
        };
        Some(asked.min(RETRY_AFTER_MAX))
    }
}

/// No whole answer. Tells the host and the kind of failure, and nothing that the address or the headers hold.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HttpError {
    /// Nobody was reached; nothing was sent.
    #[error("{host} could not be reached ({why})")]
    NotConnected {
        /// Where.
        host: String,
        /// In the machine's words.
        why: String,
    },
    /// The other side's certificate was refused; nothing was sent.
    #[error("the certificate of {host} was refused ({why})")]
    TlsRefused {
        /// Where.
        host: String,
        /// In the words of rustls.
        why: String,
    },
    /// Too slow.
    #[error("{host} did not answer in time")]
    TimedOut {
        /// Where.
        host: String,
        /// Whether the request may have been sent.
        sent: bool,
    },
    /// The connection ended after the request was sent, or while its answer was read.
    #[error("the connection to {host} ended before it had answered ({why})")]
    Reset {
        /// Where.
        host: String,
        /// In the machine's words.
        why: String,
    },
}

impl HttpError {
    /// Whether the receiver may have taken the request although there is no answer: what creates something must look
    /// before it asks again.
    pub fn may_have_arrived(&self) -> bool {
        match self {
            Self::NotConnected { .. } | Self::TlsRefused { .. } => false,
            Self::TimedOut { sent, .. } => *sent,
            Self::Reset { .. } => true,
        }
    }
}

fn classify(error: &reqwest::Error, host: String) -> HttpError {
    let Found { io, tls } = found_in(error);
    match (error.is_connect(), error.is_timeout()) {
        (true, _) if tls.is_some() => HttpError::TlsRefused { host, why: tls.unwrap_or_default() },
        (true, true) => HttpError::TimedOut { host, sent: false },
        (true, false) => HttpError::NotConnected { host, why: io.unwrap_or_else(|| "no connection".to_owned()) },
        (false, true) => HttpError::TimedOut { host, sent: true },
        (false, false) => HttpError::Reset { host, why: io.or(tls).unwrap_or_else(|| "no whole answer".to_owned()) },
    }
}

/// The innermost words of the machine and of TLS in a chain of causes. The outer ones may show the address.
#[derive(Default)]
struct Found {
    io: Option<String>,
    tls: Option<String>,
}

fn found_in(error: &reqwest::Error) -> Found {
    let mut found = Found::default();
    let mut cause = error.source();
    while let Some(next) = cause {
        if let Some(tls) = next.downcast_ref::<rustls::Error>() {
            found.tls = Some(tls.to_string());
        }
        let mut inner = next.downcast_ref::<std::io::Error>();
        while let Some(io) = inner {
            match io.get_ref() {
                None => found.io = Some(io.to_string()),
                // an error of the machine around another: its kind is enough
                Some(boxed) => {
                    found.io = Some(io.kind().to_string());
                    if let Some(tls) = boxed.downcast_ref::<rustls::Error>() {
                        found.tls = Some(tls.to_string());
                    }
                }
            }
            inner = io.get_ref().and_then(|boxed| boxed.downcast_ref::<std::io::Error>());
        }
        cause = next.source();
    }
    found
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{Address, AddressError, Answer, Http, HttpOptions, HttpOptionsError, Method, Request};
    use crate::domain::Secret;

    fn answer(retry_after: &str) -> Answer {
        Answer { status: 429, retry_after: Some(retry_after.to_owned()), body: String::new(), is_cut: false }
    }

    #[test]
    fn plain_http_stays_at_home_unless_somebody_says_otherwise() {
        for near in [
            "http://127.0.0.1:8080/x",
            "http://[::1]/x",
            "http://10.0.0.3",
            "http://192.168.1.1/",
            "http://[fd00::1]/",
            "http://jira:8080",
            "http://hc.internal/ping",
            "https://example.com/x",
        ] {
            assert!(Address::parse(near, false).is_ok(), "{near}");
        }
        for far in ["http://example.com/x", "http://8.8.8.8/", "http://127.0.0.1.example.com/", "http://[2001:db8::1]/"]
        {
            assert_eq!(Address::parse(far, false), Err(AddressError::Plain), "{far}");
            assert!(Address::parse(far, true).is_ok(), "{far}");
        }
        for none in ["", "example.com", "ftp://example.com", "file:///etc/passwd", "https://", "javascript:alert(1)"] {
            assert_eq!(Address::parse(none, true), Err(AddressError::NoUrl), "{none}");
        }
    }

    #[test]
    fn an_address_is_joined_part_by_part_and_shows_its_host_only() {
        let base = Address::parse("https://user:canary@acme.example/jira/?token=canary", false).expect("an address");
        assert!(!format!("{base:?}").contains("canary"));
        let request = Request::new(Method::Get, base.clone()).header("Authorization", Secret::new("canary"));
        assert!(!format!("{request:?}").contains("canary"));
        let plain = Address::parse("https://acme.example/jira/", false).expect("an address");
        let joined = plain.join(&["rest", "api", "a/b"]).query(&[("jql", "labels = \"x&y\"")]);
        assert_eq!(joined.reveal(), "https://acme.example/jira/rest/api/a%2Fb?jql=labels+%3D+%22x%26y%22");
    }

    #[test]
    fn retry_after_is_seconds_or_a_date_and_never_more_than_a_day() {
        let now = "2026-11-21T02:00:00Z".parse().expect("a time");
        let after = |text: &str| answer(text).asked(now);
        assert_eq!(after("30"), Some(Duration::from_secs(30)));
        assert_eq!(after("Sat, 21 Nov 2026 02:01:00 GMT"), Some(Duration::from_secs(60)));
        assert_eq!(after("Sat, 21 Nov 2020 02:01:00 GMT"), Some(Duration::ZERO));
        assert_eq!(after("99999999999"), Some(Duration::from_secs(86_400)));
        assert_eq!(after("2026-11-21T02:01Z"), Some(Duration::from_secs(60)));
        assert_eq!(after("soon"), None);
    }

    #[test]
    fn certificates_that_are_none_are_refused_when_the_client_is_made() {
        let options = HttpOptions { extra_roots: Some(b"not pem".to_vec()), ..HttpOptions::new("backup/test") };
        assert_eq!(Http::new(&options).err(), Some(HttpOptionsError::Roots));
        assert!(Http::new(&HttpOptions::new("backup/test")).is_ok());
    }
}

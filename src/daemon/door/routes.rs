//! What is answered at which address. The words and the marks are the room `page`'s; here is who may, and what happens.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{ConnectInfo, DefaultBodyLimit, Path, RawQuery, Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri, header};
use axum::middleware::Next;
use axum::response::Response;
use axum::routing::{get, post};

use super::Shared;
use super::guard::{COOKIE, SESSION_FOR};
use super::listen::Peer;
use super::stored::{self, Refusal};
use crate::daemon::news::{News, RunNow};
use crate::domain::{Clock, JobName, SnapshotName};
use crate::page::api::Refused;
use crate::page::{self, View};

/// A form with a token, or nothing: more than this is no request of ours.
const BODY_BYTES_MAX: usize = 8 << 10;

/// How long the loop may take to say whether a run starts.
const LOOP_ANSWERS_WITHIN: Duration = Duration::from_secs(10);

/// How long a form may take to come.
const FORM_WITHIN: Duration = Duration::from_secs(10);

type Known = State<Arc<Shared>>;

/// All addresses. A door that `is_local` answers only to names of this machine: a page elsewhere, whose own name is made
/// to point here (DNS rebinding), would read the state of things through somebody's browser.
pub(super) fn router(shared: Arc<Shared>, is_local: bool) -> Router {
    let router = addresses(Arc::clone(&shared));
    let router = if is_local { router.layer(axum::middleware::from_fn(only_this_machine)) } else { router };
    router.layer(axum::middleware::from_fn_with_state(shared, around))
}

async fn only_this_machine(request: Request, next: Next) -> Response {
    let host = request.headers().get(header::HOST).map(|host| String::from_utf8_lossy(host.as_bytes()).into_owned());
    if host.is_none_or(|host| is_this_machine(&host)) {
        return next.run(request).await;
    }
    text(StatusCode::MISDIRECTED_REQUEST, "this door answers to this machine's own names only\n".to_owned())
}

/// An answer to somebody who gave a token that is not the one.
#[derive(Clone, Copy)]
struct TokenRefused;

/// The mark on an answer, for `around` to count.
fn token_refused(mut response: Response) -> Response {
    response.extensions_mut().insert(TokenRefused);
    response
}

/// What is the same for all: a form comes whole and in time, wrong tokens are counted, what the framework refuses by
/// itself is told in our way, and a connection has one request.
async fn around(State(shared): Known, request: Request, next: Next) -> Response {
    let uri = request.uri().clone();
    let peer = request.extensions().get::<ConnectInfo<Peer>>().map(|ConnectInfo(Peer(address))| address.ip());
    let mut response = match with_form(request).await {
        Ok(request) => next.run(request).await,
        Err(status) => answer(status, &[], Body::empty()),
    };
    if response.extensions().get::<TokenRefused>().is_some() {
        shared.refuse(peer);
    }
    let status = response.status();
    let is_ours = response.headers().contains_key(header::CONTENT_SECURITY_POLICY);
    if !is_ours && (status.is_client_error() || status.is_server_error()) {
        response = match status {
            StatusCode::PAYLOAD_TOO_LARGE => text(status, "no form of this page is so long\n".to_owned()),
            StatusCode::REQUEST_TIMEOUT => text(status, "the form did not come in time\n".to_owned()),
            // an address that is no text
            _ => nothing_here(State(shared), uri).await,
        };
    }
    response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    response
}

/// The request with its body, if it is a form.
async fn with_form(request: Request) -> Result<Request, StatusCode> {
    if request.method() != Method::POST || request.uri().path().starts_with("/api/") {
        return Ok(request);
    }
    let (head, body) = request.into_parts();
    match tokio::time::timeout(FORM_WITHIN, axum::body::to_bytes(body, BODY_BYTES_MAX)).await {
        Ok(Ok(body)) => Ok(Request::from_parts(head, body.into())),
        Ok(Err(_)) => Err(StatusCode::PAYLOAD_TOO_LARGE),
        Err(_) => Err(StatusCode::REQUEST_TIMEOUT),
    }
}

/// Whether a `Host` names this machine by itself, without asking anybody: by an address, or as `localhost`.
fn is_this_machine(host: &str) -> bool {
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    };
    let bare = name.strip_prefix('[').and_then(|name| name.strip_suffix(']')).unwrap_or(name);
    let lower = name.to_ascii_lowercase();
    bare.parse::<std::net::IpAddr>().is_ok() || lower == "localhost" || lower.ends_with(".localhost")
}

fn addresses(shared: Arc<Shared>) -> Router {
    Router::new()
        .route("/", get(front))
        .route("/healthz", get(healthz))
        .route("/readyz", get(readyz))
        .route("/metrics", get(metrics))
        .route("/session", post(session))
        .route("/browse/{snapshot}", get(browse))
        .route("/download/{snapshot}", get(download))
        .route("/jobs/{job}/run", post(run_by_form))
        .route("/api/v1/status", get(api_status))
        .route("/api/v1/jobs", get(api_jobs))
        .route("/api/v1/jobs/{job}", get(api_job))
        .route("/api/v1/jobs/{job}/runs", get(api_runs))
        .route("/api/v1/jobs/{job}/snapshots", get(api_snapshots))
        .route("/api/v1/jobs/{job}/run", post(api_run))
        .fallback(nothing_here)
        .method_not_allowed_fallback(other_method)
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .with_state(shared)
}

fn answer(status: StatusCode, headers: &[(&'static str, String)], body: impl Into<Body>) -> Response {
    let mut response = Response::new(body.into());
    *response.status_mut() = status;
    for (name, value) in headers {
        // all of ours are plain; one that is not is left out rather than broken
        if let Ok(value) = HeaderValue::from_str(value) {
            response.headers_mut().insert(HeaderName::from_static(name), value);
        }
    }
    response
}

fn html(status: StatusCode, page: String) -> Response {
    answer(status, &page::security_headers(), page)
}

/// Anything that is no page: with the same care, and its own type.
fn plain(status: StatusCode, kind: &str, body: impl Into<Body>) -> Response {
    let mut headers = page::security_headers().to_vec();
    headers.retain(|(name, _)| *name != "content-type" && *name != "content-security-policy");
    headers.push(("content-type", kind.to_owned()));
    headers.push(("content-security-policy", "default-src 'none'; frame-ancestors 'none'; sandbox".to_owned()));
    answer(status, &headers, body)
}

fn text(status: StatusCode, body: String) -> Response {
    plain(status, "text/plain; charset=utf-8", body)
}

/// The loop's first round has not ended yet.
fn too_early() -> Response {
    text(StatusCode::SERVICE_UNAVAILABLE, "starting\n".to_owned())
}

fn with_view(shared: &Shared, answer: impl FnOnce(View) -> Response) -> Response {
    shared.view().map_or_else(too_early, answer)
}

/// As much as whoever asks may see, and told if a token was given that is not the one.
fn with_own_view(shared: &Shared, headers: &HeaderMap, answer: impl FnOnce(View) -> Response) -> Response {
    if may_read(shared, headers) {
        return with_view(shared, answer);
    }
    let response = with_view(shared, |view| answer(view.for_onlookers()));
    let is_wrong = bearer(headers).is_some() && shared.guard.has_token();
    if is_wrong { token_refused(response) } else { response }
}

async fn front(State(shared): Known, headers: HeaderMap) -> Response {
    with_own_view(&shared, &headers, |view| html(StatusCode::OK, page::front(&view)))
}

fn health(health: &page::Health) -> Response {
    let status = if health.is_well() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    text(status, health.text())
}

async fn healthz(State(shared): Known) -> Response {
    with_view(&shared, |view| health(&page::alive(&view)))
}

async fn readyz(State(shared): Known) -> Response {
    with_view(&shared, |view| health(&page::ready(&view)))
}

async fn metrics(State(shared): Known) -> Response {
    with_view(&shared, |view| plain(StatusCode::OK, page::METRICS_TYPE, page::metrics(&view)))
}

fn data(status: StatusCode, text: String) -> Response {
    plain(status, "application/json", text)
}

fn refused(why: Refused, words: &str) -> Response {
    let status = StatusCode::from_u16(why.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    data(status, page::api::error(why, words))
}

async fn api_status(State(shared): Known) -> Response {
    with_view(&shared, |view| data(StatusCode::OK, page::api::status(&view)))
}

async fn api_jobs(State(shared): Known) -> Response {
    with_view(&shared, |view| data(StatusCode::OK, page::api::jobs(&view)))
}

/// What is told of one job.
fn of_job(
    shared: &Shared,
    headers: &HeaderMap,
    job: &str,
    tell: impl FnOnce(&View, &str) -> Option<String>,
) -> Response {
    with_own_view(shared, headers, |view| match tell(&view, job) {
        Some(text) => data(StatusCode::OK, text),
        None => refused(Refused::NotFound, "there is no such job"),
    })
}

async fn api_job(State(shared): Known, Path(job): Path<String>, headers: HeaderMap) -> Response {
    of_job(&shared, &headers, &job, page::api::job)
}

async fn api_runs(State(shared): Known, Path(job): Path<String>, headers: HeaderMap) -> Response {
    of_job(&shared, &headers, &job, page::api::runs)
}

async fn api_snapshots(State(shared): Known, Path(job): Path<String>, headers: HeaderMap) -> Response {
    of_job(&shared, &headers, &job, page::api::snapshots)
}

/// No such address, or not with this method: for programs below `/api/`, for people elsewhere.
async fn nothing_here(State(shared): Known, uri: Uri) -> Response {
    if uri.path().starts_with("/api/") {
        return refused(Refused::NotFound, "there is nothing at this address");
    }
    with_view(&shared, |view| {
        let page = page::answer(&view, "There is nothing here", "The address is wrong, or what was here is gone.");
        html(StatusCode::NOT_FOUND, page)
    })
}

/// `Authorization: Bearer …`.
fn bearer(headers: &HeaderMap) -> Option<&[u8]> {
    let value = headers.get(header::AUTHORIZATION)?.as_bytes();
    let (scheme, token) = value.split_at_checked(7)?;
    scheme.eq_ignore_ascii_case(b"bearer ").then(|| token.trim_ascii())
}

fn cookie(headers: &HeaderMap) -> Option<&[u8]> {
    let all = headers.get_all(header::COOKIE).into_iter().flat_map(|value| value.as_bytes().split(|b| *b == b';'));
    all.map(<[u8]>::trim_ascii).find_map(|pair| pair.strip_prefix(COOKIE.as_bytes())?.strip_prefix(b"="))
}

/// Whether whoever asks has the token, or a session that had it.
fn may_read(shared: &Shared, headers: &HeaderMap) -> bool {
    bearer(headers).is_some_and(|token| shared.guard.is_token(token))
        || cookie(headers).is_some_and(|value| shared.guard.is_session(value, shared.clock.since_start()))
}

async fn api_run(State(shared): Known, Path(job): Path<String>, headers: HeaderMap) -> Response {
    if !shared.guard.has_token() {
        return refused(Refused::Forbidden, "no token is configured (web.token), so nobody may start a run from here");
    }
    if !bearer(&headers).is_some_and(|token| shared.guard.is_token(token)) {
        let mut response = refused(Refused::Unauthorized, "the token is missing or is not the right one");
        response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        return if bearer(&headers).is_some() { token_refused(response) } else { response };
    }
    match run(&shared, &job).await {
        Some(RunNow::Taken(job)) => data(StatusCode::ACCEPTED, page::api::started(&job)),
        Some(RunNow::AtWork) => {
            refused(Refused::AlreadyRunning, "a run of this job is at work, or waits for its store")
        }
        Some(RunNow::NoJob) => refused(Refused::NotFound, "there is no such job"),
        Some(RunNow::Stopping) => refused(Refused::Stopping, "the daemon is being stopped"),
        None => refused(Refused::Stopping, "the daemon does not answer"),
    }
}

/// Another method than POST where only that is known, and the other way round.
async fn other_method(State(shared): Known, uri: Uri) -> Response {
    if uri.path().starts_with("/api/") {
        return refused(Refused::MethodNotAllowed, "this address knows other methods");
    }
    with_view(&shared, |view| {
        let page = page::answer(&view, "Not like this", "This address knows other methods.");
        html(StatusCode::METHOD_NOT_ALLOWED, page)
    })
}

async fn run(shared: &Shared, job: &str) -> Option<RunNow> {
    let Ok(job) = job.parse::<JobName>() else { return Some(RunNow::NoJob) };
    let (answer, answered) = tokio::sync::oneshot::channel();
    shared.tell.try_send(News::RunNow { job, answer }).ok()?;
    tokio::time::timeout(LOOP_ANSWERS_WITHIN, answered).await.ok()?.ok()
}

/// The page's form. The token is in it: what a browser sends by itself starts nothing.
async fn run_by_form(State(shared): Known, Path(job): Path<String>, body: Bytes) -> Response {
    let token = field(&body, "token").unwrap_or_default();
    let taken = if shared.guard.is_token(&token) { Ok(run(&shared, &job).await) } else { Err(()) };
    let is_refused = taken.is_err();
    let response = with_view(&shared, |view| {
        let (status, title, text) = match taken {
            Err(()) => (StatusCode::FORBIDDEN, "That is not the token", "Nothing was started."),
            Ok(Some(RunNow::Taken(_))) => {
                (StatusCode::ACCEPTED, "The run starts", "It begins as soon as its store has no other run at work.")
            }
            Ok(Some(RunNow::AtWork)) => {
                (StatusCode::CONFLICT, "A run is at work", "The job runs already, or waits for its store.")
            }
            Ok(Some(RunNow::NoJob)) => (StatusCode::NOT_FOUND, "There is no such job", "Nothing was started."),
            Ok(Some(RunNow::Stopping)) => {
                (StatusCode::SERVICE_UNAVAILABLE, "The daemon is being stopped", "Nothing starts any more.")
            }
            Ok(None) => {
                (StatusCode::SERVICE_UNAVAILABLE, "The daemon does not answer", "Whether it starts is not known.")
            }
        };
        html(status, page::answer(&view, title, text))
    });
    if is_refused { token_refused(response) } else { response }
}

/// A field of a form as browsers send it.
fn field(body: &[u8], name: &str) -> Option<Vec<u8>> {
    let raw = body.split(|b| *b == b'&').find_map(|pair| pair.strip_prefix(name.as_bytes())?.strip_prefix(b"="))?;
    let mut value = Vec::with_capacity(raw.len());
    let mut rest = raw.iter();
    while let Some(byte) = rest.next() {
        value.push(match byte {
            b'+' => b' ',
            b'%' => {
                let digit = |byte: Option<&u8>| char::from(*byte?).to_digit(16);
                let (high, low) = (digit(rest.next())?, digit(rest.next())?);
                u8::try_from(high * 16 + low).ok()?
            }
            other => *other,
        });
    }
    Some(value)
}

/// Where a browser may be sent back to: a snapshot's pages and nothing else.
fn way_back(given: &str) -> &str {
    let is_ours = given.starts_with("/browse/") || given.starts_with("/download/");
    if is_ours && given.bytes().all(|b| b.is_ascii_graphic()) { given } else { "/" }
}

async fn session(State(shared): Known, body: Bytes) -> Response {
    let back = field(&body, "return").and_then(|back| String::from_utf8(back).ok()).unwrap_or_default();
    let back = way_back(&back);
    if !field(&body, "token").is_some_and(|token| shared.guard.is_token(&token)) {
        return token_refused(with_view(&shared, |view| html(StatusCode::FORBIDDEN, page::sign_in(&view, back, true))));
    }
    let value = shared.guard.open(shared.clock.since_start());
    let cookie = format!("{COOKIE}={value}; Path=/; Max-Age={}; HttpOnly; SameSite=Strict", SESSION_FOR.as_secs());
    let headers = [("location", back.to_owned()), ("set-cookie", cookie), ("cache-control", "no-store".to_owned())];
    answer(StatusCode::SEE_OTHER, &headers, Body::empty())
}

/// What an address of a snapshot means, for those who may; the page that asks for the token for the others.
fn asked(
    shared: &Shared,
    headers: &HeaderMap,
    place: &str,
    snapshot: &str,
    query: Option<&str>,
) -> Result<(SnapshotName, crate::domain::EntryPath), Box<Response>> {
    let query = query.unwrap_or_default();
    if !may_read(shared, headers) {
        let back = format!("/{place}/{snapshot}?{query}");
        let response = with_view(shared, |view| {
            if view.may_sign_in {
                html(StatusCode::UNAUTHORIZED, page::sign_in(&view, way_back(&back), false))
            } else {
                let words = "Without web.token in the configuration nobody may read what is in snapshots from here.";
                html(StatusCode::FORBIDDEN, page::answer(&view, "No token is configured", words))
            }
        });
        let is_wrong = bearer(headers).is_some() && shared.guard.has_token();
        return Err(Box::new(if is_wrong { token_refused(response) } else { response }));
    }
    let meant = snapshot.parse::<SnapshotName>().ok().zip(page::path_of_query(query));
    meant.ok_or_else(|| {
        Box::new(with_view(shared, |view| {
            html(StatusCode::NOT_FOUND, page::answer(&view, "There is nothing here", "The address names no snapshot."))
        }))
    })
}

fn refusal(shared: &Shared, refusal: &Refusal) -> Response {
    let (status, title, words) = match refusal {
        Refusal::NotThere(words) => (StatusCode::NOT_FOUND, "It cannot be shown", words),
        Refusal::Busy(words) => (StatusCode::SERVICE_UNAVAILABLE, "Not now", words),
    };
    with_view(shared, |view| html(status, page::answer(&view, title, words)))
}

async fn browse(
    State(shared): Known,
    Path(snapshot): Path<String>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Response {
    let (snapshot, path) = match asked(&shared, &headers, "browse", &snapshot, query.as_deref()) {
        Ok(meant) => meant,
        Err(response) => return *response,
    };
    match stored::folder(Arc::clone(&shared), snapshot, path).await {
        Ok(folder) => with_view(&shared, |view| html(StatusCode::OK, page::folder(&view, &folder))),
        Err(why) => refusal(&shared, &why),
    }
}

async fn download(
    State(shared): Known,
    Path(snapshot): Path<String>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Response {
    let (snapshot, path) = match asked(&shared, &headers, "download", &snapshot, query.as_deref()) {
        Ok(meant) => meant,
        Err(response) => return *response,
    };
    let disposition = page::disposition(path.name());
    match stored::content(Arc::clone(&shared), snapshot, path).await {
        Ok(content) => {
            let mut response = plain(StatusCode::OK, "application/octet-stream", Body::from_stream(content));
            if let Ok(value) = HeaderValue::from_str(&disposition) {
                response.headers_mut().insert(header::CONTENT_DISPOSITION, value);
            }
            response
        }
        Err(why) => refusal(&shared, &why),
    }
}

#[cfg(test)]
mod tests {
    use super::{Arc, COOKIE, Clock, HeaderMap, Path, Response, State, api_job, field, front, way_back};

    #[test]
    fn a_browser_is_sent_back_to_a_snapshot_and_nowhere_else() {
        let good = "/browse/upload-20261121T020000Z?path=a%20b";
        assert_eq!(way_back(good), good);
        for bad in ["", "//evil.test/browse/", "https://evil.test", "/browse/a\r\nSet-Cookie: x", "/jobs/a/run"] {
            assert_eq!(way_back(bad), "/", "{bad:?}");
        }
    }

    #[test]
    fn a_field_of_a_form_is_read_once_and_whole_or_not_at_all() {
        assert_eq!(field(b"return=%2Fbrowse%2Fa&token=a%2Bb+c", "token").as_deref(), Some(&b"a+b c"[..]));
        assert_eq!(field(b"return=%2Fbrowse%2Fa", "return").as_deref(), Some(&b"/browse/a"[..]));
        for body in [&b"token=%"[..], b"token=%4", b"token=%zz", b"tokens=x", b""] {
            assert_eq!(field(body, "token"), None);
        }
    }

    /// Whoever reached the door saw up to a hundred names of files of each source.
    #[tokio::test]
    async fn names_of_files_are_told_only_to_those_who_have_the_token_or_a_session() {
        let folder = tempfile::tempdir().expect("a folder");
        let shared = crate::daemon::owner::tests::with_a_skipped_entry(folder.path(), "folder/secret-name");
        let session = shared.guard.open(shared.clock.since_start());
        let headers = |name: &'static str, value: String| {
            [(name.parse().expect("a name"), value.parse().expect("a value"))].into_iter().collect::<HeaderMap>()
        };
        let token = headers("authorization", format!("Bearer {}", crate::daemon::owner::tests::TOKEN));
        let session = headers("cookie", format!("{COOKIE}={session}"));
        let wrong = headers("authorization", "Bearer 0123456789abcdef0123456789".to_owned());
        let text = async |response: Response| {
            let body = axum::body::to_bytes(response.into_body(), 1 << 20).await.expect("a body");
            String::from_utf8(body.to_vec()).expect("UTF-8")
        };
        for (headers, is_named) in [(HeaderMap::new(), false), (wrong, false), (token, true), (session, true)] {
            let known = || State(Arc::clone(&shared));
            let page = text(front(known(), headers.clone()).await).await;
            let data = text(api_job(known(), Path("upload".to_owned()), headers.clone()).await).await;
            for (text, cause) in [(page, "could not be read"), (data, "\"cause\":\"unreadable\"")] {
                assert!(text.contains(cause), "that there is one, and why, is told: {headers:?} {text}");
                assert_eq!(text.contains("secret-name"), is_named, "{headers:?} {text}");
                assert_eq!(text.contains("no permission"), is_named, "{headers:?} {text}");
            }
        }
    }
}

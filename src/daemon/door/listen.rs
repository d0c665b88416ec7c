//! Connections with bounds: how many there are at once, and how long one may be silent.
//!
//! Whoever sends a request byte by byte, or does not take the answer, holds a place. So a request has a deadline as a
//! whole, a short one when places run out; the answer has one that is longer than the longest answer takes, and may not
//! trickle. There is one request a connection (`routes` says so in each answer): a connection that is kept for later
//! holds a place for nothing, and whoever asks here, a browser or a scraper, asks seldom. When all places are taken new
//! connections wait, for as long as the short deadline is.

use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, Sleep, sleep_until};

/// Connections at once. A browser has six, a scraper one.
const CONNECTIONS_MAX: usize = 64;

/// A request's head comes in so long as a whole, or the connection is closed.
const REQUEST_WITHIN: Duration = Duration::from_secs(10);

/// As long as fewer than a quarter of the places are free.
const REQUEST_WITHIN_IF_CROWDED: Duration = Duration::from_secs(1);

/// Without a byte of an answer for so long, a connection is closed.
const SILENT_MAX: Duration = Duration::from_secs(75);

/// An answer that is taken more slowly than this, in bytes a second, over all and beyond `SILENT_MAX`, is given up.
const RATE_MIN: u64 = 1 << 10;

/// A listener that takes only so many.
pub(super) struct Bounded {
    listener: TcpListener,
    places: Arc<Semaphore>,
}

impl Bounded {
    pub(super) fn new(listener: TcpListener) -> Self {
        Self { listener, places: Arc::new(Semaphore::new(CONNECTIONS_MAX)) }
    }
}

impl axum::serve::Listener for Bounded {
    type Io = Timed;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Timed, SocketAddr) {
        let place = Arc::clone(&self.places).acquire_owned().await.expect("the places are never closed");
        let (stream, address) = axum::serve::Listener::accept(&mut self.listener).await;
        let is_crowded = self.places.available_permits() < CONNECTIONS_MAX / 4;
        let patience = if is_crowded { REQUEST_WITHIN_IF_CROWDED } else { REQUEST_WITHIN };
        let deadline = Box::pin(sleep_until(Instant::now() + patience));
        (Timed { stream, deadline, head: Head::default(), asked: None, written: 0, _place: place }, address)
    }

    fn local_addr(&self) -> std::io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

/// Whoever has connected.
#[derive(Clone, Copy, Debug)]
pub(super) struct Peer(pub(super) SocketAddr);

impl axum::extract::connect_info::Connected<axum::serve::IncomingStream<'_, Bounded>> for Peer {
    fn connect_info(stream: axum::serve::IncomingStream<'_, Bounded>) -> Self {
        Self(*stream.remote_addr())
    }
}

/// Watches for the empty line that ends a request's head.
#[derive(Default)]
struct Head {
    has_begun: bool,
    line_feeds: u8,
}

impl Head {
    /// Whether the head ends in these bytes, which follow those of the calls before.
    fn ends_in(&mut self, bytes: &[u8]) -> bool {
        bytes.iter().any(|byte| {
            match byte {
                // empty lines before a request are no request
                b'\n' => self.line_feeds += u8::from(self.has_begun),
                b'\r' => {}
                _ => (self.has_begun, self.line_feeds) = (true, 0),
            }
            self.line_feeds == 2
        })
    }
}

/// A connection that ends when nothing is asked, or answered, for too long.
pub(super) struct Timed {
    stream: TcpStream,
    deadline: Pin<Box<Sleep>>,
    head: Head,
    /// Since when the head is there.
    asked: Option<Instant>,
    written: u64,
    _place: OwnedSemaphorePermit,
}

impl Timed {
    fn is_late(&mut self, context: &mut Context<'_>) -> bool {
        self.deadline.as_mut().poll(context).is_ready()
    }

    fn has_moved(&mut self, bytes: usize) {
        let now = Instant::now();
        self.written += bytes as u64;
        let slowest = *self.asked.get_or_insert(now) + SILENT_MAX + Duration::from_secs(self.written / RATE_MIN);
        self.deadline.as_mut().reset(slowest.min(now + SILENT_MAX));
    }
}

fn too_late<T>() -> Poll<std::io::Result<T>> {
    Poll::Ready(Err(std::io::ErrorKind::TimedOut.into()))
}

impl AsyncRead for Timed {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        let before = into.filled().len();
        let polled = Pin::new(&mut self.stream).poll_read(context, into);
        if self.asked.is_none() && self.head.ends_in(&into.filled()[before..]) {
            self.has_moved(0);
        }
        // a byte now and then is no request
        let may_wait = polled.is_ready() && self.asked.is_some();
        if !may_wait && self.is_late(context) { too_late() } else { polled }
    }
}

impl AsyncWrite for Timed {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<std::io::Result<usize>> {
        match Pin::new(&mut self.stream).poll_write(context, bytes) {
            Poll::Ready(written) => {
                self.has_moved(*written.as_ref().unwrap_or(&0));
                Poll::Ready(written)
            }
            Poll::Pending if self.is_late(context) => too_late(),
            Poll::Pending => Poll::Pending,
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use super::Head;

    #[test]
    fn a_head_ends_with_its_empty_line_however_it_is_cut_and_not_with_one_before_it() {
        let request = b"\r\n\r\nGET / HTTP/1.1\r\nHost: localhost\r\n\r\n";
        for cut in 0..request.len() {
            let mut head = Head::default();
            let (one, other) = request.split_at(cut);
            assert!(!head.ends_in(one), "{cut}");
            assert!(head.ends_in(other), "{cut}");
        }
        assert!(!Head::default().ends_in(&request[..request.len() - 1]));
        assert!(Head::default().ends_in(b"GET / HTTP/1.1\n\n"));
    }
}

//! HTTP/1.1 by hand: one request a connection, answered, dropped or left waiting.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::sync::Notify;

use super::{Answered, Asked, Fault, World};

/// No request of ours is longer.
const REQUEST_BYTES_MAX: usize = 1 << 20;

pub async fn open(world: Arc<Mutex<World>>, dies: Arc<Notify>, tls: Option<tokio_rustls::TlsAcceptor>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port of loopback");
    let address = listener.local_addr().expect("the port that was given");
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let (world, dies, tls) = (Arc::clone(&world), Arc::clone(&dies), tls.clone());
            tokio::spawn(async move {
                match tls {
                    None => serve(stream, &world, &dies).await,
                    Some(tls) => {
                        if let Ok(stream) = tls.accept(stream).await {
                            serve(stream, &world, &dies).await;
                        }
                    }
                }
            });
        }
    });
    address
}

async fn serve<S: AsyncRead + AsyncWrite + Unpin>(mut stream: S, world: &Mutex<World>, dies: &Notify) {
    let Some(asked) = read(&mut stream).await else { return };
    let (fault, answered) = {
        let mut world = world.lock().expect("no request has panicked");
        world.asked.push(asked.clone());
        let fault = world.faults.pop_front().flatten();
        let is_done =
            !matches!(fault, Some(Fault::Refuse(_) | Fault::Limit(..) | Fault::Redirect | Fault::Page | Fault::Reset));
        let answered = is_done.then(|| world.answer(&asked));
        (fault, answered)
    };
    let answered = match fault {
        None => answered.unwrap_or_else(|| Answered::empty(500)),
        Some(Fault::Refuse(status) | Fault::DoneThen(status)) => Answered::text(status, "<html>not now</html>"),
        Some(Fault::Limit(name, value)) => Answered { headers: vec![(name, value)], ..Answered::empty(429) },
        Some(Fault::Redirect) => {
            Answered { headers: vec![("Location", "https://elsewhere.test/".into())], ..Answered::empty(302) }
        }
        Some(Fault::Page) => Answered::text(200, "<html>Please sign in</html>"),
        Some(Fault::Reset | Fault::DoneThenReset) => return,
        Some(Fault::DoneThenClientDies) => {
            dies.notify_one();
            return std::future::pending().await;
        }
        Some(Fault::DoneThenSilent) => return std::future::pending().await,
    };
    let mut text = format!("HTTP/1.1 {} X\r\nConnection: close\r\n", answered.status);
    for (name, value) in &answered.headers {
        text.push_str(&format!("{name}: {value}\r\n"));
    }
    text.push_str(&format!("Content-Length: {}\r\n\r\n{}", answered.body.len(), answered.body));
    // a client that has gone away is its own business
    let _ = stream.write_all(text.as_bytes()).await;
    let _ = stream.shutdown().await;
}

async fn read<S: AsyncRead + Unpin>(stream: &mut S) -> Option<Asked> {
    let mut bytes = Vec::new();
    let head_end = loop {
        if let Some(at) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
            break at;
        }
        if stream.read_buf(&mut bytes).await.ok()? == 0 || bytes.len() > REQUEST_BYTES_MAX {
            return None;
        }
    };
    let head = String::from_utf8(bytes[..head_end].to_vec()).ok()?;
    let mut lines = head.split("\r\n");
    let mut first = lines.next()?.split(' ');
    let (method, target) = (first.next()?.to_owned(), first.next()?.to_owned());
    let headers: Vec<(String, String)> = lines
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
        .collect();
    let header = |wanted: &str| headers.iter().find(|(name, _)| name == wanted).map(|(_, value)| value.clone());
    let length: usize = header("content-length").and_then(|text| text.parse().ok()).unwrap_or(0);
    while bytes.len() < head_end + 4 + length {
        if stream.read_buf(&mut bytes).await.ok()? == 0 || bytes.len() > REQUEST_BYTES_MAX {
            return None;
        }
    }
    let (path, query) = target.split_once('?').unwrap_or((&target, ""));
    Some(Asked {
        method,
        path: path.to_owned(),
        query: query.to_owned(),
        authorization: header("authorization").unwrap_or_default(),
        content_type: header("content-type").unwrap_or_default(),
        body: String::from_utf8(bytes[head_end + 4..head_end + 4 + length].to_vec()).ok()?,
    })
}

//! Ears: servers on loopback that answer what a story tells them to, one connection after another, and remember what they
//! heard. Plain TCP, so that they can also answer nothing, hang up, or speak TLS with a certificate that is wrong.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

use rustls::pki_types::{CertificateDer, PrivateKeyDer};

/// What one connection is answered.
#[derive(Clone, Debug)]
pub enum Reply {
    /// A status, more header lines (each with its end), a body.
    Say(u16, &'static str, &'static str),
    /// The request is read whole, then the connection is closed without a word.
    HangUp,
    /// The request is read whole, and that is all.
    Silence,
}

/// What was heard.
#[derive(Clone, Debug)]
pub struct Heard {
    /// Method and path.
    pub line: String,
    /// The headers, names in lower case.
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Heard {
    pub fn header(&self, name: &str) -> &str {
        self.headers.iter().find(|(n, _)| n == name).map_or("", |(_, value)| value)
    }

    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).expect("JSON")
    }
}

/// A server; it ends with the test's process.
pub struct Ear {
    pub address: SocketAddr,
    heard: Arc<Mutex<Vec<Heard>>>,
}

impl Ear {
    /// Gives these replies in order, the last of them for ever.
    pub fn new(replies: &[Reply]) -> Self {
        Self::speaking(replies, None)
    }

    /// The same behind TLS.
    pub fn tls(certificate: CertificateDer<'static>, key: PrivateKeyDer<'static>) -> Self {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_no_client_auth()
            .with_single_cert(vec![certificate], key)
            .expect("a certificate");
        Self::speaking(&[Reply::Say(200, "", "ok")], Some(Arc::new(config)))
    }

    fn speaking(replies: &[Reply], tls: Option<Arc<rustls::ServerConfig>>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("its address");
        let heard = Arc::new(Mutex::new(Vec::new()));
        let (replies, notes) = (replies.to_vec(), Arc::clone(&heard));
        thread::spawn(move || {
            for (number, stream) in listener.incoming().enumerate() {
                let Ok(stream) = stream else { return };
                let reply = replies[number.min(replies.len() - 1)].clone();
                let (notes, tls) = (Arc::clone(&notes), tls.clone());
                thread::spawn(move || match tls {
                    None => answer(stream, &reply, &notes),
                    Some(config) => {
                        let connection = rustls::ServerConnection::new(config).expect("a connection");
                        answer(rustls::StreamOwned::new(connection, stream), &reply, &notes);
                    }
                });
            }
        });
        Self { address, heard }
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    pub fn heard(&self) -> Vec<Heard> {
        self.heard.lock().expect("no panic").clone()
    }
}

fn answer(stream: impl Read + Write, reply: &Reply, notes: &Mutex<Vec<Heard>>) {
    let mut reader = BufReader::new(stream);
    let Some(heard) = read_request(&mut reader) else { return };
    notes.lock().expect("no panic").push(heard);
    match reply {
        Reply::Say(status, headers, body) => {
            let text = format!(
                "HTTP/1.1 {status} X\r\ncontent-length: {}\r\n{headers}connection: close\r\n\r\n{body}",
                body.len()
            );
            let _ = reader.get_mut().write_all(text.as_bytes());
            let _ = reader.get_mut().flush();
            // the other side ends first, so that nothing is lost on the way
            let _ = reader.read(&mut [0]);
        }
        Reply::HangUp => {}
        Reply::Silence => {
            let _ = reader.read(&mut [0]);
        }
    }
}

fn read_request(reader: &mut impl BufRead) -> Option<Heard> {
    let mut line = String::new();
    reader.read_line(&mut line).ok().filter(|read| *read > 0)?;
    let line = line.trim_end().trim_end_matches(" HTTP/1.1").to_owned();
    let mut headers = Vec::new();
    loop {
        let mut header = String::new();
        reader.read_line(&mut header).ok()?;
        let Some((name, value)) = header.trim_end().split_once(':') else { break };
        headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
    }
    let length = headers.iter().find(|(name, _)| name == "content-length").map_or(0, |(_, v)| v.parse().unwrap_or(0));
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    Some(Heard { line, headers, body })
}

/// A mail server that says `after_data` when it has read a letter.
pub struct MailServer {
    pub address: SocketAddr,
    letters: Arc<Mutex<Vec<String>>>,
}

impl MailServer {
    pub fn new(after_data: &'static str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("its address");
        let letters = Arc::new(Mutex::new(Vec::new()));
        let notes = Arc::clone(&letters);
        thread::spawn(move || {
            for stream in listener.incoming() {
                let _ = mail(stream.expect("a connection"), after_data, &notes);
            }
        });
        Self { address, letters }
    }

    pub fn letters(&self) -> Vec<String> {
        self.letters.lock().expect("no panic").clone()
    }
}

fn mail(stream: TcpStream, after_data: &str, notes: &Mutex<Vec<String>>) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream);
    reader.get_mut().write_all(b"220 ear\r\n")?;
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line)? == 0 {
            return Ok(());
        }
        let answer = match line.split_whitespace().next().unwrap_or_default() {
            "EHLO" => "250-ear\r\n250 AUTH PLAIN\r\n".to_owned(),
            "AUTH" => "235 in\r\n".to_owned(),
            "DATA" => {
                reader.get_mut().write_all(b"354 go on\r\n")?;
                let mut letter = String::new();
                while !letter.ends_with("\r\n.\r\n") {
                    if reader.read_line(&mut letter)? == 0 {
                        return Ok(());
                    }
                }
                notes.lock().expect("no panic").push(letter);
                after_data.to_owned()
            }
            "QUIT" => {
                reader.get_mut().write_all(b"221 bye\r\n")?;
                return Ok(());
            }
            _ => "250 ok\r\n".to_owned(),
        };
        reader.get_mut().write_all(answer.as_bytes())?;
    }
}

//! E-mail over SMTP: one plain text to one or several people.
//!
//! The subject is one line without control characters, so that no name adds a header. `Message-ID` is made of the
//! message's id: a repeat is the same letter to a mailbox that looks. 4xx is tried again, and so is a login that
//! was refused; any other 5xx is not.
//!
//! Nothing that the server says is shown but its code: some repeat the user's name or the password's first letters.

use std::time::Duration;

use jiff::Timestamp;
use lettre::message::header::ContentType;
use lettre::message::{Mailbox, MessageBuilder};
use lettre::transport::smtp::authentication::Credentials;
use lettre::transport::smtp::client::{Certificate, Tls, TlsParameters};
use lettre::{AsyncSmtpTransport, AsyncTransport, Tokio1Executor};

use super::channel::Delivery;
use super::template::Templates;
use super::words::{Words, clip};
use crate::domain::Secret;
use crate::report::Message;

/// SMTP's answers to a login that is missing, too weak or wrong (RFC 4954, 6).
const LOGIN_REFUSED: [&str; 4] = ["530", "534", "535", "538"];

/// How the line to the server is protected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protection {
    /// Plain at first, then TLS or nothing is sent (port 587).
    StartTls,
    /// TLS from the first byte (port 465).
    Tls,
    /// None (port 25): for a server on this machine or in a private network.
    Off,
}

/// A server and who is written to.
#[derive(Clone, Debug)]
pub struct Email {
    /// The server's name.
    pub host: String,
    /// If it is not the usual one.
    pub port: Option<u16>,
    /// How the line is protected.
    pub protection: Protection,
    /// Who we are there.
    pub login: Option<(String, Secret)>,
    /// From whom.
    pub from: Mailbox,
    /// To whom; at least one.
    pub to: Vec<Mailbox>,
    /// Certificates in PEM that are trusted besides the built-in ones.
    pub extra_roots: Option<Vec<u8>>,
    /// For one attempt.
    pub timeout: Duration,
    /// Words of one's own.
    pub templates: Templates,
}

impl Email {
    /// Tries once.
    pub async fn deliver(&self, message: &Message, now: Timestamp) -> Delivery {
        let letter = match self.letter(message, now) {
            Ok(letter) => letter,
            Err(why) => return Delivery::Never { why },
        };
        let Ok(transport) = self.transport() else {
            return Delivery::once_mended(
                "the certificates given for e-mail are none: correct notify.ca_file".to_owned(),
            );
        };
        match tokio::time::timeout(self.timeout, transport.send(letter)).await {
            Ok(Ok(answer)) => Delivery::Delivered { answer: answer.code().to_string() },
            Ok(Err(error)) => self.refused(&error),
            Err(_) => Delivery::later(format!("{} did not answer in time", self.host)),
        }
    }

    fn refused(&self, error: &lettre::transport::smtp::Error) -> Delivery {
        let host = &self.host;
        match error.status() {
            // RFC 4954: who we are was not believed, or not told
            Some(code) if LOGIN_REFUSED.contains(&code.to_string().as_str()) => Delivery::once_mended(format!(
                "{host} answered {code}: check the user, the password and whether it wants a protected line"
            )),
            Some(code) if error.is_permanent() => Delivery::Never { why: format!("{host} answered {code}") },
            Some(code) => Delivery::later(format!("{host} answered {code}")),
            None if error.is_tls() => Delivery::later(format!("no protected line to {host} could be made")),
            None if error.is_timeout() => Delivery::later(format!("{host} did not answer in time")),
            None if error.is_client() => {
                Delivery::later(format!("{host} does not offer what is needed to write there"))
            }
            None => Delivery::later(format!("the connection to {host} failed")),
        }
    }

    fn transport(&self) -> Result<AsyncSmtpTransport<Tokio1Executor>, lettre::transport::smtp::Error> {
        let mut parameters = TlsParameters::builder(self.host.clone());
        if let Some(pem) = &self.extra_roots {
            parameters = parameters.add_root_certificate(Certificate::from_pem(pem)?);
        }
        let (tls, port) = match self.protection {
            Protection::StartTls => (Tls::Required(parameters.build_rustls()?), 587),
            Protection::Tls => (Tls::Wrapper(parameters.build_rustls()?), 465),
            Protection::Off => (Tls::None, 25),
        };
        let mut builder = AsyncSmtpTransport::<Tokio1Executor>::builder_dangerous(self.host.clone())
            .port(self.port.unwrap_or(port))
            .tls(tls)
            .timeout(Some(self.timeout));
        if let Some((user, password)) = &self.login {
            builder = builder.credentials(Credentials::new(user.clone(), password.reveal().to_owned()));
        }
        Ok(builder.build())
    }

    fn letter(&self, message: &Message, now: Timestamp) -> Result<lettre::Message, String> {
        let words = Words::of(message);
        let filled = self.templates.fill(message, &words);
        let mut body = filled.body.unwrap_or_else(|| words.body());
        if let Some(note) = &filled.note {
            body.push_str(&format!("\n\n{note}"));
        }
        let mut builder = MessageBuilder::new()
            .from(self.from.clone())
            .subject(clip(&format!("[backup] {}", filled.title), 200))
            .message_id(Some(format!("<{}@backup.invalid>", message.id)))
            .date(now.into())
            .header(ContentType::TEXT_PLAIN);
        for to in &self.to {
            builder = builder.to(to.clone());
        }
        builder.body(body).map_err(|_| "no letter could be made of the configured addresses".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::super::words::tests::{HOSTILE, message};
    use super::{Duration, Email, Protection, Secret, Templates};
    use crate::report::Kind;

    fn email() -> Email {
        Email {
            host: "mail.example".to_owned(),
            port: None,
            protection: Protection::StartTls,
            login: Some(("user".to_owned(), Secret::new("canary"))),
            from: "backup@example.org".parse().expect("a mailbox"),
            to: vec!["ops@example.org".parse().expect("a mailbox")],
            extra_roots: None,
            timeout: Duration::from_secs(1),
            templates: Templates::default(),
        }
    }

    #[test]
    fn no_name_adds_a_header_to_a_letter() {
        for name in HOSTILE.into_iter().chain(["x\r\nBcc: evil@example.org", "x\u{0}\u{7f}y"]) {
            let mut told = message(Kind::Failed);
            told.host.0 = name.to_owned();
            let templates = Templates { title: Some("{{ host }}".to_owned()), body: None };
            for email in [email(), Email { templates, ..email() }] {
                let letter = email.letter(&told, told.at).expect("a letter").formatted();
                let text = String::from_utf8(letter).expect("a letter is ASCII or UTF-8");
                let (head, _) = text.split_once("\r\n\r\n").expect("a head");
                let names: Vec<&str> = head
                    .split("\r\n")
                    .filter(|line| !line.starts_with(' '))
                    .filter_map(|l| l.split(": ").next())
                    .collect();
                assert_eq!(names.iter().filter(|name| **name == "Bcc").count(), 0, "{head}");
                assert!(
                    names.iter().all(|name| name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')),
                    "{head}"
                );
                assert!(head.contains(&format!("<{}@backup.invalid>", told.id)), "{head}");
            }
        }
        assert!(!format!("{:?}", email()).contains("canary"));
    }
}

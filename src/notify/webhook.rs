//! A webhook for programs: the message as JSON, signed.
//!
//! `POST` of the JSON of [`Message`] with three headers: `X-Backup-Id` (the same in every attempt: for receivers that can
//! tell repeats), `X-Backup-Timestamp` (seconds since 1970, of this attempt), and, if there is a secret,
//! `X-Backup-Signature: sha256=<hex>`, the HMAC-SHA256 of `<timestamp>.<body>`. Whoever receives it computes the same,
//! compares in constant time, and refuses timestamps that are far from its own clock. 200 to 299 is delivered.

use hmac::{Hmac, KeyInit, Mac};
use jiff::Timestamp;
use sha2::Sha256;

use super::channel::Delivery;
use super::http::{Address, Answer, Http, HttpError, Method, Request};
use crate::domain::Secret;
use crate::report::Message;

/// A receiver.
#[derive(Clone, Debug)]
pub struct Webhook {
    /// May hold a token, so it is shown to nobody.
    pub address: Address,
    /// The key of the signature.
    pub secret: Option<Secret>,
}

impl Webhook {
    /// Tries once.
    pub async fn deliver(&self, http: &Http, message: &Message, now: Timestamp) -> Delivery {
        let body = serde_json::to_vec(message).expect("a message is plain values");
        let timestamp = now.as_second().to_string();
        let mut request = Request::new(Method::Post, self.address.clone())
            .header("x-backup-id", Secret::new(&message.id))
            .header("x-backup-timestamp", Secret::new(&timestamp));
        if let Some(secret) = &self.secret {
            request = request.header("x-backup-signature", Secret::new(&signature(secret, &timestamp, &body)));
        }
        read_answer(http.send(request.body("application/json", body)).await, "the webhook", now)
    }
}

/// `sha256=` and 64 hex digits.
fn signature(secret: &Secret, timestamp: &str, body: &[u8]) -> String {
    let mut mac =
        Hmac::<Sha256>::new_from_slice(secret.reveal().as_bytes()).expect("an HMAC takes a key of any length");
    for part in [timestamp.as_bytes(), b".", body] {
        mac.update(part);
    }
    let hex: String = mac.finalize().into_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256={hex}")
}

/// What a status means where only the status counts. The body is not shown: it may repeat the address.
pub(super) fn read_answer(answer: Result<Answer, HttpError>, who: &str, now: Timestamp) -> Delivery {
    match answer {
        Err(error) => Delivery::later(error.to_string()),
        Ok(answer) if answer.is_good() => Delivery::Delivered { answer: answer.status.to_string() },
        Ok(answer) => {
            let why = format!("{who} answered {}", answer.status);
            match answer.status {
                300..=399 => Delivery::once_mended(format!("{why}; redirects are not followed: correct its address")),
                401 | 403 | 407 => Delivery::once_mended(format!("{why}: check its address, its secret and the proxy")),
                404 | 405 | 410 => Delivery::once_mended(format!("{why}: check its address")),
                _ if answer.is_for_later() => Delivery::Later { why, wait: answer.wait(now) },
                _ => Delivery::Never { why },
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::channel::Wait;
    use super::{Answer, Delivery, Secret, Timestamp, read_answer, signature};

    #[test]
    fn what_a_person_can_mend_waits_and_what_the_receiver_will_not_have_does_not() {
        let read = |status| {
            let answer = Answer { status, retry_after: None, body: String::new(), is_cut: false };
            read_answer(Ok(answer), "the receiver", Timestamp::UNIX_EPOCH)
        };
        for status in [301, 307, 401, 403, 404, 405, 407, 410] {
            let Delivery::Later { why, wait } = read(status) else { panic!("{status} is for ever") };
            assert!(wait == Wait::Mended && why.contains(&status.to_string()), "{why}");
        }
        for status in [408, 425, 429, 500, 503] {
            assert!(matches!(read(status), Delivery::Later { wait: Wait::Growing, .. }), "{status}");
        }
        for status in [400, 413, 415, 422] {
            assert!(matches!(read(status), Delivery::Never { .. }), "{status}");
        }
        assert!(matches!(read(204), Delivery::Delivered { .. }));
    }

    #[test]
    fn the_signature_is_the_documented_one() {
        // printf '1790000000.{}' | openssl dgst -sha256 -hmac key
        let expected = "sha256=099d33989336226b12c85da813adf6100e1bbab1e91bede9a41ddeb7882d66b8";
        assert_eq!(signature(&Secret::new("key"), "1790000000", b"{}"), expected);
        assert_ne!(signature(&Secret::new("key"), "1790000001", b"{}"), expected);
        assert_ne!(signature(&Secret::new("other"), "1790000000", b"{}"), expected);
    }
}

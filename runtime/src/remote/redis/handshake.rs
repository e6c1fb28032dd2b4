//! What is said first on a new connection, without doing any I/O.
//!
//! HELLO introduces, authenticates and asks for RESP3 in one round trip. Servers before Redis 6, and proxies that do not know
//! it, are asked the old way and answer in RESP2, which the reader reads as well.

use super::protocol::{Reply, error_text};
use super::{Endpoint, malformed};
use crate::error::{Error, ErrorCode, Result};

/// How far the introduction has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Asked {
    Hello,
    Authentication,
    Database,
}

/// The introduction on one connection.
#[derive(Debug)]
pub(super) struct Handshake {
    endpoint: Endpoint,
    asked: Asked,
}

/// What follows a reply.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// Send this, and wait for one more reply.
    Send(Vec<u8>),
    /// The connection is ready.
    Ready,
}

impl Handshake {
    /// A new introduction, and the bytes that open it.
    pub(super) fn begin(endpoint: &Endpoint) -> (Self, Vec<u8>) {
        let mut hello = redis::cmd("HELLO");
        hello.arg(3);
        if let Some(password) = endpoint.password() {
            hello
                .arg("AUTH")
                .arg(endpoint.user().unwrap_or("default"))
                .arg(password);
        }
        hello.arg("SETNAME").arg("cachekit");
        (
            Self {
                endpoint: endpoint.clone(),
                asked: Asked::Hello,
            },
            hello.get_packed_command(),
        )
    }

    /// Takes the reply to what was sent last.
    pub(super) fn reply(&mut self, reply: &Reply) -> Result<Next> {
        match (self.asked, reply) {
            (Asked::Hello, Reply::Map(_) | Reply::Array(_))
            | (Asked::Authentication, Reply::Text(_)) => Ok(self.choose_database()),
            (Asked::Hello, Reply::Error(text)) if is_unknown(text) => Ok(self
                .authenticate()
                .unwrap_or_else(|| self.choose_database())),
            (Asked::Database, Reply::Text(_)) => Ok(Next::Ready),
            (_, Reply::Error(text)) => Err(self.refused(text)),
            (_, other) => {
                let reason = format_args!("the reply to {} is {}", self.operation(), other.kind());
                Err(malformed(&self.endpoint, reason))
            }
        }
    }

    fn operation(&self) -> &'static str {
        match self.asked {
            Asked::Hello => "hello",
            Asked::Authentication => "authentication",
            Asked::Database => "select",
        }
    }

    fn authenticate(&mut self) -> Option<Next> {
        let password = self.endpoint.password()?;
        let mut auth = redis::cmd("AUTH");
        if let Some(user) = self.endpoint.user() {
            auth.arg(user);
        }
        auth.arg(password);
        self.asked = Asked::Authentication;
        Some(Next::Send(auth.get_packed_command()))
    }

    fn choose_database(&mut self) -> Next {
        if self.endpoint.database() == 0 {
            return Next::Ready;
        }
        self.asked = Asked::Database;
        Next::Send(
            redis::cmd("SELECT")
                .arg(self.endpoint.database())
                .get_packed_command(),
        )
    }

    fn refused(&self, text: &[u8]) -> Error {
        Error::new(ErrorCode::RemoteRefused)
            .with("remote", &self.endpoint)
            .with("operation", self.operation())
            .with("reason", self.endpoint.redact(&error_text(text)))
    }
}

/// Whether the server knows no HELLO, or no RESP3.
fn is_unknown(text: &[u8]) -> bool {
    let text = error_text(text).to_ascii_lowercase();
    text.contains("unknown command") || text.starts_with("noproto")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(text: &'static str) -> Reply {
        Reply::Error(text.into())
    }

    fn ok() -> Reply {
        Reply::Text("OK".into())
    }

    #[test]
    fn an_old_server_is_asked_the_old_way() {
        let endpoint: Endpoint = "redis://user:secret@host/4".parse().unwrap();
        let (mut handshake, hello) = Handshake::begin(&endpoint);
        let hello = String::from_utf8(hello).unwrap();
        assert!(
            hello.contains("AUTH\r\n$4\r\nuser\r\n$6\r\nsecret\r\n"),
            "{hello}"
        );
        let unknown =
            "ERR unknown command 'HELLO', with args beginning with: '3' 'AUTH' 'user' 'secret' ";
        let Next::Send(auth) = handshake.reply(&error(unknown)).unwrap() else {
            panic!()
        };
        assert_eq!(auth, b"*3\r\n$4\r\nAUTH\r\n$4\r\nuser\r\n$6\r\nsecret\r\n");
        let Next::Send(select) = handshake.reply(&ok()).unwrap() else {
            panic!()
        };
        assert_eq!(select, b"*2\r\n$6\r\nSELECT\r\n$1\r\n4\r\n");
        assert_eq!(handshake.reply(&ok()).unwrap(), Next::Ready);
    }

    #[test]
    fn without_credentials_and_database_one_reply_is_enough() {
        let endpoint: Endpoint = "redis://host".parse().unwrap();
        for reply in [
            Reply::Map(vec![]),
            error("NOPROTO unsupported protocol version"),
        ] {
            let (mut handshake, _) = Handshake::begin(&endpoint);
            assert_eq!(handshake.reply(&reply).unwrap(), Next::Ready);
        }
    }

    #[test]
    fn the_password_is_not_repeated() {
        let endpoint: Endpoint = "redis://:hunter2@host".parse().unwrap();
        for text in [
            "WRONGPASS invalid password hunter2",
            "ERR no, with args beginning with: 'hun",
        ] {
            let (mut handshake, _) = Handshake::begin(&endpoint);
            let refused = handshake.reply(&error(text)).unwrap_err();
            assert_eq!(refused.code(), ErrorCode::RemoteRefused);
            assert!(
                !format!("{refused} {refused:?}").contains("hun"),
                "{refused}"
            );
        }
    }

    #[test]
    fn anything_else_is_no_redis() {
        let (mut handshake, _) = Handshake::begin(&"redis://host".parse().unwrap());
        assert_eq!(
            handshake.reply(&ok()).unwrap_err().code(),
            ErrorCode::RemoteProtocol
        );
    }
}

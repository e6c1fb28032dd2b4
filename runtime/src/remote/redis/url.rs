//! Where a Redis server is and how to introduce oneself, from a URL.
//!
//! The `redis` crate takes the URL apart; this module refuses what it would accept and we cannot do, says so in words
//! that never contain the password, and keeps the password where no `Debug` or `Display` shows it.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;

use redis::{ConnectionAddr, IntoConnectionInfo};

use crate::error::{Error, ErrorCode, Result};

/// Where a server listens.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Address {
    /// A host, by name or by number without brackets, and a port.
    Tcp(String, u16),
    /// The path of a Unix socket.
    Unix(PathBuf),
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(host, port) if host.contains(':') => write!(f, "redis://[{host}]:{port}"),
            Self::Tcp(host, port) => write!(f, "redis://{host}:{port}"),
            Self::Unix(path) => write!(f, "unix://{}", path.display()),
        }
    }
}

/// One Redis server: its address, its database, and the credentials. Cheap to clone.
///
/// Parsed from `redis://[user[:password]@]host[:port][/db]` or `unix:///path?db=N`. Other parameters in the query are
/// not looked at: one `REDIS_URL` serves several libraries.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Endpoint(Arc<Parts>);

#[derive(PartialEq, Eq, Hash)]
struct Parts {
    address: Address,
    database: u32,
    user: Option<String>,
    password: Option<String>,
}

impl Endpoint {
    /// The server at `address`, database 0, no credentials.
    pub fn new(address: Address) -> Self {
        Self(Arc::new(Parts {
            address,
            database: 0,
            user: None,
            password: None,
        }))
    }

    /// Where it listens.
    pub fn address(&self) -> &Address {
        &self.0.address
    }

    /// The database that is selected.
    pub fn database(&self) -> u32 {
        self.0.database
    }

    pub(super) fn user(&self) -> Option<&str> {
        self.0.user.as_deref()
    }

    pub(super) fn password(&self) -> Option<&str> {
        self.0.password.as_deref()
    }

    /// `text` of a server without the password, which some repeat.
    pub(super) fn redact(&self, text: &str) -> String {
        self.password()
            .map_or_else(|| text.to_owned(), |password| text.replace(password, "..."))
    }
}

impl FromStr for Endpoint {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let refuse = |reason: &str| {
            Error::new(ErrorCode::BackendInvalid)
                .with("backend", without_credentials(text))
                .with("reason", reason)
        };
        let url = redis::parse_redis_url(text).ok_or_else(|| {
            refuse("it is not a URL of the form redis://[user[:password]@]host[:port][/db] or unix:///path?db=N")
        })?;
        if matches!(url.scheme(), "rediss" | "valkeys") {
            return Err(refuse(
                "connections through TLS are not supported; use redis:// or unix://",
            ));
        }
        // As Python's own client takes them, for either kind of address.
        let parameter = |wanted: &str| {
            url.query_pairs()
                .find(|(name, _)| name == wanted)
                .map(|(_, value)| value.into_owned())
        };
        let in_query = parameter("db");
        let (user_in_query, password_in_query) = (parameter("username"), parameter("password"));
        let info = url.into_connection_info().map_err(|error| {
            // What stands before the dash is fixed text; what follows may quote the URL.
            let text = error.to_string();
            refuse(&text.split(" - ").next().unwrap_or_default().to_lowercase())
        })?;
        let address = match info.addr() {
            ConnectionAddr::Tcp(host, port) => Address::Tcp(host.clone(), *port),
            ConnectionAddr::Unix(path) => Address::Unix(path.clone()),
            _ => return Err(refuse("connections of this kind are not supported")),
        };
        let settings = info.redis_settings();
        let database = match (settings.db(), in_query) {
            (0, Some(text)) => text.parse().ok(),
            (number, _) => u32::try_from(number).ok(),
        };
        let database = database.ok_or_else(|| refuse("its database is not a number from 0 up"))?;
        let user = settings
            .username()
            .map(str::to_owned)
            .or(user_in_query.filter(|text| !text.is_empty()));
        let password = settings
            .password()
            .map(str::to_owned)
            .or(password_in_query)
            .filter(|text| !text.is_empty());
        if user.is_some() && password.is_none() {
            return Err(refuse(
                "it has a user but no password; a password alone is written redis://:password@host",
            ));
        }
        Ok(Self(Arc::new(Parts {
            address,
            database,
            user,
            password,
        })))
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.0.address, self.0.database) {
            (address, 0) => write!(f, "{address}"),
            (address @ Address::Tcp(..), database) => write!(f, "{address}/{database}"),
            (address @ Address::Unix(_), database) => write!(f, "{address}?db={database}"),
        }
    }
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Endpoint({self})")
    }
}

/// `text` with everything left out that could be a user, a password or a parameter.
fn without_credentials(text: &str) -> String {
    let (scheme, rest) = text.split_once("://").unwrap_or(("", text));
    let host = match rest.rsplit_once('@') {
        // Whether this `@` ends credentials or stands in a parameter cannot be told.
        Some((before, _)) if before.contains(['?', '#']) => "...",
        Some((_, host)) => host,
        None => rest,
    };
    let host = host.split(['?', '#']).next().unwrap_or_default();
    if scheme.is_empty() {
        host.to_owned()
    } else {
        format!("{scheme}://{host}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Endpoint {
        text.parse().unwrap()
    }

    #[test]
    fn addresses() {
        let full = parse("redis://us%40er:p%2Fw@cache.example:7000/3");
        assert_eq!(
            full.address(),
            &Address::Tcp("cache.example".to_owned(), 7000)
        );
        assert_eq!(
            (full.database(), full.user(), full.password()),
            (3, Some("us@er"), Some("p/w"))
        );

        let short = parse("redis://localhost");
        assert_eq!(short.address(), &Address::Tcp("localhost".to_owned(), 6379));
        assert_eq!(
            (short.database(), short.user(), short.password()),
            (0, None, None)
        );

        let password = parse("redis://:secret@[::1]:6380?db=7&decode_responses=True");
        assert_eq!(password.address(), &Address::Tcp("::1".to_owned(), 6380));
        assert_eq!((password.database(), password.user()), (7, None));
        assert_eq!(password.to_string(), "redis://[::1]:6380/7");

        for address in ["redis://host/1", "unix:///run/redis.sock"] {
            let named = parse(&format!("{address}?username=me&password=p%2Fw"));
            assert_eq!((named.user(), named.password()), (Some("me"), Some("p/w")));
        }

        let unix = parse("unix:///run/redis%20a.sock?db=2");
        assert_eq!(unix.address(), &Address::Unix("/run/redis a.sock".into()));
        assert_eq!(
            (unix.database(), unix.to_string().as_str()),
            (2, "unix:///run/redis a.sock?db=2")
        );
    }

    #[test]
    fn the_password_is_never_shown() {
        for text in [
            "redis://user:hunter2@host:1/0",
            "rediss://user:hunter2@host",
            "redis://user:hunter2@host/notanumber",
            "redis://user:hunter2@host/-1",
            "redis://user:hunter2@host:99999",
            "redis://:hunter2?x@host",
            "unix:///x?db=q&pass=hunter2",
            "unix:///x?db=q&pass=a@hunter2",
            "redis://host?password=hunter2",
            "redis://host?db=q&username=hunter2&password=hunter2",
            "http://user:hunter2@host",
            "user:hunter2@host",
        ] {
            let shown = match text.parse::<Endpoint>() {
                Ok(endpoint) => format!("{endpoint} {endpoint:?}"),
                Err(error) => {
                    assert_eq!(error.code(), ErrorCode::BackendInvalid, "{text}");
                    format!("{error} {error:?}")
                }
            };
            assert!(!shown.contains("hunter2"), "{text}: {shown}");
        }
    }

    #[test]
    fn what_we_cannot_do_is_said() {
        let reason = |text: &str| text.parse::<Endpoint>().unwrap_err().to_string();
        assert!(reason("rediss://host").contains("TLS"));
        assert!(reason("redis://name@host").contains("no password"));
        assert!(reason("redis://host/x").contains("invalid database number"));
        assert!(reason("redis://host?db=x").contains("its database"));
        assert!(reason("memcached://host").contains("redis://[user"));
    }
}

//! What all doors have in common before they listen to anybody: authentication, TLS, and how long a log-in may take.

use std::io;
use std::net::IpAddr;
use std::time::Duration;

use tokio::net::TcpStream;

use super::auth::{Auth, AuthError, Peer};
use super::tls::{HANDSHAKE, Inside, MaybeTls, Tls, TlsError};
use crate::config::{AuthConfig, TlsConfig};

/// Wrong settings of `[auth]` or `[tls]`: for the operator to put right.
#[derive(Debug, thiserror::Error)]
pub enum SecurityError {
    #[error(transparent)]
    Auth(#[from] AuthError),
    #[error(transparent)]
    Tls(#[from] TlsError),
}

#[derive(Debug)]
pub struct Security {
    pub auth: Auth,
    pub tls: Option<Tls>,
    pub require_tls: bool,
    /// From the connection to the end of the log-in.
    pub timeout: Duration,
}

impl Security {
    pub fn open(auth: &AuthConfig, tls: &TlsConfig) -> Result<Security, SecurityError> {
        let (require_tls, timeout) = (tls.require_tls, auth.timeout.0);
        let (auth, tls) = (Auth::open(auth)?, Tls::open(tls)?);
        if auth.asks_for_certificates() && !tls.as_ref().is_some_and(Tls::has_client_ca) {
            return Err(AuthError::NoClientCa.into());
        }
        Ok(Security {
            auth,
            tls,
            require_tls,
            timeout,
        })
    }
    /// A new connection, in TLS if the client begins with that, and who is at its other end.
    pub async fn accept(&self, socket: TcpStream, address: IpAddr, inside: Inside) -> io::Result<(MaybeTls, Peer)> {
        if let Some(tls) = &self.tls {
            let mut first = [0];
            if socket.peek(&mut first).await? == 1 && first[0] == HANDSHAKE {
                let (stream, tls) = tls.accept(socket, inside, false).await?;
                let tls = Some(tls);
                return Ok((stream, Peer { address, tls }));
            }
        }
        Ok((MaybeTls::Plain(socket), Peer { address, tls: None }))
    }
}

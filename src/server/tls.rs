//! TLS by rustls with one provider of cryptography (ring), for every door.
//!
//! Files are looked at before each handshake: a new certificate holds for the connections that come after it. One that cannot be used is not
//! taken; the one before holds, and the log says why. Connections that are open go on with what they began with.

use std::io;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use ring::digest;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig, SupportedProtocolVersion};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use x509_certificate::{SignatureAlgorithm, X509Certificate};

use super::auth::TlsPeer;
use super::watched::Stamp;
use crate::config::{TlsConfig, TlsVersion};
use crate::telemetry::error_chain;

/// The first byte of TLS: a handshake record. No startup message and no HTTP method begins with it.
pub(super) const HANDSHAKE: u8 = 0x16;

/// Why TLS cannot be spoken as the settings say.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    #[error("[tls] {key} is not set, and [tls] {because} is: TLS takes a certificate and its key")]
    Missing { key: &'static str, because: &'static str },
    #[error("[tls] {key}: cannot read {}", path.display())]
    Unreadable {
        key: &'static str,
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("[tls] {key}: {} has no {what} in PEM form", path.display())]
    Nothing {
        key: &'static str,
        path: PathBuf,
        what: &'static str,
    },
    #[error("[tls] {key}: {} is not PEM as it should be: {message}", path.display())]
    Malformed {
        key: &'static str,
        path: PathBuf,
        message: String,
    },
    #[error("[tls] key: {} is not the key of the certificate in {}", key.display(), certificate.display())]
    OtherKey { key: PathBuf, certificate: PathBuf },
    #[error("[tls] certificate: {} and its key cannot be used: {message}", path.display())]
    Unusable { path: PathBuf, message: String },
    #[error("[tls] client_ca: the certificates of {} cannot be used: {message}", path.display())]
    UnusableCa { path: PathBuf, message: String },
}

/// What is spoken inside, as ALPN names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Inside {
    Postgres,
    Http,
    Grpc,
}

impl Inside {
    fn name(self) -> &'static [u8] {
        match self {
            Inside::Postgres => b"postgresql",
            Inside::Http => b"http/1.1",
            Inside::Grpc => b"h2",
        }
    }
}

/// One state of the files.
#[derive(Debug)]
struct Loaded {
    postgres: Arc<ServerConfig>,
    http: Arc<ServerConfig>,
    grpc: Arc<ServerConfig>,
    end_point: Option<Vec<u8>>,
}

type Stamps = [Option<Stamp>; 3];

/// Certificate, key, and whose certificates of clients are believed.
#[derive(Debug)]
pub struct Tls {
    certificate: PathBuf,
    key: PathBuf,
    client_ca: Option<PathBuf>,
    min_version: TlsVersion,
    state: Mutex<(Stamps, Arc<Loaded>)>,
}

impl Tls {
    /// `None` without a certificate.
    pub fn open(config: &TlsConfig) -> Result<Option<Tls>, TlsError> {
        let missing = |key, because| Err(TlsError::Missing { key, because });
        match (config.certificate.as_str(), config.key.as_str()) {
            ("", "") if !config.client_ca.is_empty() => return missing("certificate", "client_ca"),
            ("", "") if config.require_tls => return missing("certificate", "require_tls"),
            ("", "") => return Ok(None),
            ("", _) => return missing("certificate", "key"),
            (_, "") => return missing("key", "certificate"),
            _ => {}
        }
        let (certificate, key) = (PathBuf::from(&config.certificate), PathBuf::from(&config.key));
        let client_ca = (!config.client_ca.is_empty()).then(|| PathBuf::from(&config.client_ca));
        let stamps = stamps(&certificate, &key, client_ca.as_deref());
        let loaded = load(&certificate, &key, client_ca.as_deref(), config.min_version)?;
        Ok(Some(Tls {
            certificate,
            key,
            client_ca,
            min_version: config.min_version,
            state: Mutex::new((stamps, Arc::new(loaded))),
        }))
    }

    fn current(&self) -> Arc<Loaded> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let client_ca = self.client_ca.as_deref();
        let stamps = stamps(&self.certificate, &self.key, client_ca);
        if stamps != state.0 {
            match load(&self.certificate, &self.key, client_ca, self.min_version) {
                Ok(loaded) => {
                    tracing::info!(certificate = %self.certificate.display(), "read the certificate again");
                    state.1 = Arc::new(loaded);
                }
                Err(error) => {
                    let error = error_chain(&error);
                    tracing::warn!(error, "the new certificate is not taken; the one before still holds");
                }
            }
            // A mistake is said once for each state of the files.
            state.0 = stamps;
        }
        Arc::clone(&state.1)
    }

    /// The server's side of a handshake. `must_agree`: the client has to name what is spoken inside, as ALPN does.
    pub async fn accept(&self, socket: TcpStream, inside: Inside, must_agree: bool) -> io::Result<(MaybeTls, TlsPeer)> {
        let loaded = self.current();
        let config = match inside {
            Inside::Postgres => Arc::clone(&loaded.postgres),
            Inside::Http => Arc::clone(&loaded.http),
            Inside::Grpc => Arc::clone(&loaded.grpc),
        };
        let stream = TlsAcceptor::from(config).accept(socket).await?;
        let (_, connection) = stream.get_ref();
        if must_agree && connection.alpn_protocol() != Some(inside.name()) {
            return Err(io::Error::other("the client did not name the protocol inside of TLS"));
        }
        let certificate = connection.peer_certificates().and_then(|chain| chain.first());
        let peer = TlsPeer {
            client_name: certificate.and_then(common_name),
            end_point: loaded.end_point.clone(),
        };
        Ok((MaybeTls::Tls(Box::new(stream)), peer))
    }

    pub fn has_client_ca(&self) -> bool {
        self.client_ca.is_some()
    }
}

fn common_name(certificate: &CertificateDer<'_>) -> Option<String> {
    X509Certificate::from_der(certificate).ok()?.subject_common_name()
}

fn stamps(certificate: &Path, key: &Path, client_ca: Option<&Path>) -> Stamps {
    [Stamp::of(certificate), Stamp::of(key), client_ca.and_then(Stamp::of)]
}

fn load(certificate: &Path, key: &Path, client_ca: Option<&Path>, min: TlsVersion) -> Result<Loaded, TlsError> {
    let chain = certificates("certificate", certificate)?;
    let private_key = match PrivateKeyDer::from_pem_slice(&read("key", key)?) {
        Ok(private_key) => private_key,
        Err(pem::Error::NoItemsFound) => {
            return Err(TlsError::Nothing {
                key: "key",
                path: key.to_owned(),
                what: "private key without a password",
            });
        }
        Err(error) => return Err(malformed("key", key, &error)),
    };
    if Stamp::of(key).is_some_and(|stamp| stamp.is_public) {
        tracing::warn!(path = %key.display(), "everybody on this machine can read the key of the certificate; chmod 600 it");
    }
    let versions: &[&SupportedProtocolVersion] = match min {
        TlsVersion::Tls12 => &[&rustls::version::TLS12, &rustls::version::TLS13],
        TlsVersion::Tls13 => &[&rustls::version::TLS13],
    };
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let unusable = |error: rustls::Error| TlsError::Unusable {
        path: certificate.to_owned(),
        message: error.to_string(),
    };
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(versions)
        .map_err(unusable)?;
    let builder = match client_ca {
        None => builder.with_no_client_auth(),
        Some(path) => {
            let unusable = |message: String| TlsError::UnusableCa {
                path: path.to_owned(),
                message,
            };
            let mut roots = RootCertStore::empty();
            for root in certificates("client_ca", path)? {
                roots.add(root).map_err(|error| unusable(error.to_string()))?;
            }
            // Rules say who needs a certificate; one that is shown has to be right.
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider)
                .allow_unauthenticated()
                .build()
                .map_err(|error| unusable(error.to_string()))?;
            builder.with_client_cert_verifier(verifier)
        }
    };
    let end_point = chain.first().and_then(|certificate| end_point(certificate));
    let mut config = builder
        .with_single_cert(chain, private_key)
        .map_err(|error| match error {
            rustls::Error::InconsistentKeys(_) => TlsError::OtherKey {
                key: key.to_owned(),
                certificate: certificate.to_owned(),
            },
            other => unusable(other),
        })?;
    let mut with = |inside: Inside| {
        config.alpn_protocols = vec![inside.name().to_vec()];
        Arc::new(config.clone())
    };
    Ok(Loaded {
        postgres: with(Inside::Postgres),
        http: with(Inside::Http),
        grpc: with(Inside::Grpc),
        end_point,
    })
}

fn read(key: &'static str, path: &Path) -> Result<Vec<u8>, TlsError> {
    std::fs::read(path).map_err(|source| TlsError::Unreadable {
        key,
        path: path.to_owned(),
        source,
    })
}

fn certificates(key: &'static str, path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let text = read(key, path)?;
    let chain: Vec<_> = CertificateDer::pem_slice_iter(&text)
        .collect::<Result<_, _>>()
        .map_err(|error| malformed(key, path, &error))?;
    match chain.is_empty() {
        true => Err(TlsError::Nothing {
            key,
            path: path.to_owned(),
            what: "certificate",
        }),
        false => Ok(chain),
    }
}

fn malformed(key: &'static str, path: &Path, error: &pem::Error) -> TlsError {
    TlsError::Malformed {
        key,
        path: path.to_owned(),
        message: error.to_string(),
    }
}

/// `tls-server-end-point` (RFC 5929): the hash of the certificate by the algorithm of its signature, SHA-256 for weaker ones. `None` where
/// that is not said, as for Ed25519: then nothing is bound.
fn end_point(certificate: &CertificateDer<'_>) -> Option<Vec<u8>> {
    let parsed = X509Certificate::from_der(certificate).ok()?;
    let algorithm = match parsed.signature_algorithm()? {
        SignatureAlgorithm::RsaSha1 | SignatureAlgorithm::RsaSha256 | SignatureAlgorithm::EcdsaSha256 => {
            &digest::SHA256
        }
        SignatureAlgorithm::RsaSha384 | SignatureAlgorithm::EcdsaSha384 => &digest::SHA384,
        SignatureAlgorithm::RsaSha512 => &digest::SHA512,
        SignatureAlgorithm::Ed25519 | SignatureAlgorithm::NoSignature(_) => return None,
    };
    Some(digest::digest(algorithm, certificate).as_ref().to_vec())
}

/// A connection in either form.
#[derive(Debug)]
pub enum MaybeTls {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
    /// While the handshake has the socket.
    Closed,
}

impl AsyncRead for MaybeTls {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            MaybeTls::Plain(socket) => Pin::new(socket).poll_read(context, buffer),
            MaybeTls::Tls(stream) => Pin::new(stream).poll_read(context, buffer),
            MaybeTls::Closed => Poll::Ready(Ok(())),
        }
    }
}

impl AsyncWrite for MaybeTls {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            MaybeTls::Plain(socket) => Pin::new(socket).poll_write(context, bytes),
            MaybeTls::Tls(stream) => Pin::new(stream).poll_write(context, bytes),
            MaybeTls::Closed => Poll::Ready(Err(io::ErrorKind::NotConnected.into())),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            MaybeTls::Plain(socket) => Pin::new(socket).poll_write_vectored(context, bytes),
            MaybeTls::Tls(stream) => Pin::new(stream).poll_write_vectored(context, bytes),
            MaybeTls::Closed => Poll::Ready(Err(io::ErrorKind::NotConnected.into())),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            MaybeTls::Plain(socket) => socket.is_write_vectored(),
            MaybeTls::Tls(stream) => stream.is_write_vectored(),
            MaybeTls::Closed => false,
        }
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            MaybeTls::Plain(socket) => Pin::new(socket).poll_flush(context),
            MaybeTls::Tls(stream) => Pin::new(stream).poll_flush(context),
            MaybeTls::Closed => Poll::Ready(Ok(())),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            MaybeTls::Plain(socket) => Pin::new(socket).poll_shutdown(context),
            MaybeTls::Tls(stream) => Pin::new(stream).poll_shutdown(context),
            MaybeTls::Closed => Poll::Ready(Ok(())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Files {
        dir: tempfile::TempDir,
        config: TlsConfig,
    }

    impl Files {
        fn new() -> Files {
            let dir = tempfile::tempdir().unwrap();
            let path = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
            let config = TlsConfig {
                certificate: path("cert.pem"),
                key: path("key.pem"),
                ..TlsConfig::default()
            };
            let files = Files { dir, config };
            files.write(&made());
            files
        }

        fn write(&self, (certificate, key): &(String, String)) {
            std::fs::write(&self.config.certificate, certificate).unwrap();
            std::fs::write(&self.config.key, key).unwrap();
        }

        fn error(&self) -> String {
            let error = error_chain(&Tls::open(&self.config).unwrap_err());
            error.replace(&format!("{}/", self.dir.path().display()), "")
        }
    }

    fn made() -> (String, String) {
        let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
        (made.cert.pem(), made.signing_key.serialize_pem())
    }

    #[test]
    fn errors_name_the_file_and_what_is_wrong_with_it() {
        let mut files = Files::new();
        assert!(Tls::open(&files.config).unwrap().unwrap().current().end_point.is_some());
        std::fs::write(&files.config.key, made().1).unwrap();
        assert_eq!(
            files.error(),
            "[tls] key: key.pem is not the key of the certificate in cert.pem"
        );
        std::fs::write(&files.config.key, "no key").unwrap();
        assert_eq!(
            files.error(),
            "[tls] key: key.pem has no private key without a password in PEM form"
        );
        std::fs::remove_file(&files.config.key).unwrap();
        assert!(
            files.error().starts_with("[tls] key: cannot read key.pem: "),
            "{}",
            files.error()
        );
        files.write(&made());
        std::fs::write(&files.config.certificate, "").unwrap();
        assert_eq!(
            files.error(),
            "[tls] certificate: cert.pem has no certificate in PEM form"
        );
        files.config.client_ca = files.config.key.clone();
        files.write(&made());
        assert_eq!(files.error(), "[tls] client_ca: key.pem has no certificate in PEM form");
        files.config.key = String::new();
        assert_eq!(
            files.error(),
            "[tls] key is not set, and [tls] certificate is: TLS takes a certificate and its key"
        );
        let required = TlsConfig {
            require_tls: true,
            ..TlsConfig::default()
        };
        assert!(Tls::open(&required).is_err() && Tls::open(&TlsConfig::default()).unwrap().is_none());
    }

    #[test]
    fn a_new_certificate_is_taken_and_a_bad_one_is_not() {
        let files = Files::new();
        let tls = Tls::open(&files.config).unwrap().unwrap();
        let end_point = || tls.current().end_point.clone();
        let first = end_point();
        assert_eq!(end_point(), first);
        // Half of a replacement: the key is still the old one.
        let (certificate, key) = made();
        std::fs::write(&files.config.certificate, &certificate).unwrap();
        assert_eq!(end_point(), first);
        std::fs::write(&files.config.key, &key).unwrap();
        let second = end_point();
        assert!(second.is_some() && second != first);
        std::fs::write(&files.config.certificate, "nonsense").unwrap();
        assert_eq!(end_point(), second);
        std::fs::remove_file(&files.config.key).unwrap();
        assert_eq!(end_point(), second);
    }
}

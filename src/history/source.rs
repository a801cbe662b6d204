//! A source as an operator gives it -> the store and the path where its logs are.

use std::path::Path;
use std::sync::Arc;

use crate::config::StorageConfig;
use crate::event_log::store::{self, LocalStore, OpenError, Opened};
use crate::event_log::{LogStore, StoreError};

/// A directory of event logs, or one log.
#[derive(Debug, Clone)]
pub struct Source {
    given: String,
    path: String,
    store: Arc<dyn LogStore>,
}

/// Why a source cannot be used. All of these are for the operator to put right.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    #[error("the source is empty: name a directory of event logs or one log")]
    Empty,
    #[error("source {given}: {scheme}:// is not built yet; local paths, file:// and s3:// URIs are")]
    NotBuilt { given: String, scheme: String },
    #[error(
        "source {given}: nothing is known of {scheme}://; use a path, or a URI that begins with file://, s3:// or hdfs://"
    )]
    UnknownScheme { given: String, scheme: String },
    /// The URI or a setting of its store is wrong.
    #[error("source {given}: {message}")]
    Wrong { given: String, message: String },
    #[error("source {given} is no file URI of this machine; write file:///directory")]
    NotLocal { given: String },
    #[error("source {given} does not exist: name an existing directory of event logs or one log")]
    Missing { given: String },
    /// Its store refuses: wrong keys, no such bucket.
    #[error("source {given} is refused")]
    Refused {
        given: String,
        #[source]
        source: StoreError,
    },
    #[error("source {given} cannot be read")]
    Unreadable {
        given: String,
        #[source]
        source: StoreError,
    },
}

impl Source {
    /// Understands a path (a relative one belongs to the working directory), a `file:` URI, or the URI of another store.
    pub fn parse(given: &str, storage: &StorageConfig) -> Result<Self, SourceError> {
        if given.trim().is_empty() {
            return Err(SourceError::Empty);
        }
        let path = match given.split_once(':') {
            Some((scheme, rest)) if scheme.eq_ignore_ascii_case("file") && rest.starts_with('/') => file_uri(given)?,
            Some((scheme, rest)) if rest.starts_with("//") && is_scheme(scheme) => {
                return Self::remote(given, &scheme.to_lowercase(), &rest[2..], storage);
            }
            // As Hadoop writes it where `fs.defaultFS` says which cluster is meant.
            Some((scheme @ ("hdfs" | "viewfs"), rest)) if rest.starts_with('/') => {
                return Self::remote(given, scheme, rest, storage);
            }
            _ => given.to_owned(),
        };
        // Only the text is made absolute: a link stays a link, so that it may be pointed elsewhere while we run.
        let absolute = std::path::absolute(Path::new(&path))
            .ok()
            .and_then(|path| path.into_os_string().into_string().ok())
            .unwrap_or(path);
        let path = match absolute.trim_end_matches('/') {
            "" => "/".to_owned(),
            trimmed => trimmed.to_owned(),
        };
        Ok(Source {
            given: given.to_owned(),
            path,
            store: Arc::new(LocalStore),
        })
    }

    /// `scheme://rest`.
    fn remote(given: &str, scheme: &str, rest: &str, storage: &StorageConfig) -> Result<Self, SourceError> {
        let shown = given.to_owned();
        match store::open(scheme, rest, storage) {
            Ok(Opened { store, path }) => Ok(Source {
                given: shown,
                path,
                store,
            }),
            Err(OpenError::NotBuilt { scheme }) => Err(SourceError::NotBuilt { given: shown, scheme }),
            Err(OpenError::UnknownScheme { scheme }) => Err(SourceError::UnknownScheme { given: shown, scheme }),
            Err(OpenError::Wrong(message)) => Err(SourceError::Wrong { given: shown, message }),
        }
    }

    /// A source in a store of the caller's.
    pub fn new(given: &str, path: &str, store: Arc<dyn LogStore>) -> Self {
        Source {
            given: given.to_owned(),
            path: path.to_owned(),
            store,
        }
    }

    /// As it was given on the command line or in the configuration.
    pub fn given(&self) -> &str {
        &self.given
    }

    /// Its absolute path in its store.
    pub fn path(&self) -> &str {
        &self.path
    }

    pub fn store(&self) -> &Arc<dyn LogStore> {
        &self.store
    }

    /// Whether a network lies between: it may be away for a while, and come back by itself.
    pub fn is_remote(&self) -> bool {
        self.store.health().is_some()
    }

    /// Looks whether there is anything at all, so that a mistyped path fails at start and not silently later.
    pub async fn check(&self) -> Result<(), SourceError> {
        let found = match (self.store.head(&self.path).await, self.path.strip_suffix(".inprogress")) {
            // A single log that got its final name since it was named here.
            (Err(StoreError::NotFound { .. }), Some(final_name)) => self.store.head(final_name).await,
            (found, _) => found,
        };
        match found {
            Ok(_) => Ok(()),
            Err(StoreError::NotFound { .. }) => Err(SourceError::Missing {
                given: self.given.clone(),
            }),
            Err(source @ StoreError::Refused { .. }) => Err(SourceError::Refused {
                given: self.given.clone(),
                source,
            }),
            Err(source) => Err(SourceError::Unreadable {
                given: self.given.clone(),
                source,
            }),
        }
    }
}

fn is_scheme(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphabetic())
        && text
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.'))
}

/// The path of `file:///directory` or, as Hadoop writes it, `file:/directory`.
fn file_uri(given: &str) -> Result<String, SourceError> {
    let not_local = || SourceError::NotLocal {
        given: given.to_owned(),
    };
    let uri = url::Url::parse(given).map_err(|_| not_local())?;
    let path = uri.to_file_path().map_err(|()| not_local())?;
    path.into_os_string().into_string().map_err(|_| not_local())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(given: &str) -> Result<Source, SourceError> {
        Source::parse(given, &StorageConfig::default())
    }

    #[test]
    fn a_path_and_a_file_uri_name_the_same_directory() {
        for given in ["/logs/a b", "/logs/a b/", "file:///logs/a%20b", "file:/logs/a%20b/"] {
            assert_eq!(parse(given).unwrap().path(), "/logs/a b", "{given}");
        }
        assert_eq!(
            parse("/logs/a%20b").unwrap().path(),
            "/logs/a%20b",
            "a path is not decoded"
        );
        assert!(parse("logs").unwrap().path().starts_with('/'));
        assert_eq!(parse("/").unwrap().path(), "/");
    }

    #[test]
    fn other_storage_is_refused_by_name() {
        let message = |given| parse(given).unwrap_err().to_string();
        assert!(message("webhdfs://namenode:9870/logs").contains("write hdfs://namenode:8020/path"));
        assert!(message("ftp://host/logs").contains("nothing is known of ftp://"));
        assert!(message("file://elsewhere/logs").contains("no file URI of this machine"));
        assert!(message(" ").contains("empty"));
    }

    #[tokio::test]
    async fn a_source_that_is_not_there_is_named_as_it_was_given() {
        let error = parse("nowhere/at/all").unwrap().check().await.unwrap_err();
        assert!(matches!(error, SourceError::Missing { .. }));
        assert!(error.to_string().starts_with("source nowhere/at/all does not exist"));
    }
}

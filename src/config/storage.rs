//! What is set of the stores that logs lie in: `[storage]` for every store that is reached over a network, `[s3]` for S3.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{ByteSize, HdfsConfig, Secret, Span};

/// All of it, as the stores take it. HDFS and others add their sections here.
#[derive(Debug, Clone, Default)]
pub struct StorageConfig {
    pub remote: RemoteConfig,
    pub s3: S3Config,
    pub hdfs: HdfsConfig,
    /// Variables of the environment that the stores' own tools know, such as `AWS_REGION`.
    pub environment: StoreEnvironment,
}

/// `[storage]`: time and patience for every store that is reached over a network.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RemoteConfig {
    pub connect_timeout: Span,
    pub request_timeout: Span,
    pub retry_timeout: Span,
    pub longest_pause: Span,
    pub read_ahead: ByteSize,
    /// Empty: those of the system alone.
    pub ca_file: String,
}

impl Default for RemoteConfig {
    fn default() -> Self {
        let seconds = |seconds| Span(Duration::from_secs(seconds));
        RemoteConfig {
            connect_timeout: seconds(5),
            request_timeout: seconds(30),
            retry_timeout: seconds(20),
            longest_pause: seconds(60),
            read_ahead: ByteSize(16 << 20),
            ca_file: String::new(),
        }
    }
}

/// `[s3]`: S3 and what speaks its protocol. Empty is what the environment says, and then the default of S3.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct S3Config {
    pub endpoint: String,
    pub region: String,
    pub path_style: bool,
    pub allow_http: bool,
    pub credentials: S3Credentials,
    pub access_key_id: String,
    pub secret_access_key: Secret,
    pub session_token: Secret,
    /// `[s3.bucket.NAME]`: what is different for one bucket.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub bucket: BTreeMap<String, S3BucketConfig>,
}

impl Default for S3Config {
    fn default() -> Self {
        S3Config {
            endpoint: String::new(),
            region: String::new(),
            path_style: true,
            allow_http: false,
            credentials: S3Credentials::default(),
            access_key_id: String::new(),
            secret_access_key: Secret::default(),
            session_token: Secret::default(),
            bucket: BTreeMap::new(),
        }
    }
}

/// The keys of `[s3]`, as far as they are set for one bucket.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct S3BucketConfig {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub region: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path_style: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub allow_http: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub credentials: Option<S3Credentials>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub access_key_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub secret_access_key: Option<Secret>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub session_token: Option<Secret>,
}

impl S3Config {
    /// What holds for one bucket.
    pub fn of_bucket(&self, name: &str) -> S3Config {
        let mut merged = S3Config {
            bucket: BTreeMap::new(),
            ..self.clone()
        };
        let Some(own) = self.bucket.get(name).cloned() else {
            return merged;
        };
        // Keys that belong together: a bucket's own key never goes with a token of another.
        if own.access_key_id.is_some() || own.secret_access_key.is_some() || own.credentials.is_some() {
            merged.access_key_id = String::new();
            merged.secret_access_key = Secret::default();
            merged.session_token = Secret::default();
            merged.credentials = S3Credentials::default();
        }
        fn take<T>(own: Option<T>, merged: &mut T) {
            if let Some(own) = own {
                *merged = own;
            }
        }
        take(own.endpoint, &mut merged.endpoint);
        take(own.region, &mut merged.region);
        take(own.path_style, &mut merged.path_style);
        take(own.allow_http, &mut merged.allow_http);
        take(own.credentials, &mut merged.credentials);
        take(own.access_key_id, &mut merged.access_key_id);
        take(own.secret_access_key, &mut merged.secret_access_key);
        take(own.session_token, &mut merged.session_token);
        merged
    }
}

/// Where the credentials of S3 come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum S3Credentials {
    /// The first that is there: keys of the configuration, of the environment, web identity, container, instance profile.
    #[default]
    Auto,
    /// `access_key_id` and `secret_access_key`, nothing else.
    Keys,
    /// `AWS_ACCESS_KEY_ID` and its like, nothing else.
    Environment,
    /// A token file and a role (`AWS_WEB_IDENTITY_TOKEN_FILE`, `AWS_ROLE_ARN`): pods of Kubernetes.
    WebIdentity,
    /// What the container's agent gives (ECS, EKS Pod Identity).
    Container,
    /// What the machine's metadata service gives.
    InstanceProfile,
    /// Requests are not signed.
    Anonymous,
}

/// Variables of the environment by name. Values are not for logs.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct StoreEnvironment(pub BTreeMap<String, String>);

impl fmt::Debug for StoreEnvironment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

/// Begins of the names of variables that stores know.
pub(super) const STORE_VARIABLES: [&str; 3] = ["AWS_", "GOOGLE_", "AZURE_"];

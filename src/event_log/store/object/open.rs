//! A URI and the settings of its store -> a client.

use std::collections::BTreeSet;
use std::path::Path;
use std::str::FromStr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey};
use object_store::azure::{AzureConfigKey, MicrosoftAzureBuilder};
use object_store::gcp::{GoogleCloudStorageBuilder, GoogleConfigKey};
use object_store::list::PaginatedListStore;
use object_store::{BackoffConfig, Certificate, ClientOptions, ObjectStore, RetryConfig};

use super::counting::CountingConnector;
use super::failure::Place;
use super::{Bucket, Client};
use crate::config::{RemoteConfig, S3Config, S3Credentials, StorageConfig, StoreEnvironment};
use crate::event_log::store::{Guard, OpenError, Opened, RequestCounter};

/// Opens `scheme://rest`.
pub(in super::super) fn open(scheme: &str, rest: &str, storage: &StorageConfig) -> Result<Opened, OpenError> {
    let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
    if authority.is_empty() {
        return Err(wrong(format!(
            "there is no bucket in it; write {scheme}://bucket/directory"
        )));
    }
    let requests = Arc::new(RequestCounter::default());
    let connector = CountingConnector(Arc::clone(&requests));
    let (objects, pages, place, root) = match scheme {
        "s3" | "s3a" | "s3n" => {
            if authority.contains(['@', ':']) {
                return Err(wrong(
                    "keys do not belong into it: give them as [s3] access_key_id and secret_access_key or in the environment".into(),
                ));
            }
            let config = storage.s3.of_bucket(authority);
            let (builder, endpoint) = s3(authority, &config, storage)?;
            let store = builder.with_http_connector(connector).build().map_err(unusable)?;
            let (objects, pages) = both(store);
            let place = Place {
                kind: "S3",
                bucket: authority.to_owned(),
                endpoint,
            };
            (objects, pages, place, format!("s3://{authority}"))
        }
        "gs" | "gcs" => {
            let mut builder = GoogleCloudStorageBuilder::new();
            for (key, value) in known::<GoogleConfigKey>(&storage.environment, "GOOGLE_") {
                builder = builder.with_config(key, value);
            }
            let builder = builder
                .with_bucket_name(authority)
                .with_retry(never())
                .with_client_options(client_options(&storage.remote, None)?)
                .with_http_connector(connector);
            let (objects, pages) = both(builder.build().map_err(unusable)?);
            let place = Place {
                kind: "Google Cloud Storage",
                bucket: authority.to_owned(),
                endpoint: String::new(),
            };
            (objects, pages, place, format!("gs://{authority}"))
        }
        _ => {
            let (container, host) = authority.split_once('@').ok_or_else(|| {
                wrong(format!(
                    "write {scheme}://container@account.dfs.core.windows.net/directory"
                ))
            })?;
            let account = host.split('.').next().unwrap_or(host);
            let mut builder = MicrosoftAzureBuilder::new();
            for (key, value) in known::<AzureConfigKey>(&storage.environment, "AZURE_") {
                builder = builder.with_config(key, value);
            }
            let builder = builder
                .with_account(account)
                .with_container_name(container)
                .with_retry(never())
                .with_client_options(client_options(&storage.remote, None)?)
                .with_http_connector(connector);
            let (objects, pages) = both(builder.build().map_err(unusable)?);
            let place = Place {
                kind: "Azure Blob Storage",
                bucket: container.to_owned(),
                endpoint: host.to_owned(),
            };
            (objects, pages, place, format!("abfss://{authority}"))
        }
    };
    let path = clean(path);
    let client = Client {
        objects,
        pages,
        place,
        root: root.clone(),
        guard: Guard::new(&storage.remote),
        requests,
        seen: Mutex::new(BTreeSet::new()),
    };
    Ok(Opened {
        store: Arc::new(Bucket {
            client: Arc::new(client),
            read_ahead: storage.remote.read_ahead.0,
        }),
        path: if path.is_empty() {
            root
        } else {
            format!("{root}/{path}")
        },
    })
}

/// One store, as what reads objects and as what lists them.
fn both<S: ObjectStore + PaginatedListStore>(store: S) -> (Arc<dyn ObjectStore>, Arc<dyn PaginatedListStore>) {
    let store = Arc::new(store);
    (Arc::clone(&store) as Arc<dyn ObjectStore>, store)
}

/// A path with one slash between its parts, as Hadoop has it too.
fn clean(path: &str) -> String {
    path.split('/')
        .filter(|part| !part.is_empty())
        .collect::<Vec<_>>()
        .join("/")
}

fn wrong(message: String) -> OpenError {
    OpenError::Wrong(message)
}

fn unusable(error: object_store::Error) -> OpenError {
    wrong(format!("the settings of its store cannot be used: {error}"))
}

/// A client for a bucket, and the endpoint if it is not Amazon's.
fn s3(bucket: &str, config: &S3Config, storage: &StorageConfig) -> Result<(AmazonS3Builder, String), OpenError> {
    let environment = &storage.environment;
    let mut builder = AmazonS3Builder::new();
    for (key, value) in known::<AmazonS3ConfigKey>(environment, "AWS_") {
        if !is_credential(key) {
            builder = builder.with_config(key, value);
        }
    }
    builder = with_credentials(builder, config, environment)?
        .with_bucket_name(bucket)
        .with_retry(never());
    let region = first([
        &config.region,
        variable(environment, "AWS_REGION"),
        variable(environment, "AWS_DEFAULT_REGION"),
    ]);
    if !region.is_empty() {
        builder = builder.with_region(region);
    }
    let endpoint = first([
        &config.endpoint,
        variable(environment, "AWS_ENDPOINT_URL_S3"),
        variable(environment, "AWS_ENDPOINT_URL"),
        variable(environment, "AWS_ENDPOINT"),
    ]);
    // Hadoop's has no scheme where TLS is meant.
    let endpoint = match endpoint {
        "" => String::new(),
        with_scheme if with_scheme.contains("://") => with_scheme.trim_end_matches('/').to_owned(),
        host => format!("https://{}", host.trim_end_matches('/')),
    };
    let allow_http = config.allow_http || variable(environment, "AWS_ALLOW_HTTP").eq_ignore_ascii_case("true");
    let mut options = client_options(&storage.remote, Some(variable(environment, "AWS_CA_BUNDLE")))?;
    builder = builder.with_virtual_hosted_style_request(!config.path_style);
    if !endpoint.is_empty() {
        let url = url::Url::parse(&endpoint).ok().filter(|url| url.host_str().is_some());
        let url = url.ok_or_else(|| {
            wrong(format!(
                "[s3] endpoint: {endpoint:?} is no URL such as https://s3.example:9000"
            ))
        })?;
        if url.scheme() == "http" && !allow_http {
            return Err(wrong(format!(
                "[s3] endpoint {endpoint} is not https://; set [s3] allow_http if logs may cross the network in clear"
            )));
        }
        options = options.with_allow_http(url.scheme() == "http");
        let target = match config.path_style {
            true => endpoint.clone(),
            false => endpoint.replacen("://", &format!("://{bucket}."), 1),
        };
        builder = builder
            .with_config(AmazonS3ConfigKey::S3Endpoint, &target)
            .with_endpoint(target);
    }
    Ok((builder.with_client_options(options), endpoint))
}

/// Has exactly the credentials that are asked for reach the client.
fn with_credentials(
    mut builder: AmazonS3Builder,
    config: &S3Config,
    environment: &StoreEnvironment,
) -> Result<AmazonS3Builder, OpenError> {
    use AmazonS3ConfigKey as Key;
    let mode = config.credentials;
    let has_keys = !config.access_key_id.is_empty() || !config.secret_access_key.is_empty();
    let from_environment = |builder: AmazonS3Builder, keys: &[Key]| {
        let known = known::<Key>(environment, "AWS_").into_iter();
        let wanted = known.filter(|(key, _)| keys.contains(key));
        wanted.fold(builder, |builder, (key, value)| builder.with_config(key, value))
    };
    let needs = |variables: [&str; 2]| match variables.iter().find(|name| variable(environment, name).is_empty()) {
        Some(missing) => Err(wrong(format!(
            "[s3] credentials want the variable {missing}, and it is not set"
        ))),
        None => Ok(()),
    };
    const STATIC: [AmazonS3ConfigKey; 3] = [Key::AccessKeyId, Key::SecretAccessKey, Key::Token];
    const WEB: [AmazonS3ConfigKey; 4] = [
        Key::WebIdentityTokenFile,
        Key::RoleArn,
        Key::RoleSessionName,
        Key::StsEndpoint,
    ];
    const CONTAINER: [AmazonS3ConfigKey; 3] = [
        Key::ContainerCredentialsRelativeUri,
        Key::ContainerCredentialsFullUri,
        Key::ContainerAuthorizationTokenFile,
    ];
    const MACHINE: [AmazonS3ConfigKey; 2] = [Key::MetadataEndpoint, Key::ImdsV1Fallback];
    match mode {
        S3Credentials::Auto | S3Credentials::Keys if has_keys => {
            if config.access_key_id.is_empty() || config.secret_access_key.is_empty() {
                return Err(wrong(
                    "[s3] access_key_id and secret_access_key belong together, and one is not set".into(),
                ));
            }
            builder = builder
                .with_access_key_id(&config.access_key_id)
                .with_secret_access_key(config.secret_access_key.reveal());
            if !config.session_token.is_empty() {
                builder = builder.with_token(config.session_token.reveal());
            }
        }
        S3Credentials::Auto => {
            builder = from_environment(builder, &STATIC);
            builder = from_environment(builder, &WEB);
            builder = from_environment(builder, &CONTAINER);
            builder = from_environment(builder, &MACHINE);
        }
        S3Credentials::Keys => {
            return Err(wrong(
                "[s3] credentials are \"keys\", and access_key_id and secret_access_key are not set".into(),
            ));
        }
        S3Credentials::Environment => {
            needs(["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"])?;
            builder = from_environment(builder, &STATIC);
        }
        S3Credentials::WebIdentity => {
            needs(["AWS_WEB_IDENTITY_TOKEN_FILE", "AWS_ROLE_ARN"])?;
            builder = from_environment(builder, &WEB);
        }
        S3Credentials::Container => builder = from_environment(builder, &CONTAINER),
        S3Credentials::InstanceProfile => builder = from_environment(builder, &MACHINE),
        S3Credentials::Anonymous => builder = builder.with_skip_signature(true),
    }
    Ok(builder)
}

/// Whether a setting says who we are, and not where the store is.
fn is_credential(key: AmazonS3ConfigKey) -> bool {
    use AmazonS3ConfigKey as Key;
    matches!(
        key,
        Key::AccessKeyId
            | Key::SecretAccessKey
            | Key::Token
            | Key::WebIdentityTokenFile
            | Key::RoleArn
            | Key::RoleSessionName
            | Key::ContainerCredentialsRelativeUri
            | Key::ContainerCredentialsFullUri
            | Key::ContainerAuthorizationTokenFile
            | Key::SkipSignature
    )
}

/// The variables of a store that its client knows.
fn known<K: FromStr>(environment: &StoreEnvironment, begin: &str) -> Vec<(K, String)> {
    let of_store = environment.0.iter().filter(|(name, _)| name.starts_with(begin));
    of_store
        .filter_map(|(name, value)| Some((name.to_ascii_lowercase().parse().ok()?, value.clone())))
        .collect()
}

fn variable<'e>(environment: &'e StoreEnvironment, name: &str) -> &'e str {
    environment.0.get(name).map_or("", String::as_str)
}

/// The first that is set.
fn first<const N: usize>(values: [&str; N]) -> &str {
    values.into_iter().find(|value| !value.is_empty()).unwrap_or_default()
}

/// The guard asks again, and nobody else.
fn never() -> RetryConfig {
    RetryConfig {
        max_retries: 0,
        retry_timeout: Duration::ZERO,
        backoff: BackoffConfig::default(),
    }
}

fn client_options(config: &RemoteConfig, ca_bundle: Option<&str>) -> Result<ClientOptions, OpenError> {
    let mut options = ClientOptions::new()
        .with_connect_timeout(config.connect_timeout.0)
        .with_timeout(config.request_timeout.0);
    let files = [
        ("[storage] ca_file", config.ca_file.as_str()),
        ("AWS_CA_BUNDLE", ca_bundle.unwrap_or_default()),
    ];
    for (setting, file) in files.into_iter().filter(|(_, file)| !file.is_empty()) {
        let unreadable = |error: &dyn std::fmt::Display| wrong(format!("{setting}: {file} cannot be used: {error}"));
        let pem = std::fs::read(Path::new(file)).map_err(|error| unreadable(&error))?;
        let certificates = Certificate::from_pem_bundle(&pem).map_err(|error| unreadable(&error))?;
        if certificates.is_empty() {
            return Err(unreadable(&"there is no certificate in it (PEM)"));
        }
        for certificate in certificates {
            options = options.with_root_certificate(certificate);
        }
    }
    Ok(options)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn refused(uri: &str, change: impl FnOnce(&mut StorageConfig)) -> String {
        let mut storage = StorageConfig::default();
        change(&mut storage);
        let (scheme, rest) = uri.split_once("://").unwrap();
        open(scheme, rest, &storage).unwrap_err().to_string()
    }

    #[test]
    fn a_uri_is_a_bucket_and_a_directory_as_they_are_written() {
        let mut storage = StorageConfig::default();
        storage.s3.access_key_id = "k".into();
        storage.s3.secret_access_key = "s".parse().unwrap();
        for (rest, expected) in [
            ("logs", "s3://logs"),
            ("logs/", "s3://logs"),
            ("logs//a b/%20+/é/", "s3://logs/a b/%20+/é"),
        ] {
            assert_eq!(open("s3a", rest, &storage).unwrap().path, expected);
        }
    }

    #[test]
    fn what_cannot_be_opened_says_which_setting_is_wrong() {
        assert!(refused("s3:///x", |_| {}).contains("no bucket"));
        let with_keys = refused("s3a://key:hush@logs/x", |_| {});
        assert!(with_keys.contains("keys do not belong") && !with_keys.contains("hush"));
        let plain = refused("s3://logs", |storage| storage.s3.endpoint = "http://minio:9000".into());
        assert!(plain.contains("[s3] allow_http"), "{plain}");
        let half = refused("s3://logs", |storage| storage.s3.access_key_id = "k".into());
        assert!(half.contains("belong together"), "{half}");
        let role = refused("s3://logs", |storage| {
            storage.s3.credentials = S3Credentials::WebIdentity
        });
        assert!(role.contains("AWS_WEB_IDENTITY_TOKEN_FILE"), "{role}");
        let ca = refused("s3://logs", |storage| storage.remote.ca_file = "/no/such/ca.pem".into());
        assert!(ca.contains("[storage] ca_file: /no/such/ca.pem"), "{ca}");
        assert!(refused("abfss://container/x", |_| {}).contains("container@account"));
    }

    #[test]
    fn what_is_set_for_a_bucket_holds_there_and_takes_nothing_of_others_along() {
        let mut config = S3Config {
            access_key_id: "all".into(),
            secret_access_key: "hush".parse().unwrap(),
            session_token: "token".parse().unwrap(),
            endpoint: "https://a".into(),
            ..S3Config::default()
        };
        let own = crate::config::S3BucketConfig {
            access_key_id: Some("own".into()),
            secret_access_key: Some("other".parse().unwrap()),
            ..Default::default()
        };
        config.bucket = BTreeMap::from([("mine".to_owned(), own)]);
        let mine = config.of_bucket("mine");
        assert_eq!(
            (mine.access_key_id.as_str(), mine.secret_access_key.reveal()),
            ("own", "other")
        );
        assert!(mine.session_token.is_empty());
        assert_eq!(mine.endpoint, "https://a");
        assert_eq!(config.of_bucket("yours").session_token.reveal(), "token");
        assert!(!format!("{config:?}").contains("hush"));
    }
}

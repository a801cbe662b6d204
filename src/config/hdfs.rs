//! What is set of HDFS: `[hdfs]`.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::Span;

/// `[hdfs]`: how HDFS is reached, above what Hadoop's own files say. Empty is what those say, and then Hadoop's default.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct HdfsConfig {
    pub hadoop_conf_dir: String,
    pub user: String,
    pub kerberos_principal: String,
    pub kerberos_keytab: String,
    pub kerberos_cache: String,
    pub webhdfs: WebHdfsConfig,
    pub timeout: Span,
    /// `name=value`, as Hadoop names them.
    pub properties: Vec<String>,
}

impl Default for HdfsConfig {
    fn default() -> Self {
        HdfsConfig {
            hadoop_conf_dir: String::new(),
            user: String::new(),
            kerberos_principal: String::new(),
            kerberos_keytab: String::new(),
            kerberos_cache: String::new(),
            webhdfs: WebHdfsConfig::default(),
            timeout: Span(Duration::from_secs(10)),
            properties: Vec::new(),
        }
    }
}

/// Whether, and where, WebHDFS is used.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum WebHdfsConfig {
    /// Where Hadoop's configuration says that NameNodes listen.
    #[default]
    Auto,
    /// Not at all.
    Off,
    /// At these base URLs, all of one cluster.
    At(Vec<String>),
}

impl WebHdfsConfig {
    pub(super) const FORM: &str = "\"auto\", \"off\", or addresses such as \"http://namenode:9870\", with commas";
}

impl FromStr for WebHdfsConfig {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.trim() {
            "auto" => Ok(WebHdfsConfig::Auto),
            "off" => Ok(WebHdfsConfig::Off),
            text => {
                let addresses = text
                    .split(',')
                    .map(|address| address.trim().trim_end_matches('/').to_owned());
                let addresses: Vec<String> = addresses.collect();
                let is_address = |address: &String| {
                    let host = address
                        .strip_prefix("http://")
                        .or_else(|| address.strip_prefix("https://"));
                    host.is_some_and(|host| !host.is_empty() && !host.contains('/'))
                };
                match addresses.iter().all(is_address) {
                    true => Ok(WebHdfsConfig::At(addresses)),
                    false => Err(format!("{text:?} is not {}", Self::FORM)),
                }
            }
        }
    }
}

impl fmt::Display for WebHdfsConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            WebHdfsConfig::Auto => f.write_str("auto"),
            WebHdfsConfig::Off => f.write_str("off"),
            WebHdfsConfig::At(addresses) => f.write_str(&addresses.join(",")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn webhdfs_is_a_word_or_addresses() {
        for text in ["auto", "off", "http://one:9870", "http://one:9870,https://two:9871"] {
            assert_eq!(text.parse::<WebHdfsConfig>().unwrap().to_string(), text);
        }
        for text in ["", "on", "one:9870", "http://", "http://one:9870/webhdfs/v1"] {
            assert!(
                text.parse::<WebHdfsConfig>()
                    .unwrap_err()
                    .contains("http://namenode:9870")
            );
        }
    }
}

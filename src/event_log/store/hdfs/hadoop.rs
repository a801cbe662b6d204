//! Hadoop's own configuration: `core-site.xml`, `hdfs-site.xml` and what stands above them, and what a client must know of it.
//!
//! hdfs-native reads the same files, but keeps what it read to itself and knows no `${…}`. All it gets is what is read here.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use super::HdfsSetupError;

/// The files that a client reads, the later ones above the earlier.
const FILES: [&str; 2] = ["core-site.xml", "hdfs-site.xml"];
/// A value that refers to itself must end somewhere; Hadoop's own limit.
const MOST_SUBSTITUTIONS: usize = 20;
/// Port of a NameNode where an address has none.
const NAMENODE_PORT: u16 = 8020;

/// The properties of a Hadoop client.
#[derive(Debug, Clone, Default)]
pub(super) struct HadoopConf {
    /// Where its files lie; `None` if nothing says where.
    dir: Option<PathBuf>,
    properties: BTreeMap<String, String>,
}

impl HadoopConf {
    /// Reads the files in `given`, else in `HADOOP_CONF_DIR`, else below `HADOOP_HOME`, and puts `above` on top of them.
    pub(super) fn load(
        given: Option<&Path>,
        variable: impl Fn(&str) -> Option<String>,
        above: &[(String, String)],
    ) -> Result<Self, HdfsSetupError> {
        let variable = |name: &str| variable(name).filter(|value| !value.is_empty());
        let from_variables = || {
            let home = || variable("HADOOP_HOME").map(|home| Path::new(&home).join("etc/hadoop"));
            variable("HADOOP_CONF_DIR").map(PathBuf::from).or_else(home)
        };
        let dir = given.map(Path::to_owned).or_else(from_variables);
        let mut properties = BTreeMap::new();
        if let Some(dir) = &dir {
            if !dir.is_dir() {
                return Err(HdfsSetupError::NoConfDir { dir: dir.clone() });
            }
            for file in FILES {
                let path = dir.join(file);
                match std::fs::read_to_string(&path) {
                    Ok(text) => {
                        properties.extend(read_properties(&text).map_err(|message| HdfsSetupError::BadConfFile {
                            path: path.clone(),
                            message,
                        })?)
                    }
                    Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                    Err(error) => {
                        let message = error.to_string();
                        return Err(HdfsSetupError::BadConfFile { path, message });
                    }
                }
            }
        }
        properties.extend(above.iter().cloned());
        let written = properties.clone();
        for value in properties.values_mut() {
            *value = substituted(value, &written, &variable);
        }
        Ok(HadoopConf { dir, properties })
    }

    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.properties
            .get(name)
            .map(|value| value.trim())
            .filter(|value| !value.is_empty())
    }

    pub(super) fn properties(&self) -> impl Iterator<Item = (&str, &str)> {
        self.properties
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// Where it was read, for errors.
    pub(super) fn place(&self) -> String {
        match &self.dir {
            Some(dir) => format!("the Hadoop configuration in {}", dir.display()),
            None => {
                "the Hadoop configuration (none is given: set HADOOP_CONF_DIR, or [hdfs] hadoop_conf_dir)".to_owned()
            }
        }
    }

    /// What `hdfs:///path` means: scheme and authority of `fs.defaultFS`.
    pub(super) fn default_fs(&self) -> Option<(&str, &str)> {
        let (scheme, rest) = self
            .get("fs.defaultFS")
            .or_else(|| self.get("fs.default.name"))?
            .split_once("://")?;
        Some((scheme, rest.split('/').next().unwrap_or_default()))
    }

    /// Whether servers want Kerberos.
    pub(super) fn is_secure(&self) -> bool {
        self.get("hadoop.security.authentication")
            .is_some_and(|how| how != "simple")
    }

    /// The NameNodes of a name service, by their ids; empty if it has only one, or is none.
    pub(super) fn namenode_ids(&self, authority: &str) -> Vec<&str> {
        let ids = self.get(&format!("dfs.ha.namenodes.{authority}")).unwrap_or_default();
        ids.split(',').map(str::trim).filter(|id| !id.is_empty()).collect()
    }

    /// `host:port` of each NameNode that an authority means.
    pub(super) fn namenodes(&self, authority: &str) -> Vec<String> {
        let with_port = |address: &str| match address.rsplit_once(':') {
            Some((_, port)) if port.parse::<u16>().is_ok() => address.to_owned(),
            _ => format!("{address}:{NAMENODE_PORT}"),
        };
        let ids = self.namenode_ids(authority);
        if !ids.is_empty() {
            let address = |id: &&str| self.get(&format!("dfs.namenode.rpc-address.{authority}.{id}"));
            return ids.iter().filter_map(address).map(with_port).collect();
        }
        vec![with_port(
            self.get(&format!("dfs.namenode.rpc-address.{authority}"))
                .unwrap_or(authority),
        )]
    }

    /// Base URLs where NameNodes answer over HTTP; without an entry, where Hadoop has them by default.
    pub(super) fn web_addresses(&self, authority: &str) -> Vec<String> {
        let policy = self.get("dfs.http.policy").unwrap_or_default();
        let (scheme, name, port) = if policy == "HTTPS_ONLY" {
            ("https", "dfs.namenode.https-address", 9871)
        } else {
            ("http", "dfs.namenode.http-address", 9870)
        };
        // A server listens on 0.0.0.0, which is no address of it.
        let base = |address: &str, host: &str| {
            let (given, given_port) = address.rsplit_once(':').unwrap_or((address, ""));
            let host = if given.is_empty() || given == "0.0.0.0" {
                host
            } else {
                given
            };
            format!("{scheme}://{host}:{}", given_port.parse().unwrap_or(port))
        };
        let host_of = |address: &str| address.rsplit_once(':').map_or(address, |(host, _)| host).to_owned();
        let ids = self.namenode_ids(authority);
        if ids.is_empty() {
            let host = self
                .namenodes(authority)
                .first()
                .map(|address| host_of(address))
                .unwrap_or_default();
            let service = self.get(&format!("{name}.{authority}"));
            return vec![base(service.or_else(|| self.get(name)).unwrap_or_default(), &host)];
        }
        let of_id = |id: &&str| {
            let rpc = self.get(&format!("dfs.namenode.rpc-address.{authority}.{id}"))?;
            let web = self.get(&format!("{name}.{authority}.{id}")).unwrap_or_default();
            Some(base(web, &host_of(rpc)))
        };
        ids.iter().filter_map(of_id).collect()
    }
}

/// The `<property>`s of a configuration file.
fn read_properties(text: &str) -> Result<BTreeMap<String, String>, String> {
    let options = roxmltree::ParsingOptions {
        allow_dtd: true,
        ..roxmltree::ParsingOptions::default()
    };
    let document = roxmltree::Document::parse_with_options(text, options).map_err(|error| error.to_string())?;
    let mut properties = BTreeMap::new();
    for property in document.descendants().filter(|node| node.has_tag_name("property")) {
        let text = |name| {
            let node = property.children().find(|node| node.has_tag_name(name));
            node.map(|node| node.text().unwrap_or_default().trim().to_owned())
        };
        if let (Some(name), Some(value)) = (text("name"), text("value")) {
            properties.insert(name, value);
        }
    }
    Ok(properties)
}

/// `value` with each `${name}` replaced by the property, or `${env.NAME}` by the variable, of that name; others stay.
fn substituted(
    value: &str,
    properties: &BTreeMap<String, String>,
    variable: &impl Fn(&str) -> Option<String>,
) -> String {
    let mut value = value.to_owned();
    let mut unknown = BTreeSet::new();
    for _ in 0..MOST_SUBSTITUTIONS {
        let mut from = 0;
        let found = loop {
            let Some(start) = value[from..].find("${").map(|at| from + at) else {
                break None;
            };
            let Some(end) = value[start..].find('}').map(|at| start + at) else {
                break None;
            };
            let name = value[start + 2..end].to_owned();
            if !unknown.contains(&name) {
                break Some((start, end, name));
            }
            from = end;
        };
        let Some((start, end, name)) = found else { break };
        let replacement = match name.strip_prefix("env.") {
            Some(name) => variable(name),
            None if name == "user.name" => variable("USER"),
            None => properties.get(&name).cloned(),
        };
        match replacement {
            Some(replacement) => value.replace_range(start..=end, &replacement),
            None => drop(unknown.insert(name)),
        }
    }
    value
}

#[cfg(test)]
mod tests {
    use super::*;

    fn conf(core: &str, hdfs: &str, above: &[(&str, &str)]) -> HadoopConf {
        let dir = tempfile::tempdir().unwrap();
        let file = |properties: &str| {
            format!("<?xml version=\"1.0\"?>\n<!-- ours -->\n<configuration>{properties}</configuration>")
        };
        std::fs::write(dir.path().join("core-site.xml"), file(core)).unwrap();
        std::fs::write(dir.path().join("hdfs-site.xml"), file(hdfs)).unwrap();
        let above: Vec<_> = above
            .iter()
            .map(|(name, value)| (name.to_string(), value.to_string()))
            .collect();
        let variable = |name: &str| match name {
            "HADOOP_CONF_DIR" => dir.path().to_str().map(str::to_owned),
            "HOST" => Some("n".to_owned()),
            _ => None,
        };
        HadoopConf::load(None, variable, &above).unwrap()
    }

    fn property(name: &str, value: &str) -> String {
        format!("<property>\n<name>{name}</name> <value> {value} </value><final>true</final></property>")
    }

    #[test]
    fn files_are_found_by_variables_and_what_is_given_stands_above_them() {
        let conf = conf(
            &(property("fs.defaultFS", "hdfs://${ns}/x") + &property("ns", "cluster-${env.HOST}")),
            &(property("a", "1") + &property("b", "${no.such} ${ns}") + &property("self", "${self}x")),
            &[("a", "2")],
        );
        assert_eq!(conf.default_fs(), Some(("hdfs", "cluster-n")));
        assert_eq!(conf.get("a"), Some("2"));
        assert_eq!(conf.get("b"), Some("${no.such} cluster-n"));
        assert!(conf.get("self").unwrap().starts_with("${self}x"), "it ends");
        assert!(!conf.is_secure());
        let home = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(home.path().join("etc/hadoop")).unwrap();
        let variable = |name: &str| (name == "HADOOP_HOME").then(|| home.path().to_str().unwrap().to_owned());
        let at_home = HadoopConf::load(None, variable, &[]).unwrap();
        assert!(at_home.place().ends_with("etc/hadoop"));
        assert!(
            HadoopConf::load(None, |_| None, &[])
                .unwrap()
                .place()
                .contains("set HADOOP_CONF_DIR")
        );
    }

    #[test]
    fn a_directory_that_is_not_there_and_a_file_that_is_no_xml_are_named() {
        let error = HadoopConf::load(Some(Path::new("/no/such/conf")), |_| None, &[]).unwrap_err();
        assert!(error.to_string().contains("/no/such/conf"), "{error}");
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("hdfs-site.xml"), "<configuration><property>").unwrap();
        let error = HadoopConf::load(Some(dir.path()), |_| None, &[]).unwrap_err();
        assert!(error.to_string().contains("hdfs-site.xml"), "{error}");
    }

    #[test]
    fn authorities_become_namenodes_and_their_web_addresses() {
        let ha = [
            ("dfs.ha.namenodes.ns", "nn1, nn2"),
            ("dfs.namenode.rpc-address.ns.nn1", "one:8020"),
            ("dfs.namenode.rpc-address.ns.nn2", "two"),
            ("dfs.namenode.http-address.ns.nn1", "web1:50070"),
            ("dfs.namenode.http-address.ns.nn2", "0.0.0.0:50071"),
            ("dfs.namenode.rpc-address.solo", "three:9000"),
        ];
        let conf = conf("", "", &ha);
        assert_eq!(conf.namenodes("ns"), ["one:8020", "two:8020"]);
        assert_eq!(conf.namenodes("solo"), ["three:9000"]);
        assert_eq!(conf.namenodes("host"), ["host:8020"]);
        assert_eq!(conf.namenodes("host:1234"), ["host:1234"]);
        assert_eq!(conf.web_addresses("ns"), ["http://web1:50070", "http://two:50071"]);
        assert_eq!(conf.web_addresses("host:1234"), ["http://host:9870"]);
    }

    #[test]
    fn https_only_clusters_have_other_addresses() {
        let conf = conf(
            "",
            "",
            &[
                ("dfs.http.policy", "HTTPS_ONLY"),
                ("dfs.namenode.https-address", "web:50470"),
            ],
        );
        assert_eq!(conf.web_addresses("host:1234"), ["https://web:50470"]);
    }
}

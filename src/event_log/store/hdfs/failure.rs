//! What went wrong, as an operator has to know it: the thing, the place, and what to do. Servers send Java stacks; they end here.

use std::io;
use std::path::Path;
use std::time::Duration;

use hdfs_native::HdfsError;

use super::super::StoreError;
use super::hadoop::HadoopConf;
use super::{Settings, Target};

/// How far a call had come when it failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    /// A NameNode was asked.
    NameNode,
    /// Bytes were read from DataNodes.
    DataNode,
}

/// The error of `path` for what the client says.
pub(super) fn store_error(target: &Target, path: &str, stage: Stage, error: &HdfsError) -> StoreError {
    let path = || path.to_owned();
    let refused = |message: String| StoreError::Refused { path: path(), message };
    let unavailable = |message: String| StoreError::Unavailable { path: path(), message };
    match error {
        HdfsError::FileNotFound(_) => StoreError::NotFound { path: path() },
        HdfsError::RPCError(class, text) | HdfsError::FatalRPCError(class, text) => {
            let exception = class.rsplit(['.', '$']).next().unwrap_or_default();
            let message = first_line(text);
            match exception {
                "FileNotFoundException" if message.contains("is not a file") => refused("is a directory".to_owned()),
                "FileNotFoundException" => StoreError::NotFound { path: path() },
                "AccessControlException" if message.contains("Permission denied") => refused(uncapitalised(&message)),
                "AccessControlException"
                | "AuthorizationException"
                | "SaslException"
                | "GSSException"
                | "InvalidToken" => refused(refused_login(target, &message)),
                "SafeModeException" => unavailable(format!(
                    "the NameNode {} is in safe mode, as while it starts; reading goes on when it leaves it",
                    target.names()
                )),
                "StandbyException" if target.namenodes.len() < 2 => unavailable(format!(
                    "the NameNode {} is in standby; name the name service (hdfs://service/path) instead of one of its NameNodes",
                    target.names()
                )),
                "StandbyException" | "RetriableException" => {
                    unavailable(format!("no NameNode of {} is active now", target.names()))
                }
                _ => unavailable(format!("the NameNode says {exception}: {message}")),
            }
        }
        HdfsError::GSSAPIError(_, _, text) if is_about_kdc(text) => unavailable(kerberos(target, &first_line(text))),
        HdfsError::GSSAPIError(_, _, text) => refused(kerberos(target, &first_line(text))),
        HdfsError::SASLError(text) => refused(refused_login(target, &first_line(text))),
        HdfsError::NoSASLMechanism => refused(refused_login(target, "no way to log in that both sides know")),
        HdfsError::OperationFailed(text) if text.contains("libgssapi") => refused(
            "Kerberos needs the library libgssapi_krb5.so.2, which is not on this machine: install Debian's package \
             libgssapi-krb5-2, or krb5-libs of Red Hat"
                .to_owned(),
        ),
        HdfsError::IOError(error) => unavailable(unreachable(target, stage, error)),
        HdfsError::ChecksumError => {
            unavailable("a block does not fit its checksum on any DataNode that was asked".to_owned())
        }
        HdfsError::BlocksNotFound(_) => {
            unavailable("no DataNode has one of its blocks now; `hdfs fsck` tells which".to_owned())
        }
        HdfsError::DataTransferError(text) => unavailable(format!("a DataNode says: {}", first_line(text))),
        other => unavailable(first_line(&other.to_string())),
    }
}

/// Nobody answered in time.
pub(super) fn late(target: &Target, path: &str, stage: Stage, limit: Duration) -> StoreError {
    let who = match stage {
        Stage::NameNode => format!("the NameNode {}", target.names()),
        Stage::DataNode => "a DataNode".to_owned(),
    };
    let kdc = match target.secure {
        true => format!(", or the KDC {}", target.kdc()),
        false => String::new(),
    };
    StoreError::Unavailable {
        path: path.to_owned(),
        message: format!("{who}{kdc} has not answered within {limit:?} ([hdfs] timeout)"),
    }
}

/// A defect of the client.
pub(super) fn panicked(path: &str) -> StoreError {
    StoreError::Unavailable {
        path: path.to_owned(),
        message: "a defect of the HDFS client stopped reading it; please report it".to_owned(),
    }
}

fn unreachable(target: &Target, stage: Stage, error: &io::Error) -> String {
    let cause = first_line(&error.to_string());
    if stage == Stage::DataNode {
        return format!("a DataNode cannot be read from: {cause}");
    }
    let names = target.names();
    if cause.contains("lookup address") || cause.contains("Name or service not known") {
        return format!(
            "{names} is no host that this machine knows, and {} is no name service of {}",
            target.authority, target.conf_place
        );
    }
    match error.kind() {
        io::ErrorKind::ConnectionRefused => format!(
            "nothing answers at the NameNode {names} (connection refused): is it running, and is this its RPC address?"
        ),
        io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset | io::ErrorKind::UnexpectedEof => format!(
            "the NameNode {names} closed the connection ({cause}); it does that where it wants Kerberos and the client does not \
             (hadoop.security.authentication in {}), and when it stops",
            target.conf_place
        ),
        _ => format!("the NameNode {names} cannot be reached: {cause}"),
    }
}

/// The server did not take what the client showed.
fn refused_login(target: &Target, message: &str) -> String {
    if message.contains("SIMPLE authentication is not enabled") {
        return format!(
            "the NameNode {} wants Kerberos: set hadoop.security.authentication to kerberos in {}, and [hdfs] kerberos_principal \
             and kerberos_keytab",
            target.names(),
            target.conf_place
        );
    }
    kerberos(target, message)
}

/// Why nobody is logged in, from what the library of Kerberos says, and what would help.
fn kerberos(target: &Target, message: &str) -> String {
    let who = match &target.principal {
        Some(principal) => format!("as {principal}"),
        None => "with the process's default ticket cache (no [hdfs] kerberos_principal)".to_owned(),
    };
    let with = match (&target.keytab, &target.cache) {
        (Some(keytab), _) => format!(" with the keytab {keytab}"),
        (None, Some(cache)) => format!(" with the ticket cache {cache}"),
        (None, None) => String::new(),
    };
    let kdc = target.kdc();
    let lower = message.to_lowercase();
    let has = |texts: &[&str]| texts.iter().any(|text| lower.contains(text));
    let todo = if has(&[
        "cannot contact any kdc",
        "cannot find kdc",
        "cannot resolve network address",
    ]) {
        format!("no KDC of the realm answers: look whether {kdc} runs and can be reached from here")
    } else if has(&["expired"]) {
        "the ticket has expired: give a keytab ([hdfs] kerberos_keytab), which renews it by itself, or run kinit"
            .to_owned()
    } else if has(&[
        "preauthentication failed",
        "password incorrect",
        "decrypt integrity check failed",
    ]) {
        "the keytab has an old or wrong key of the principal: export it anew".to_owned()
    } else if has(&["not found in kerberos database"]) && lower.starts_with("server") {
        "the KDC does not know the NameNode's principal: name the NameNode as its principal does".to_owned()
    } else if has(&["not found in kerberos database"]) {
        "the KDC does not know this principal: look at [hdfs] kerberos_principal".to_owned()
    } else if has(&["clock skew"]) {
        "the clocks of this machine and of the KDC differ too much".to_owned()
    } else if target
        .keytab
        .as_deref()
        .is_some_and(|keytab| !Path::new(keytab).is_file())
    {
        "the keytab is not there, or cannot be read".to_owned()
    } else if target.keytab.is_some()
        && has(&[
            "no key table entry",
            "not found in keytab",
            "no suitable keys",
            "no credentials",
            "can't find client principal",
            "matching",
        ])
    {
        "the keytab has no key of this principal: `klist -k` shows which it has".to_owned()
    } else {
        "set [hdfs] kerberos_principal and kerberos_keytab, or run kinit and set kerberos_cache".to_owned()
    };
    format!("no log-in to HDFS by Kerberos {who}{with} (KDC {kdc}): {message}; {todo}")
}

/// Whether nobody could be asked, which may be otherwise a moment later.
fn is_about_kdc(message: &str) -> bool {
    let lower = message.to_lowercase();
    [
        "cannot contact any kdc",
        "cannot find kdc",
        "cannot resolve network address",
    ]
    .iter()
    .any(|text| lower.contains(text))
}

/// Without the Java stack that follows, and without the class that some texts begin with.
pub(super) fn first_line(text: &str) -> String {
    let line = text.lines().next().unwrap_or_default().trim();
    match line.split_once(": ") {
        Some((class, rest)) if class.contains('.') && !class.contains(' ') => rest.trim().to_owned(),
        _ => line.to_owned(),
    }
}

fn uncapitalised(text: &str) -> String {
    let mut chars = text.chars();
    chars
        .next()
        .map_or_else(String::new, |first| first.to_lowercase().chain(chars).collect())
}

impl Target {
    /// What errors have to name.
    pub(super) fn new(authority: &str, conf: &HadoopConf, settings: &Settings) -> Self {
        Target {
            authority: authority.to_owned(),
            namenodes: conf.namenodes(authority),
            conf_place: conf.place(),
            secure: conf.is_secure(),
            principal: settings.principal.clone(),
            keytab: settings.keytab.clone(),
            cache: settings.cache.clone().or_else(|| std::env::var("KRB5CCNAME").ok()),
        }
    }

    /// The addresses of its NameNodes.
    pub(super) fn names(&self) -> String {
        self.namenodes.join(" or ")
    }

    /// The KDCs of the principal's realm that krb5.conf names.
    pub(super) fn kdc(&self) -> String {
        let (path, text) = krb5_conf();
        let realm = self
            .principal
            .as_deref()
            .and_then(|principal| principal.rsplit_once('@'));
        let realm = realm
            .map(|(_, realm)| realm.to_owned())
            .or_else(|| default_realm(&text))
            .unwrap_or_default();
        let kdcs = kdcs_of(&text, &realm);
        if kdcs.is_empty() {
            format!("of realm {realm}, which {path} does not name")
        } else {
            kdcs.join(", ")
        }
    }
}

/// The first file of `KRB5_CONFIG`, else the system's.
pub(super) fn krb5_conf() -> (String, String) {
    let paths = std::env::var("KRB5_CONFIG").unwrap_or_else(|_| "/etc/krb5.conf".to_owned());
    let path = paths.split(':').next().unwrap_or_default().to_owned();
    let text = std::fs::read_to_string(&path).unwrap_or_default();
    (path, text)
}

/// `default_realm` of `[libdefaults]`.
pub(super) fn default_realm(krb5_conf: &str) -> Option<String> {
    let mut lines = krb5_conf.lines().filter_map(|line| line.split_once('='));
    let (_, realm) = lines.find(|(name, _)| name.trim() == "default_realm")?;
    Some(realm.trim().to_owned())
}

/// The `kdc`s of a realm in `[realms]`, in their order.
pub(super) fn kdcs_of(krb5_conf: &str, realm: &str) -> Vec<String> {
    let (mut section, mut inside, mut kdcs) = ("", false, Vec::new());
    for line in krb5_conf.lines().map(str::trim) {
        if line.starts_with('[') {
            (section, inside) = (line.trim_matches(['[', ']']), false);
        } else if section == "realms" {
            match line.split_once('=') {
                Some((name, rest)) if rest.trim().starts_with('{') => inside = name.trim() == realm,
                Some((name, kdc)) if inside && name.trim() == "kdc" => kdcs.push(kdc.trim().to_owned()),
                _ if line.starts_with('}') => inside = false,
                _ => {}
            }
        }
    }
    kdcs
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target() -> Target {
        Target {
            authority: "ns".into(),
            namenodes: vec!["one:8020".into(), "two:8020".into()],
            conf_place: "the Hadoop configuration in /conf".into(),
            secure: true,
            principal: Some("gateway@REALM".into()),
            keytab: Some("/no/such.keytab".into()),
            cache: None,
        }
    }

    fn text(error: &HdfsError) -> String {
        store_error(&target(), "hdfs://ns/logs", Stage::NameNode, error).to_string()
    }

    #[test]
    fn java_stacks_and_classes_are_cut() {
        let stack = "java.io.IOException: It broke: badly\n\tat org.apache.hadoop.X.y(X.java:1)\n";
        assert_eq!(first_line(stack), "It broke: badly");
        let denied = HdfsError::RPCError(
            "org.apache.hadoop.security.AccessControlException".into(),
            "Permission denied: user=alice, access=READ, inode=\"/logs/a\":root:root:-rw-------\n\tat org.X".into(),
        );
        assert_eq!(
            text(&denied),
            "hdfs://ns/logs: permission denied: user=alice, access=READ, inode=\"/logs/a\":root:root:-rw-------"
        );
    }

    #[test]
    fn exceptions_of_the_namenode_become_errors_of_their_own() {
        let rpc = |class: &str, text: &str| HdfsError::RPCError(class.into(), text.into());
        let missing = rpc("java.io.FileNotFoundException", "File does not exist: /logs\n\tat x");
        assert!(matches!(
            store_error(&target(), "p", Stage::NameNode, &missing),
            StoreError::NotFound { .. }
        ));
        let safe = text(&rpc(
            "org.apache.hadoop.hdfs.server.namenode.SafeModeException",
            "Cannot\n\tat x",
        ));
        assert!(safe.contains("one:8020 or two:8020 is in safe mode"), "{safe}");
        let standby = text(&rpc(
            "org.apache.hadoop.ipc.StandbyException",
            "Operation category READ\n",
        ));
        assert!(
            standby.contains("no NameNode of one:8020 or two:8020 is active now"),
            "{standby}"
        );
        let simple = text(&HdfsError::FatalRPCError(
            "org.apache.hadoop.security.AccessControlException".into(),
            "SIMPLE authentication is not enabled.  Available:[TOKEN, KERBEROS]".into(),
        ));
        assert!(
            simple.contains("hadoop.security.authentication to kerberos in the Hadoop configuration in /conf"),
            "{simple}"
        );
        let refused = text(&HdfsError::IOError(io::ErrorKind::ConnectionRefused.into()));
        assert!(
            refused.contains("one:8020 or two:8020 (connection refused)"),
            "{refused}"
        );
    }

    #[test]
    fn kdcs_stand_in_the_realm_of_krb5_conf() {
        let conf = "[libdefaults]\n default_realm = B\n[realms]\n A = {\n  kdc = a1:88\n }\n B = {\n  kdc = b1\n  admin_server = x\n  \
                    kdc = b2:750\n }\n[domain_realm]\n kdc = no\n";
        assert_eq!(kdcs_of(conf, "A"), ["a1:88"]);
        assert_eq!(kdcs_of(conf, "B"), ["b1", "b2:750"]);
        assert!(kdcs_of(conf, "C").is_empty());
        assert_eq!(default_realm(conf).as_deref(), Some("B"));
    }
}

//! Every key of the configuration with its meaning: the source of `docs/configuration.md`, `system.settings` and of the
//! nearest key in an error. A test holds it to the structures that are read.

/// One key of the configuration.
#[derive(Debug)]
pub struct Key {
    /// `section.key`.
    pub name: &'static str,
    pub form: KeyForm,
    /// The flag of `sparkgate serve` that sets it, if there is one.
    pub flag: Option<&'static str>,
    /// What it means, and what a value costs.
    pub doc: &'static str,
}

/// How a value is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyForm {
    Text,
    TextList,
    Number,
    Bool,
}

impl Key {
    pub fn section(&self) -> &'static str {
        self.name.split_once('.').map_or("", |(section, _)| section)
    }

    pub fn key(&self) -> &'static str {
        self.name.split_once('.').map_or(self.name, |(_, key)| key)
    }

    /// The environment variable that sets it.
    pub fn variable(&self) -> String {
        variable(self.name)
    }
}

/// `section.key` as a variable of the environment.
pub(super) fn variable(name: &str) -> String {
    format!("{PREFIX}{}", name.replace('.', "__").to_uppercase())
}

/// As a file has it: `[section] key`.
pub(super) fn in_file(name: &str) -> String {
    match name.split_once('.') {
        Some((section, key)) => format!("[{section}] {key}"),
        None => name.to_owned(),
    }
}

/// What all our variables begin with.
pub(super) const PREFIX: &str = "SPARKGATE_";

/// Variables with our prefix that are no keys of the configuration.
pub(super) const OTHER_VARIABLES: [(&str, &str); 4] = [
    (
        "SPARKGATE_CONFIG",
        "The configuration file, where `--config` does not name one.",
    ),
    (
        "SPARKGATE_LOG",
        "What is logged to standard error, as `tracing` filters are written (`info`, `sparkgate=debug`); \
         `info` for `serve`, `warn` for `sql`, `ingest` and `cache`, `error` for `check`.",
    ),
    (
        "SPARK_HISTORY_OPTS",
        "Options of a Spark history server; its `-Dspark.…=…` are read, over those of `--properties-file`.",
    ),
    (
        "AWS_REGION",
        "And `AWS_DEFAULT_REGION`, `AWS_ENDPOINT_URL`, `AWS_ENDPOINT_URL_S3`, `AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY`, \
         `AWS_SESSION_TOKEN`, `AWS_WEB_IDENTITY_TOKEN_FILE`, `AWS_ROLE_ARN`, `AWS_CA_BUNDLE`: as Amazon's own tools read them, below \
         `[s3]`. `GOOGLE_…` and `AZURE_…` in the same way.",
    ),
];

/// Every key there is, by section, in the order of the documentation.
pub static KEYS: &[Key] = &[
    Key {
        name: "sources.paths",
        form: KeyForm::TextList,
        flag: Some("SOURCE"),
        doc: "Directories of event logs, or single logs: paths (relative ones to the working directory), `file://` URIs, or \
              `s3://bucket/prefix` (also `s3a://`), `gs://…`, `abfss://…`. Sources on the command line replace these.",
    },
    Key {
        name: "sources.scan_interval",
        form: KeyForm::Text,
        flag: Some("--scan-interval"),
        doc: "Time from one look at the sources to the next; an event is visible that long after it was written, at the \
              latest. Each look costs one listing per directory. At least 100ms.",
    },
    Key {
        name: "sources.follow_log_deletion",
        form: KeyForm::Bool,
        flag: None,
        doc: "Rows of a log that was deleted go away with the next scan. If false they stay until the gateway stops.",
    },
    Key {
        name: "storage.connect_timeout",
        form: KeyForm::Text,
        flag: None,
        doc: "How long a connection to a store (S3, HDFS and others, not the local disk) may take to open.",
    },
    Key {
        name: "storage.request_timeout",
        form: KeyForm::Text,
        flag: None,
        doc: "How long one request to a store may take, its whole answer included. One that fails is sent again.",
    },
    Key {
        name: "storage.retry_timeout",
        form: KeyForm::Text,
        flag: None,
        doc: "How long a listing or a read is tried over and over, with growing pauses, before it fails; a log that could not be read is \
              tried again with the next scan. `0s` tries once.",
    },
    Key {
        name: "storage.longest_pause",
        form: KeyForm::Text,
        flag: None,
        doc: "A source that fails over and over is left alone, first for a second, then for two, four … and at most for this long; then one \
              request tries whether it is back. What was read of it is served meanwhile.",
    },
    Key {
        name: "storage.read_ahead",
        form: KeyForm::Text,
        flag: None,
        doc: "Bytes of one large log that are asked for before they are needed, in requests side by side. Each thread that reads logs may \
              hold as much in memory; 0 asks for one piece after the other.",
    },
    Key {
        name: "storage.ca_file",
        form: KeyForm::Text,
        flag: None,
        doc: "File of certificates (PEM) that sign those of stores, besides the system's own: for a private authority.",
    },
    Key {
        name: "s3.endpoint",
        form: KeyForm::Text,
        flag: None,
        doc: "Where S3 is, such as `https://minio.example:9000`; empty is `AWS_ENDPOINT_URL_S3`, `AWS_ENDPOINT_URL`, and then Amazon's for \
              the region. Every key of `[s3]` but the environment's may be set for one bucket alone, in a section `[s3.bucket.NAME]`.",
    },
    Key {
        name: "s3.region",
        form: KeyForm::Text,
        flag: None,
        doc: "Region of the bucket; empty is `AWS_REGION`, `AWS_DEFAULT_REGION`, and then `us-east-1`.",
    },
    Key {
        name: "s3.path_style",
        form: KeyForm::Bool,
        flag: None,
        doc: "The bucket is the first part of the path of a request, as nearly all servers want it; else it is part of the host's name.",
    },
    Key {
        name: "s3.allow_http",
        form: KeyForm::Bool,
        flag: None,
        doc: "Take an endpoint that begins with `http://`: logs cross the network in clear.",
    },
    Key {
        name: "s3.credentials",
        form: KeyForm::Text,
        flag: None,
        doc: "Where credentials come from: `auto` is the first of the following that is there, `keys` those below, `environment` \
              `AWS_ACCESS_KEY_ID` and its like, `web-identity` a token file and a role (`AWS_WEB_IDENTITY_TOKEN_FILE`, `AWS_ROLE_ARN`), \
              `container` the agent of ECS or EKS, `instance-profile` the machine; `anonymous` signs nothing.",
    },
    Key {
        name: "s3.access_key_id",
        form: KeyForm::Text,
        flag: None,
        doc: "Access key.",
    },
    Key {
        name: "s3.secret_access_key",
        form: KeyForm::Text,
        flag: None,
        doc: "Its secret; rather in the environment than in a file. It is shown nowhere.",
    },
    Key {
        name: "s3.session_token",
        form: KeyForm::Text,
        flag: None,
        doc: "The token of temporary keys. It is shown nowhere.",
    },
    Key {
        name: "hdfs.hadoop_conf_dir",
        form: KeyForm::Text,
        flag: None,
        doc: "Directory of Hadoop's `core-site.xml` and `hdfs-site.xml`; empty is what `HADOOP_CONF_DIR`, or else `HADOOP_HOME`, says.",
    },
    Key {
        name: "hdfs.user",
        form: KeyForm::Text,
        flag: None,
        doc: "Who to be where HDFS asks for no proof; empty is `HADOOP_USER_NAME`, and then the user of the process. With Kerberos: for whom \
              the principal acts, which HDFS has to allow it (`hadoop.proxyuser`).",
    },
    Key {
        name: "hdfs.kerberos_principal",
        form: KeyForm::Text,
        flag: None,
        doc: "Who to log in as, such as `sparkgate@EXAMPLE.COM`, where Hadoop's configuration says that Kerberos is used. Empty is whose \
              tickets the default cache (`KRB5CCNAME`) has.",
    },
    Key {
        name: "hdfs.kerberos_keytab",
        form: KeyForm::Text,
        flag: None,
        doc: "File with the principal's keys. With it the gateway stays logged in for as long as it runs.",
    },
    Key {
        name: "hdfs.kerberos_cache",
        form: KeyForm::Text,
        flag: None,
        doc: "Cache of tickets, such as `FILE:/tmp/krb5cc_0`. Without a keytab somebody has to renew what is in it.",
    },
    Key {
        name: "hdfs.webhdfs",
        form: KeyForm::Text,
        flag: None,
        doc: "Where the block of a log that is being written is read, which HDFS' own protocol does not give: `auto` is where Hadoop's \
              configuration says that NameNodes have WebHDFS, `off` reads finished blocks only, so that logs of running applications are \
              behind; or base URLs, with commas.",
    },
    Key {
        name: "hdfs.timeout",
        form: KeyForm::Text,
        flag: None,
        doc: "Longest wait for an answer of a NameNode, or for the next bytes of a DataNode. At least 1s.",
    },
    Key {
        name: "hdfs.properties",
        form: KeyForm::TextList,
        flag: None,
        doc: "Properties of Hadoop's client above those of its files, each as `name=value`: `dfs.client.use.datanode.hostname=true`.",
    },
    Key {
        name: "ingest.threads",
        form: KeyForm::Number,
        flag: None,
        doc: "Logs that are read side by side, each on a thread of its own; 0 is the number of cores. More than the \
              cores helps only where storage is slow.",
    },
    Key {
        name: "cache.location",
        form: KeyForm::Text,
        flag: Some("--cache"),
        doc: "Directory of the column cache, which holds the rows of logs that were read, so that they are read once: a path or a \
              `file://` URI. `default` is a directory for each set of sources below `$XDG_CACHE_HOME/sparkgate` (`~/.cache/sparkgate`); \
              `off` keeps all rows in memory, and every start reads all logs. It can be deleted at any time.",
    },
    Key {
        name: "cache.read_only",
        form: KeyForm::Bool,
        flag: Some("--read-only"),
        doc: "Take rows from a column cache that another process writes, and write nothing. What is not in it is read into memory.",
    },
    Key {
        name: "cache.max_bytes",
        form: KeyForm::Text,
        flag: None,
        doc: "Size from which applications give up their rows, those first that were not asked for and whose logs were not written for the \
              longest time; they stay listed, and their logs are read again when a statement names them. The files of rows that left are \
              deleted ten minutes later. 0 is without limit; without `sources.follow_log_deletion` there is none.",
    },
    Key {
        name: "retention.max_age",
        form: KeyForm::Text,
        flag: None,
        doc: "Logs that were last written longer ago than this are not shown, and their rows leave the column cache, as with Spark's \
              `spark.history.fs.cleaner.maxAge`; `off` shows all. The logs themselves are never touched.",
    },
    Key {
        name: "retention.max_logs",
        form: KeyForm::Number,
        flag: None,
        doc: "Of more logs than these in a source only the newest are shown, as with Spark's `spark.history.fs.cleaner.maxNum`; one that \
              is being written always is. 0 shows all.",
    },
    Key {
        name: "query.timeout",
        form: KeyForm::Text,
        flag: None,
        doc: "Longest time of one statement, planning and rows together; `off` is without limit. The default holds for \
              `serve`; `sparkgate sql` has a limit only if one is set.",
    },
    Key {
        name: "query.memory_limit",
        form: KeyForm::Text,
        flag: None,
        doc: "Memory that one statement may hold before it spills to disk, or fails where it cannot. At least 1MiB; 0 is its share: 0.6 \
              of the memory of the machine or its container, divided by `query.max_concurrent`.",
    },
    Key {
        name: "query.max_concurrent",
        form: KeyForm::Number,
        flag: None,
        doc: "Statements that work at one time; others wait for their turn in the order of arrival. Statements over the catalogs and `system` \
              alone do not count, nor does one whose client takes no rows at the moment. Requests to the REST API have as many places of \
              their own.",
    },
    Key {
        name: "query.queue_timeout",
        form: KeyForm::Text,
        flag: None,
        doc: "How long a statement waits for its turn; then it fails with SQLSTATE 53300 or HTTP status 503.",
    },
    Key {
        name: "query.spill_directory",
        form: KeyForm::Text,
        flag: None,
        doc: "Where statements put what does not fit into `query.memory_limit`, in a directory that goes with the process; empty is the \
              system's directory for temporary files.",
    },
    Key {
        name: "query.max_spill_bytes",
        form: KeyForm::Text,
        flag: None,
        doc: "Disk that all statements together may use; one that needs more fails. 0 uses none.",
    },
    Key {
        name: "query.max_result_rows",
        form: KeyForm::Number,
        flag: None,
        doc: "Rows of one result; one that has more fails with SQLSTATE 54000 after as many. 0 is without limit.",
    },
    Key {
        name: "query.max_result_bytes",
        form: KeyForm::Text,
        flag: None,
        doc: "Size in memory of the rows of one result; one that is larger fails with SQLSTATE 54000. 0 is without limit.",
    },
    Key {
        name: "query.wait_for_logs",
        form: KeyForm::Text,
        flag: None,
        doc: "How long a statement or a REST request that names an application waits for its log to be read, if it was seen and not read \
              yet; then it fails with SQLSTATE 57014 or HTTP status 503, and says how far reading is.",
    },
    Key {
        name: "pg.addr",
        form: KeyForm::Text,
        flag: Some("--pg"),
        doc: "Where the PostgreSQL wire listens: `ADDRESS:PORT`, port 0 takes a free one, `off` switches it off. An \
              address that other machines can reach needs `[auth] users_file`, or `[tls] client_ca` with a rule for certificates.",
    },
    Key {
        name: "pg.max_connections",
        form: KeyForm::Number,
        flag: None,
        doc: "Connections at one time; one more is refused with SQLSTATE 53300. At least 1.",
    },
    Key {
        name: "pg.reserved_connections",
        form: KeyForm::Number,
        flag: None,
        doc: "How many of these are kept for users with the role `admin`. One is always left for others.",
    },
    Key {
        name: "pg.idle_timeout",
        form: KeyForm::Text,
        flag: None,
        doc: "A connection that asks nothing for this long is closed with SQLSTATE 57P05, whether a transaction is open or not; `off` never \
              closes one. A session sets its own with `SET idle_session_timeout`.",
    },
    Key {
        name: "flight.addr",
        form: KeyForm::Text,
        flag: Some("--flight"),
        doc: "Where Arrow Flight SQL listens: `ADDRESS:PORT`, port 0 takes a free one, `off` switches it off. An address that other machines \
              can reach needs `[auth] users_file`, or `[tls] client_ca` with a rule for certificates.",
    },
    Key {
        name: "flight.max_connections",
        form: KeyForm::Number,
        flag: None,
        doc: "Connections at one time, each with up to 100 requests; calls of one more are refused with the gRPC code RESOURCE_EXHAUSTED. At \
              least 1.",
    },
    Key {
        name: "flight.idle_timeout",
        form: KeyForm::Text,
        flag: None,
        doc: "A connection without a request for this long is closed; `off` never closes one. Clients of gRPC connect again by themselves.",
    },
    Key {
        name: "flight.stall_timeout",
        form: KeyForm::Text,
        flag: None,
        doc: "A client that takes nothing of a result for this long loses it: a statement that waits for its reader holds memory and files.",
    },
    Key {
        name: "flight.token_lifetime",
        form: KeyForm::Text,
        flag: None,
        doc: "How long after their last use the tokens of log-ins, the options of their sessions and prepared statements are kept.",
    },
    Key {
        name: "flight.ticket_lifetime",
        form: KeyForm::Text,
        flag: None,
        doc: "How long a result can be fetched after a client asked where it is.",
    },
    Key {
        name: "flight.max_message_bytes",
        form: KeyForm::Text,
        flag: None,
        doc: "The largest message that is taken from a client, such as a statement with its parameters.",
    },
    Key {
        name: "http.addr",
        form: KeyForm::Text,
        flag: Some("--http"),
        doc: "Where HTTP listens (Spark's REST API below `/api/v1`, health below `/health`): `ADDRESS:PORT`, port 0 takes a free \
              one, `off` switches it off. An address that other machines can reach needs `[auth] users_file`, or `[tls] client_ca` with a \
              rule for certificates.",
    },
    Key {
        name: "http.max_connections",
        form: KeyForm::Number,
        flag: None,
        doc: "Connections at one time; one more is answered with HTTP status 503 and closed. At least 1.",
    },
    Key {
        name: "http.idle_timeout",
        form: KeyForm::Text,
        flag: None,
        doc: "How long a connection may take to send the head of its next request, whether it sends nothing or a byte now and then, and how \
              long it may take nothing of an answer; then it is closed.",
    },
    Key {
        name: "auth.users_file",
        form: KeyForm::Text,
        flag: None,
        doc: "File of users with what their passwords and tokens are checked with, never these themselves; `sparkgate user` makes and changes \
              it. It is read again when it changes. Without one there are no users, and who is on this machine may do everything.",
    },
    Key {
        name: "auth.rules",
        form: KeyForm::TextList,
        flag: None,
        doc: "Who may come in, as lines of `pg_hba.conf`: `host`, `hostssl` or `hostnossl`, database, user, address, and `trust`, `reject`, \
              `scram-sha-256` or `cert`. The first that fits decides; nobody comes in where none does. For HTTP `scram-sha-256` is a password or \
              a token. `trust` is taken for loopback addresses only.",
    },
    Key {
        name: "auth.timeout",
        form: KeyForm::Text,
        flag: None,
        doc: "How long a client may take from its connection to the end of its log-in, the handshake of TLS and the wait after wrong passwords \
              included.",
    },
    Key {
        name: "tls.certificate",
        form: KeyForm::Text,
        flag: None,
        doc: "File of the server's certificate, with those it was signed with after it (PEM). With it and its key, PostgreSQL and HTTP speak \
              TLS on the ports they have. Files of `[tls]` are read again when they change; open connections go on.",
    },
    Key {
        name: "tls.key",
        form: KeyForm::Text,
        flag: None,
        doc: "File of the certificate's private key (PEM: PKCS#8, PKCS#1 or SEC1, without a password).",
    },
    Key {
        name: "tls.client_ca",
        form: KeyForm::Text,
        flag: None,
        doc: "File of the certificates that sign those of clients (PEM), for rules with the method `cert`: the common name is the user.",
    },
    Key {
        name: "tls.require_tls",
        form: KeyForm::Bool,
        flag: None,
        doc: "Refuse plain text: SQLSTATE 28000, HTTP status 426 (not for `/health`).",
    },
    Key {
        name: "tls.min_version",
        form: KeyForm::Text,
        flag: None,
        doc: "The oldest version of TLS that is spoken: `1.2` or `1.3`.",
    },
    Key {
        name: "rest.retained_jobs",
        form: KeyForm::Number,
        flag: None,
        doc: "Jobs of an application that REST shows, as Spark's server with `spark.ui.retainedJobs` (its default is 1000); 0 \
              shows all. Tables always have all.",
    },
    Key {
        name: "rest.retained_stages",
        form: KeyForm::Number,
        flag: None,
        doc: "Stage attempts of an application that REST shows, as Spark's server with `spark.ui.retainedStages` (its default is 1000); 0 \
              shows all. Tables always have all.",
    },
    Key {
        name: "rest.retained_tasks",
        form: KeyForm::Number,
        flag: None,
        doc: "Tasks of a stage attempt that REST shows, as Spark's server with `spark.ui.retainedTasks` (its default is 100000); 0 \
              shows all. Tables always have all.",
    },
    Key {
        name: "rest.retained_dead_executors",
        form: KeyForm::Number,
        flag: None,
        doc: "Removed executors of an application that REST shows, as Spark's server with `spark.ui.retainedDeadExecutors` (its default is 100); 0 \
              shows all. Tables always have all.",
    },
    Key {
        name: "rest.retained_executions",
        form: KeyForm::Number,
        flag: None,
        doc: "SQL executions of an application that REST shows, as Spark's server with `spark.sql.ui.retainedExecutions` (its default is 1000); 0 \
              shows all. Tables always have all.",
    },
];

/// The key whose name is nearest to what was written, by the number of letters to change. What was written may lack the
/// section.
pub(super) fn nearest(written: &str) -> &'static Key {
    KEYS.iter()
        .min_by_key(|key| {
            let section = edit_distance(written, key.section()) + 1;
            edit_distance(written, key.name)
                .min(edit_distance(written, key.key()))
                .min(section)
        })
        .expect("the list of keys is not empty")
}

/// Levenshtein's distance: insertions, deletions and substitutions of single characters.
fn edit_distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut above: Vec<usize> = (0..=b.len()).collect();
    for (row, letter) in a.chars().enumerate() {
        let mut diagonal = above[0];
        above[0] = row + 1;
        for (column, other) in b.iter().enumerate() {
            let substituted = diagonal + usize::from(letter != *other);
            diagonal = above[column + 1];
            above[column + 1] = substituted.min(above[column] + 1).min(diagonal + 1);
        }
    }
    above[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_key_is_found_with_and_without_its_section() {
        assert_eq!(nearest("pg.adr").name, "pg.addr");
        assert_eq!(nearest("pgg.addr").name, "pg.addr");
        assert_eq!(nearest("scan_intervall").name, "sources.scan_interval");
        assert_eq!(nearest("source.path").name, "sources.paths");
        assert_eq!(nearest("query.time_out").name, "query.timeout");
    }
}

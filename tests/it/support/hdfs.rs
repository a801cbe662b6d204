//! Real HDFS clusters, started by `tests/rigs/hdfs.sh` and gone with this process.

use std::ffi::OsStr;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::{Finished, Server, program};

/// One cluster. It ends when its standard input does, which is when this is dropped or the process ends.
#[derive(Debug)]
pub(crate) struct Hdfs {
    child: Child,
    control: u16,
    folder: PathBuf,
}

impl Hdfs {
    /// Starts a cluster; the words are those of `tests/rigs/hdfs.sh run`.
    pub(crate) fn start(words: &[&str]) -> Hdfs {
        static NUMBER: AtomicUsize = AtomicUsize::new(0);
        let folder = own_folder().join(NUMBER.fetch_add(1, Ordering::Relaxed).to_string());
        fs::create_dir_all(&folder).expect("a folder where cargo builds");
        let mut child = Command::new(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/rigs/hdfs.sh"))
            .arg("run")
            .arg(&folder)
            .args(words)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the script starts");
        let stdout = child.stdout.take().expect("standard output is piped");
        let mut line = String::new();
        // Installing takes a minute the first time; a script that fails ends.
        BufReader::new(stdout).read_line(&mut line).expect("text");
        let Some(control) = line.trim().strip_prefix("ready ").and_then(|port| port.parse().ok()) else {
            let output = child.wait_with_output().expect("it was started");
            panic!("no HDFS: {}{}", line, String::from_utf8_lossy(&output.stderr));
        };
        Hdfs { child, control, folder }
    }

    /// Without log-in: for tests that leave the cluster as it is, each in a directory of its own.
    pub(crate) fn simple() -> &'static Hdfs {
        static SIMPLE: OnceLock<Hdfs> = OnceLock::new();
        SIMPLE.get_or_init(|| Hdfs::start(&["dn=2"]))
    }

    /// With Kerberos, encrypted.
    pub(crate) fn kerberos() -> &'static Hdfs {
        static KERBEROS: OnceLock<Hdfs> = OnceLock::new();
        KERBEROS.get_or_init(|| {
            let cluster = Hdfs::start(&["kerberos", "privacy"]);
            // The gateway is nobody who may see everything.
            cluster.command(&["mkdir", "/logs"]);
            cluster.command(&["chmod", "/logs", "755"]);
            cluster
        })
    }

    /// Runs a command of `MiniHdfs.java`, which must work.
    pub(crate) fn command(&self, words: &[&str]) -> String {
        let mut control = TcpStream::connect(("127.0.0.1", self.control)).expect("the cluster runs");
        writeln!(control, "{}", words.join("\t")).expect("the cluster runs");
        let mut answer = String::new();
        BufReader::new(control).read_line(&mut answer).expect("an answer");
        match answer.strip_prefix("ok ") {
            Some(answer) => answer.trim().to_owned(),
            None => panic!("{words:?}: {answer}"),
        }
    }

    /// Copies a file or a directory to a path of it, with its modification times.
    pub(crate) fn put(&self, local: &Path, path: &str) {
        self.command(&["put", local.to_str().expect("UTF-8"), path]);
    }

    /// A file in its folder: a keytab, `krb/krb5.conf`.
    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// Its `HADOOP_CONF_DIR`.
    pub(crate) fn conf(&self) -> PathBuf {
        self.folder.join("conf")
    }

    /// A property of its configuration.
    pub(crate) fn property(&self, name: &str) -> String {
        let read = |file| fs::read_to_string(self.conf().join(file)).expect("the cluster wrote it");
        let text = read("core-site.xml") + &read("hdfs-site.xml");
        let (_, rest) = text
            .split_once(&format!("<name>{name}</name><value>"))
            .expect("the property is there");
        rest.split('<').next().unwrap_or_default().to_owned()
    }

    /// The `[hdfs]` section for it, and more lines of that section.
    pub(crate) fn section(&self, more: &str) -> String {
        format!("[hdfs]\nhadoop_conf_dir = '{}'\n{more}\n", self.conf().display())
    }

    /// The section that logs in with a keytab of the cluster's KDC.
    pub(crate) fn logged_in(&self, principal: &str, keytab: &str) -> String {
        let keytab = self.file(keytab);
        self.section(&format!(
            "kerberos_principal = '{principal}@RIG.TEST'\nkerberos_keytab = '{}'",
            keytab.display()
        ))
    }

    /// A server over a directory of it.
    pub(crate) fn serve(&self, path: &str, config: &str) -> Server {
        let file = self.write_config(config);
        let krb5 = self.file("krb/krb5.conf");
        Server::start_in(
            Path::new(&format!("hdfs://{path}")),
            &["--scan-interval", "200ms", "--config", file.to_str().expect("UTF-8")],
            &[
                ("KRB5_CONFIG", krb5.as_os_str()),
                ("KRB5CCNAME", OsStr::new("FILE:/nonexistent")),
            ],
        )
    }

    /// `sparkgate COMMAND hdfs://PATH …` to its end.
    pub(crate) fn run(&self, command: &str, path: &str, config: &str, environment: &[(&str, &OsStr)]) -> Finished {
        let cache = tempfile::tempdir().expect("a temporary directory");
        let output = program(cache.path())
            .args([command, &format!("hdfs://{path}"), "--config"])
            .arg(self.write_config(config))
            .env("KRB5_CONFIG", self.file("krb/krb5.conf"))
            .env("KRB5CCNAME", "FILE:/nonexistent")
            .envs(environment.iter().copied())
            .stdin(Stdio::null())
            .output()
            .expect("the program starts");
        Finished::of(output)
    }

    fn write_config(&self, config: &str) -> PathBuf {
        static NUMBER: AtomicUsize = AtomicUsize::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let file = self.file(&format!("gateway-{number}.toml"));
        fs::write(&file, config).expect("room for a configuration");
        file
    }
}

impl Drop for Hdfs {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        let _ = self.child.wait();
    }
}

/// A folder of this process where cargo builds; those of processes that ended are removed.
fn own_folder() -> PathBuf {
    let all = Path::new(env!("CARGO_TARGET_TMPDIR")).join("hdfs");
    fs::create_dir_all(&all).expect("a folder where cargo builds");
    for old in fs::read_dir(&all).expect("just made").flatten() {
        if !Path::new("/proc").join(old.file_name()).exists() {
            // Another process may remove it too.
            let _ = fs::remove_dir_all(old.path());
        }
    }
    all.join(std::process::id().to_string())
}

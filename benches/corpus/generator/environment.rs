//! `SparkListenerEnvironmentUpdate`: the largest line of most logs, about 100 kB, nearly all of it Hadoop's defaults and jar names.

use serde_json::{Map, Value, json};

use super::Spark;

/// Bytes of Hadoop properties and of class path for each kB of `--env-kb`, as in a real 102 kB event.
const HADOOP_PER_KB: usize = 648;
const CLASSPATH_PER_KB: usize = 308;

/// The part that all applications of a cluster share, rendered once: from `"Hadoop Properties"` to the end of the line.
pub(crate) struct ClusterEnvironment(String);

impl ClusterEnvironment {
    pub(crate) fn new(spark: Spark, env_kb: usize) -> Self {
        let text = format!(
            r#","Hadoop Properties":{},"System Properties":{},"Metrics Properties":{},"Classpath Entries":{}}}"#,
            Value::Object(hadoop_properties(env_kb * HADOOP_PER_KB)),
            Value::Object(system_properties()),
            json!({
                "*.sink.servlet.class": "org.apache.spark.metrics.sink.MetricsServlet",
                "*.sink.servlet.path": "/metrics/json",
                "master.sink.servlet.path": "/metrics/master/json",
                "applications.sink.servlet.path": "/metrics/applications/json",
            }),
            Value::Object(classpath(spark, env_kb * CLASSPATH_PER_KB)),
        );
        ClusterEnvironment(text)
    }

    /// The whole line, without its newline.
    pub(crate) fn event(&self, spark: Spark, spark_properties: &str) -> String {
        let jvm = json!({
            "Java Home": "/usr/lib/jvm/java-17-openjdk-amd64",
            "Java Version": "17.0.15 (Debian)",
            "Scala Version": match spark { Spark::V3_5 => "version 2.12.18", Spark::V4_1 => "version 2.13.17" },
        });
        format!(
            r#"{{"Event":"SparkListenerEnvironmentUpdate","JVM Information":{jvm},"Spark Properties":{spark_properties}{}"#,
            self.0
        )
    }
}

/// `SparkConf` of one application as an object; the properties of its jobs repeat them.
pub(crate) fn spark_properties(app_id: &str, name: &str, cores: u64, start_ms: u64) -> String {
    let java_options = "-Djava.net.preferIPv6Addresses=false -XX:+IgnoreUnrecognizedVMOptions \
        --add-modules=jdk.incubator.vector --add-opens=java.base/java.lang=ALL-UNNAMED \
        --add-opens=java.base/java.nio=ALL-UNNAMED --add-opens=java.base/java.util=ALL-UNNAMED \
        --add-opens=java.base/sun.nio.ch=ALL-UNNAMED -Djdk.reflect.useDirectMethodHandle=false";
    json!({
        "spark.eventLog.enabled": "true",
        "spark.scheduler.mode": "FIFO",
        "spark.app.submitTime": (start_ms - 2731).to_string(),
        "spark.submit.deployMode": "client",
        "spark.master": "yarn",
        "spark.eventLog.dir": "hdfs:///spark-logs",
        "spark.executor.extraJavaOptions": java_options,
        "spark.driver.host": "driver-0.example",
        "spark.driver.port": "35433",
        "spark.serializer": "org.apache.spark.serializer.KryoSerializer",
        "spark.sql.shuffle.partitions": "200",
        "spark.sql.warehouse.dir": "hdfs:///warehouse",
        "spark.sql.adaptive.enabled": "true",
        "spark.sql.adaptive.advisoryPartitionSizeInBytes": "64MB",
        "spark.dynamicAllocation.enabled": "false",
        "spark.shuffle.service.enabled": "true",
        "spark.network.timeout": "300s",
        "spark.app.name": name,
        "spark.driver.memory": "4g",
        "spark.executor.memory": "8g",
        "spark.executor.memoryOverhead": "1g",
        "spark.executor.cores": cores.to_string(),
        "spark.yarn.queue": "default",
        "spark.app.startTime": start_ms.to_string(),
        "spark.executor.id": "driver",
        "spark.hadoop.fs.s3a.vectored.read.min.seek.size": "128K",
        "spark.submit.pyFiles": "",
        "spark.app.id": app_id,
    })
    .to_string()
}

/// Synthetic keys with the lengths of Hadoop's: 27 bytes a name, 15 a value.
fn hadoop_properties(bytes: usize) -> Map<String, Value> {
    const AREAS: [&str; 6] = [
        "dfs.namenode",
        "yarn.nodemanager",
        "mapreduce.job",
        "fs.s3a",
        "hadoop.security",
        "ipc.client",
    ];
    const TOPICS: [&str; 5] = [
        "checkpoint.interval",
        "thread-count",
        "acl.enabled",
        "retry.policy.spec",
        "kerberos.principal",
    ];
    const VALUES: [&str; 5] = [
        "30s",
        "10485760",
        "false",
        "org.apache.hadoop.io.retry.DefaultPolicy",
        "/var/lib/hadoop/data",
    ];
    let mut properties = Map::new();
    let mut written = 0;
    for i in 0.. {
        if written >= bytes {
            break;
        }
        let key = format!("{}.{}.{i:04}", AREAS[i % AREAS.len()], TOPICS[i % TOPICS.len()]);
        let value = VALUES[i % VALUES.len()];
        written += key.len() + value.len() + 6;
        properties.insert(key, value.into());
    }
    properties
}

fn classpath(spark: Spark, bytes: usize) -> Map<String, Value> {
    let mut entries = Map::new();
    let mut written = 0;
    for i in 0.. {
        if written >= bytes {
            break;
        }
        let key = format!(
            "/opt/spark-{}/jars/some-library-with-a-long-module-name-{i:04}_2.13-{}.jar",
            spark.name(),
            spark.version()
        );
        written += key.len() + "System Classpath".len() + 6;
        entries.insert(key, "System Classpath".into());
    }
    entries
}

fn system_properties() -> Map<String, Value> {
    (0..50)
        .map(|i| (format!("java.vm.specification.{i:02}"), Value::from("x".repeat(24))))
        .collect()
}

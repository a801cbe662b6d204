//! `docs/configuration.md`, from the keys and their defaults.

use super::keys::{KEYS, OTHER_VARIABLES};
use super::load::default_value;

const HEAD: &str = "<!-- Generated from src/config/keys.rs; `UPDATE_DOCS=1 cargo test --lib config` writes it anew. -->

# Configuration

A value comes from the last of these that has one: its default, Spark's own properties, the configuration file, the environment, the
command line.

- **Spark's properties**: what a history server is configured with, from `--properties-file spark-defaults.conf` and, over that,
  `-Dkey=value` in `SPARK_HISTORY_OPTS`. [spark-properties.md](spark-properties.md) says which of them mean what here.
- **File**: TOML, named by `--config FILE` or by `SPARKGATE_CONFIG`. None is read unless it is named; a file in the working
  directory is not picked up by itself. `sparkgate.toml` in this repository is an example with every key.
- **Environment**: `SPARKGATE_`, the section, two underscores, the key: `SPARKGATE_PG__ADDR` for `[pg] addr`. Lists are written
  as in TOML: `SPARKGATE_SOURCES__PATHS='[\"/logs/a\", \"/logs/b\"]'`; a single source needs no brackets.
- **Command line**: `sparkgate serve --help`.

An unknown key or variable is an error that names the nearest one there is. `SELECT * FROM system.settings` shows every value
and where it came from.

Exit codes: 0 all well; 1 the work failed, which includes a port that is in use; 2 wrong usage or configuration: an unknown
option or key, a wrong value, no source, or a source that does not exist.
";

/// The text of `docs/configuration.md`.
pub fn render_docs() -> String {
    let mut text = HEAD.to_owned();
    let mut section = "";
    for key in KEYS {
        if key.section() != section {
            section = key.section();
            text += &format!("\n## [{section}]\n\n| key | default | flag | meaning |\n| --- | --- | --- | --- |\n");
        }
        let flag = key.flag.map_or(String::new(), |flag| format!("`{flag}`"));
        let default = default_value(key.name);
        let default = if default.is_empty() {
            "none".to_owned()
        } else {
            format!("`{default}`")
        };
        text += &format!("| `{}` | {default} | {flag} | {} |\n", key.key(), key.doc);
    }
    text += "\n## Other variables\n\n| variable | meaning |\n| --- | --- |\n";
    for (name, doc) in OTHER_VARIABLES {
        text += &format!("| `{name}` | {doc} |\n");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_in_the_repository_is_what_the_code_says() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/configuration.md");
        if std::env::var_os("UPDATE_DOCS").is_some() {
            std::fs::write(path, render_docs()).unwrap();
        }
        let written = std::fs::read_to_string(path).unwrap_or_default();
        assert!(
            written == render_docs(),
            "docs/configuration.md is stale: UPDATE_DOCS=1 cargo test --lib config"
        );
    }
}

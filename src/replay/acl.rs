//! Who may see an application attempt, as its log says.

use serde::{Deserialize, Serialize};

use crate::event::Properties;

/// The access list of an attempt. Lists are as Spark's properties give them, separated by commas; `''` where there is none.
///
/// Source: `FsHistoryProvider`. Only the first `SparkListenerEnvironmentUpdate` of a log counts, before anything is redacted.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Acl {
    /// Who ran it: `SparkListenerApplicationStart`, `User`.
    pub owner: String,
    /// `spark.admin.acls`
    pub admin_acls: String,
    /// `spark.admin.acls.groups`
    pub admin_groups: String,
    /// `spark.ui.view.acls`
    pub view_acls: String,
    /// `spark.ui.view.acls.groups`
    pub view_groups: String,
}

impl Acl {
    /// What the properties of Spark say; they do not name the owner.
    pub(super) fn of(properties: &Properties<'_>) -> Self {
        let value = |name| {
            let value = properties.get(name).and_then(|value| value.as_deref());
            value.unwrap_or_default().to_owned()
        };
        Acl {
            owner: String::new(),
            admin_acls: value("spark.admin.acls"),
            admin_groups: value("spark.admin.acls.groups"),
            view_acls: value("spark.ui.view.acls"),
            view_groups: value("spark.ui.view.acls.groups"),
        }
    }

    /// As text that is the same for the same list.
    pub fn to_text(&self) -> String {
        serde_json::to_string(self).expect("plain structs are written to memory")
    }
}

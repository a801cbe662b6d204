//! Pages that are made from the code are not stale.

use std::path::Path;

use sparkgate::catalog::{EVENTS, SYSTEM_TABLES, render_views, views};
use sparkgate::table::{self, TableDef};

#[test]
fn schema_page_is_what_the_definitions_say() {
    let mut tables: Vec<&TableDef> = table::all().to_vec();
    tables.push(&EVENTS);
    tables.extend(SYSTEM_TABLES);
    let page = table::docs::render(&tables) + &render_views(views());
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/schema.md");
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(&path, &page).expect("docs can be written");
    }
    let there = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        there == page,
        "docs/schema.md is stale: UPDATE_DOCS=1 cargo test --test it schema_page"
    );
}

//! The schemas of both kinds of database, step by step; a step that was released never changes.

/// One step of a schema, for both dialects.
#[derive(Debug, Clone, Copy)]
pub struct Migration {
    pub(super) version: i64,
    pub(super) name: &'static str,
    pub(super) sqlite: &'static str,
    pub(super) postgres: &'static str,
}

macro_rules! migration {
    ($room:literal, $version:literal, $name:literal) => {
        Migration {
            version: $version,
            name: $name,
            sqlite: include_str!(concat!(
                "../../migrations/",
                $room,
                "/sqlite/",
                $name,
                ".sql"
            )),
            postgres: include_str!(concat!(
                "../../migrations/",
                $room,
                "/postgres/",
                $name,
                ".sql"
            )),
        }
    };
}

/// The schema of the control database.
pub const CONTROL: &[Migration] = &[
    migration!("control", 1, "0001_tenants"),
    migration!("control", 2, "0002_deployment_log"),
    migration!("control", 3, "0003_rotation"),
    migration!("control", 4, "0004_providers"),
    migration!("control", 5, "0005_restores"),
    migration!("control", 6, "0006_ledger_key"),
    migration!("control", 7, "0007_no_samples"),
];
/// The schema of a tenant's database.
pub const TENANT: &[Migration] = &[
    migration!("tenant", 1, "0001_state_and_log"),
    migration!("tenant", 2, "0002_upkeep"),
    migration!("tenant", 3, "0003_uncompressed"),
    migration!("tenant", 4, "0004_lives"),
    migration!("tenant", 5, "0005_anchors"),
    migration!("tenant", 6, "0006_content"),
    migration!("tenant", 7, "0007_epochs"),
    migration!("tenant", 8, "0008_content_present"),
    migration!("tenant", 9, "0009_appending"),
    migration!("tenant", 10, "0010_signing_in"),
    migration!("tenant", 11, "0011_state_present"),
    migration!("tenant", 12, "0012_state_by_end"),
    migration!("tenant", 13, "0013_tile_roots"),
    migration!("tenant", 14, "0014_origins"),
];

/// How SQLite goes about a statement in a tenant's database.
#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test")]
pub(crate) async fn plan(statement: &str) -> String {
    use sqlx::{AnyConnection, AssertSqlSafe, Connection as _, Row as _};
    sqlx::any::install_default_drivers();
    let mut connection = AnyConnection::connect("sqlite::memory:").await.unwrap();
    for step in TENANT {
        let made = sqlx::raw_sql(step.sqlite).execute(&mut connection);
        made.await.unwrap();
    }
    let query = AssertSqlSafe(format!("EXPLAIN QUERY PLAN {statement}"));
    let rows = sqlx::query(query).fetch_all(&mut connection).await.unwrap();
    let steps = rows.iter().map(|row| row.get::<String, _>("detail"));
    steps.collect::<Vec<_>>().join("; ")
}

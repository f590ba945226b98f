//! Every column of bytes that the databases have, and what each is: one that is in no list fails the scan.

use std::collections::{BTreeMap, BTreeSet};

use cedarkeep::config::Database;
use cedarkeep::crypto::hierarchy::FIRST_EPOCH;
use cedarkeep::crypto::sealing::{FORMAT, key_version};
use cedarkeep::log::segment::Parts;
use sqlx::{AnyConnection, Row as _};

use crate::api::harness::{Service, Tenant};

/// What a column of bytes holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Holds {
    /// Nothing that is secret: hashes, check values, public keys, blind indexes.
    Clear,
    /// A value under the key of this name.
    Under(&'static str),
    /// Leaves under the key of an epoch, or the records key of before there were epochs.
    Log,
    /// Parts, each under a person's key or as leaves are.
    Parts,
}

use Holds::{Clear, Log, Under};

/// The columns of a tenant's database.
const TENANT: &[(&str, &str, Holds)] = &[
    ("anchor", "salt", Under("records")),
    ("arrival", "body", Under("records")),
    ("arrival", "id", Clear),
    ("arrival", "origin", Clear),
    ("content", "body", Under("content")),
    ("content", "key_check", Clear),
    ("content", "wrapped", Under("content-wrap")),
    ("data_key", "key_check", Clear),
    ("data_key", "wrapped", Under("tenant")),
    ("epoch", "key_check", Clear),
    ("epoch", "wrapped", Under("records")),
    ("head", "frontier", Clear),
    ("idempotency", "key", Clear),
    ("idempotency", "reply", Under("records")),
    ("idempotency", "request", Clear),
    ("log_key", "public", Clear),
    ("search_block", "filter", Under("records")),
    ("search_block", "pairs", Under("records")),
    ("segment", "hashes", Clear),
    ("segment", "leaves", Log),
    ("segment", "parts", Holds::Parts),
    ("spent", "id", Clear),
    ("state", "body", Under("records")),
    ("subject_key", "key_check", Clear),
    ("subject_key", "wrapped", Under("subject-wrap")),
    ("tenant", "key_check", Clear),
    ("tile", "hashes", Clear),
    ("tile", "root", Clear),
];

/// A table that PostgreSQL has alone: pieces of what a folder beside SQLite has whole, begun at their first by what the rest follows.
const SHELF: (&str, &str) = ("content_piece", "bytes");

/// The columns of the control database.
const CONTROL: &[(&str, &str, Holds)] = &[
    ("deployment", "key_check", Clear),
    ("deployment", "key_wrapped", Under("root")),
    ("deployment", "ledger_check", Clear),
    ("deployment", "ledger_wrapped", Under("deployment")),
    ("deployment", "records_check", Clear),
    ("deployment", "records_wrapped", Under("deployment")),
    ("deployment", "root_check", Clear),
    ("deployment", "slug_check", Clear),
    ("deployment", "slug_wrapped", Under("deployment")),
    ("erased", "sealed", Under("ledger")),
    ("tenant", "key_check", Clear),
    ("tenant", "key_wrapped", Under("root")),
    ("tenant", "next_check", Clear),
    ("tenant", "next_wrapped", Under("root")),
    ("tenant", "slug", Under("deployment")),
    ("tenant", "slug_index", Clear),
];

/// Every column of bytes that a database has.
async fn columns(rows: &mut AnyConnection, database: &Database) -> Vec<(String, String)> {
    let sql = match database {
        Database::Sqlite => {
            "SELECT m.name AS a_table, p.name AS a_column FROM sqlite_master AS m, pragma_table_info(m.name) AS p \
             WHERE m.type = 'table' AND p.type = 'BLOB' ORDER BY 1, 2"
        }
        Database::Postgres(_) => {
            "SELECT CAST(table_name AS TEXT) AS a_table, CAST(column_name AS TEXT) AS a_column FROM information_schema.columns \
             WHERE table_schema = 'public' AND data_type = 'bytea' ORDER BY 1, 2"
        }
    };
    let found = sqlx::query(sql).fetch_all(rows).await.unwrap();
    found
        .iter()
        .map(|row| (row.get("a_table"), row.get("a_column")))
        .collect()
}

/// Which versions the stored values of each key name.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Named(pub BTreeMap<&'static str, BTreeSet<u32>>);

impl Named {
    /// The versions that a key's values name.
    pub fn of(&self, key: &str) -> Vec<u32> {
        let found = self.0.get(key).into_iter().flatten().copied();
        found.collect()
    }
}

async fn scan(
    rows: &mut AnyConnection,
    database: &Database,
    known: &'static [(&str, &str, Holds)],
) -> Named {
    let mut named = Named::default();
    let mut found = columns(rows, database).await;
    found.retain(|(table, column)| (table.as_str(), column.as_str()) != SHELF);
    let listed: Vec<_> = known
        .iter()
        .map(|(table, column, _)| ((*table).to_owned(), (*column).to_owned()))
        .collect();
    let new: Vec<_> = found.iter().filter(|one| !listed.contains(one)).collect();
    assert!(
        new.is_empty(),
        "{new:?}: say in this list what they hold, and in `tenant/sealed.rs` that a rotation seals them again"
    );
    assert_eq!(found, listed, "what is in the list is there");
    for (table, column, holds) in known {
        if *holds == Clear {
            continue;
        }
        // Of people's content it is their own key that wraps, which is never another.
        let whose = match *table {
            "content" => " WHERE subject = ''",
            _ => "",
        };
        let sql = format!("SELECT {column} AS value FROM {table}{whose}");
        let values = sqlx::query(sqlx::AssertSqlSafe(sql))
            .fetch_all(&mut *rows)
            .await
            .unwrap();
        for row in values {
            let Some(value) = row.get::<Option<Vec<u8>>, _>("value") else {
                continue;
            };
            let mut note = |key, value: &[u8]| {
                assert_eq!(value[0], FORMAT, "{table}.{column}");
                let version = key_version(value).unwrap();
                named.0.entry(key).or_default().insert(version);
            };
            match holds {
                Clear => {}
                Under(key) => note(key, &value),
                Log => note("log", &value),
                Holds::Parts => {
                    let parts = Parts::parse(&value).unwrap();
                    for at in 0..parts.count() {
                        let index = parts.first() + u64::try_from(at).unwrap();
                        for part in parts.get(index).unwrap() {
                            let version = key_version(&part.sealed).unwrap();
                            let key = if version < FIRST_EPOCH {
                                "people, or records before epochs"
                            } else {
                                "log"
                            };
                            note(key, &part.sealed);
                        }
                    }
                }
            }
        }
    }
    named
}

/// Which versions are named in an organization's database that this is a connection to.
pub async fn named_in(rows: &mut AnyConnection, database: &Database) -> Named {
    scan(rows, database, TENANT).await
}

/// The same of the control database.
pub async fn named_in_control(rows: &mut AnyConnection, database: &Database) -> Named {
    scan(rows, database, CONTROL).await
}

/// Which versions are named in an organization's database.
pub async fn named(service: &Service, tenant: &Tenant) -> Named {
    let database = service.app().config().data.database.clone();
    let mut rows = service.database(tenant).await;
    scan(&mut rows, &database, TENANT).await
}

/// Which versions are named in the control database.
pub async fn named_above(service: &Service) -> Named {
    let database = service.app().config().data.database.clone();
    let mut rows = service.control().await;
    scan(&mut rows, &database, CONTROL).await
}

/// The versions of each data key that there are rows of.
pub async fn held(service: &Service, tenant: &Tenant) -> BTreeMap<String, Vec<i64>> {
    let mut rows = service.database(tenant).await;
    let found = sqlx::query("SELECT purpose, version FROM data_key ORDER BY purpose, version")
        .fetch_all(&mut rows)
        .await
        .unwrap();
    let mut held: BTreeMap<String, Vec<i64>> = BTreeMap::new();
    for row in found {
        let versions = held.entry(row.get("purpose")).or_default();
        versions.push(row.get("version"));
    }
    held
}

//! A stored value opens in its place alone: moved to another tenant, table, row, column, version or key, or with any bit of it altered,
//! it does not.
//!
//! `PROVE=1` tries a hundred thousand moves and flips of values instead of four thousand; `SEED=n` repeats a run.

use cedarkeep::config::Database;
use cedarkeep::decide::{anchor, rotate, upkeep};
use cedarkeep::directory::keys::{self, KeyName};
use cedarkeep::log::append::segments_from;
use cedarkeep::tenant::TenantError;
use cedarkeep::tenant::sealed::{At, COLUMNS, Column, Stored};
use chrono::Utc;
use serde_json::json;
use sqlx::{AnyConnection, Row as _};

use crate::api::harness::{Service, Tenant};
use crate::api::keeping::asked;
use crate::api::sessions::link;
use crate::harness::chance::Chance;
use crate::harness::postgres;

fn tries() -> usize {
    if std::env::var_os("PROVE").is_some() {
        100_000
    } else {
        4_000
    }
}

/// A value, and whose it is.
struct Value<'a> {
    tenant: &'a Tenant,
    column: &'static Column,
    stored: Stored,
}

impl Value<'_> {
    fn opens(&self, value: &[u8]) -> bool {
        let opened = self
            .column
            .open(self.tenant.door.store(), &self.stored.at, value);
        opened.is_ok()
    }

    fn name(&self) -> String {
        let (table, column) = (self.column.table, self.column.name);
        format!("{table}.{column} at {:?}", self.stored.at)
    }
}

/// Two organizations with something in each column, in two versions of their keys.
async fn set(service: &Service) -> [Tenant; 2] {
    let deployment = service.app().deployment().await.unwrap();
    let mut tenants = Vec::new();
    for slug in ["acme", "globex"] {
        let tenant = service.tenant(slug).await;
        service.things(&tenant).await;
        asked(service, &tenant, tenant.member, 1_100).await;
        let door = &tenant.door;
        for half in 0..2 {
            let told = service
                .by(&tenant, tenant.admin, "POST", "/v1/teams")
                .header("idempotency-key", &format!("team-{half}"))
                .body(&json!({ "name": "Team" }))
                .send()
                .await;
            assert_eq!(told.status, 201);
            let body = json!({ "name": "Terms", "layer": "organization" });
            let made = service
                .post(&tenant, tenant.admin, "/v1/memory", body)
                .await;
            let place = format!("/v1/memory/{}/content", made.id());
            let kept = service
                .by(&tenant, tenant.admin, "PUT", &place)
                .content("text/plain", b"what was said".to_vec());
            kept.send().await.ok();
            link(&tenant, tenant.member, false).await;
            anchor::anchor((door.store(), door.origin()), &deployment)
                .await
                .unwrap();
            if half == 0 {
                upkeep::round(door, Utc::now(), false).await.unwrap();
                // Begun, and not gone on with: both versions are there.
                for key in [
                    KeyName::Records,
                    KeyName::ContentWrap,
                    KeyName::SubjectWrap,
                    KeyName::Idempotency,
                ] {
                    door.operate(move |by, snapshot| keys::rotate_by_operator(by, snapshot, key))
                        .await
                        .unwrap();
                }
            }
        }
        service
            .post(
                &tenant,
                tenant.admin,
                "/v1/users",
                json!({"name": "New", "email": "n@example.com", "role": "Member"}),
            )
            .await
            .id();
        tenants.push(tenant);
    }
    let [one, two] = <[Tenant; 2]>::try_from(tenants).ok().unwrap();
    [one, two]
}

async fn values<'a>(tenants: &'a [Tenant; 2]) -> Vec<Value<'a>> {
    let mut values = Vec::new();
    for tenant in tenants {
        for column in COLUMNS {
            let page = column
                .page(tenant.door.store(), &At::beginning(), 10_000)
                .await
                .unwrap();
            assert!(!page.is_empty(), "{}.{}", column.table, column.name);
            values.extend(page.into_iter().map(|stored| Value {
                tenant,
                column,
                stored,
            }));
        }
    }
    values
}

fn every_value_opens_in_its_place_alone(values: &[Value<'_>], chance: &mut Chance) {
    let mut below = |limit: usize| usize::try_from(chance.number()).unwrap() % limit;
    for value in values {
        assert!(value.opens(&value.stored.value), "{}", value.name());
    }
    for _ in 0..tries() {
        let (one, other) = (&values[below(values.len())], &values[below(values.len())]);
        if !std::ptr::eq(one, other) {
            assert!(
                !one.opens(&other.stored.value),
                "{} opens at {}",
                other.name(),
                one.name()
            );
        }
        let mut altered = one.stored.value.clone();
        let bit = below(altered.len() * 8);
        altered[bit / 8] ^= 1 << (bit % 8);
        assert!(!one.opens(&altered), "bit {bit} of {}", one.name());
        let mut cut = one.stored.value.clone();
        cut.truncate(below(cut.len()));
        assert!(!one.opens(&cut), "{} cut", one.name());
    }
    // One that says that it is of the other version that is held.
    for value in values {
        let mut altered = value.stored.value.clone();
        altered[4] ^= 3;
        assert!(
            !value.opens(&altered),
            "{} as of another version",
            value.name()
        );
    }
}

async fn every_segment_opens_in_its_place_alone(tenants: &[Tenant; 2], chance: &mut Chance) {
    let mut all = Vec::new();
    for tenant in tenants {
        let segments = segments_from(tenant.door.store().database(), 0, 10_000)
            .await
            .unwrap();
        all.extend(segments.into_iter().map(|segment| (tenant, segment)));
    }
    let opens = |tenant: &Tenant, column: &str, first: u64, value: &[u8]| {
        let keys = tenant.door.store().keys().at(first);
        keys.open_log(column, &first.to_string(), value).is_ok()
    };
    for (at, (tenant, segment)) in all.iter().enumerate() {
        assert!(opens(tenant, "leaves", segment.first, &segment.leaves));
        assert!(!opens(tenant, "details", segment.first, &segment.leaves));
        for _ in 0..4 {
            let other = usize::try_from(chance.number()).unwrap() % all.len();
            if other != at {
                assert!(!opens(
                    tenant,
                    "leaves",
                    segment.first,
                    &all[other].1.leaves
                ));
            }
        }
        let bit = usize::try_from(chance.number()).unwrap() % (segment.leaves.len() * 8);
        let mut altered = segment.leaves.clone();
        altered[bit / 8] ^= 1 << (bit % 8);
        assert!(!opens(tenant, "leaves", segment.first, &altered));
    }
}

/// A wrapped key and its check value, and where they lie.
struct Wrap {
    place: String,
    set: String,
    wrapped: Vec<u8>,
    check: Vec<u8>,
}

async fn wraps(rows: &mut AnyConnection, select: &str, set: &str) -> Vec<Wrap> {
    let found = sqlx::query(sqlx::AssertSqlSafe(select.to_owned()))
        .fetch_all(rows)
        .await
        .unwrap();
    found
        .iter()
        .map(|row| {
            let place: String = row.get("place");
            Wrap {
                set: set.replace("PLACE", &place),
                place,
                wrapped: row.get("wrapped"),
                check: row.get("key_check"),
            }
        })
        .collect()
}

async fn put(rows: &mut AnyConnection, set: &str, wrapped: &[u8], check: &[u8]) {
    let done = sqlx::query(sqlx::AssertSqlSafe(set.to_owned()))
        .bind(wrapped)
        .bind(check)
        .execute(rows)
        .await
        .unwrap();
    assert_eq!(done.rows_affected(), 1, "{set}");
}

/// Data keys, epoch keys and tenant keys: one in the place of another, or altered, and the organization does not open.
async fn every_key_opens_in_its_place_alone(
    service: &Service,
    tenants: &[Tenant; 2],
    chance: &mut Chance,
) {
    let mut control = service.control().await;
    let above = wraps(
        &mut control,
        "SELECT id AS place, key_wrapped AS wrapped, key_check FROM tenant WHERE kind = 0 ORDER BY id",
        "UPDATE tenant SET key_wrapped = $1, key_check = $2 WHERE id = 'PLACE'",
    )
    .await;
    assert_eq!(above.len(), 2);
    let mut foreign: Vec<(Vec<u8>, Vec<u8>)> = above
        .iter()
        .map(|wrap| (wrap.wrapped.clone(), wrap.check.clone()))
        .collect();
    let mut theirs = Vec::new();
    for tenant in tenants {
        let mut rows = service.database(tenant).await;
        let mut all = wraps(
            &mut rows,
            "SELECT purpose || ' ' || CAST(version AS TEXT) AS place, wrapped, key_check FROM data_key ORDER BY 1",
            "UPDATE data_key SET wrapped = $1, key_check = $2 WHERE purpose || ' ' || CAST(version AS TEXT) = 'PLACE'",
        )
        .await;
        assert_eq!(all.len(), 9);
        all.extend(
            wraps(
                &mut rows,
                "SELECT CAST(version AS TEXT) AS place, wrapped, key_check FROM epoch ORDER BY 1",
                "UPDATE epoch SET wrapped = $1, key_check = $2 WHERE CAST(version AS TEXT) = 'PLACE'",
            )
            .await,
        );
        foreign.extend(
            all.iter()
                .map(|wrap| (wrap.wrapped.clone(), wrap.check.clone())),
        );
        theirs.push((rows, all));
    }
    let opens = async |tenant: &Tenant| -> Result<(), TenantError> {
        let store = service
            .app()
            .control()
            .open_store(tenant.door.store().id())
            .await?;
        store.database().close().await;
        Ok(())
    };
    for ((rows, all), tenant) in theirs.iter_mut().zip(tenants) {
        opens(tenant).await.unwrap();
        let mine = above
            .iter()
            .filter(|wrap| wrap.place == tenant.door.store().id().to_string());
        for wrap in all.iter().chain(mine) {
            let rows: &mut AnyConnection = if wrap.set.starts_with("UPDATE tenant") {
                &mut control
            } else {
                &mut *rows
            };
            // Some of the others here, so that it takes no minutes.
            for _ in 0..4 {
                let other = &foreign[usize::try_from(chance.number()).unwrap() % foreign.len()];
                if other.0 == wrap.wrapped {
                    continue;
                }
                for check in [&other.1, &wrap.check] {
                    put(&mut *rows, &wrap.set, &other.0, check).await;
                    assert!(
                        opens(tenant).await.is_err(),
                        "another key in the place of {}",
                        wrap.place
                    );
                }
            }
            for _ in 0..4 {
                let bit = usize::try_from(chance.number()).unwrap() % (wrap.wrapped.len() * 8);
                let mut altered = wrap.wrapped.clone();
                altered[bit / 8] ^= 1 << (bit % 8);
                put(&mut *rows, &wrap.set, &altered, &wrap.check).await;
                assert!(opens(tenant).await.is_err(), "bit {bit} of {}", wrap.place);
            }
            put(&mut *rows, &wrap.set, &wrap.wrapped, &wrap.check).await;
        }
        opens(tenant).await.unwrap();
    }
}

/// Short names, and the deployment's own keys.
async fn what_the_control_database_says_opens_in_its_place_alone(service: &Service) {
    let mut rows = service.control().await;
    let names = sqlx::query("SELECT id, slug FROM tenant WHERE kind = 0 ORDER BY id")
        .fetch_all(&mut rows)
        .await
        .unwrap();
    let [one, other] = [0, 1].map(|at: usize| {
        (
            names[at].get::<String, _>("id"),
            names[at].get::<Vec<u8>, _>("slug"),
        )
    });
    let mut altered = one.1.clone();
    altered[40] ^= 1;
    let rename = "UPDATE tenant SET slug = $1 WHERE id = $2";
    for slug in [&other.1, &altered] {
        sqlx::query(rename)
            .bind(slug.as_slice())
            .bind(&one.0)
            .execute(&mut rows)
            .await
            .unwrap();
        assert!(service.app().control().list(None, 10).await.is_err());
    }
    sqlx::query(rename)
        .bind(one.1.as_slice())
        .bind(&one.0)
        .execute(&mut rows)
        .await
        .unwrap();
    service.app().control().list(None, 10).await.unwrap();
    let columns = ["key", "records", "slug", "ledger"];
    for (at, column) in columns.iter().enumerate() {
        let read = format!(
            "SELECT {column}_wrapped AS wrapped, {column}_check AS key_check FROM deployment"
        );
        let row = sqlx::query(sqlx::AssertSqlSafe(read))
            .fetch_one(&mut rows)
            .await
            .unwrap();
        let (wrapped, check): (Vec<u8>, Vec<u8>) = (row.get("wrapped"), row.get("key_check"));
        let other = columns[(at + 1) % columns.len()];
        let read = format!(
            "SELECT {other}_wrapped AS wrapped, {other}_check AS key_check FROM deployment"
        );
        let row = sqlx::query(sqlx::AssertSqlSafe(read))
            .fetch_one(&mut rows)
            .await
            .unwrap();
        let mut altered = wrapped.clone();
        altered[50] ^= 8;
        let set = format!("UPDATE deployment SET {column}_wrapped = $1, {column}_check = $2");
        for (wrong, its) in [
            (altered, check.clone()),
            (row.get("wrapped"), row.get("key_check")),
        ] {
            put(&mut rows, &set, &wrong, &its).await;
            let opened = cedarkeep::app::App::visit(service.app().config().clone()).await;
            assert!(opened.is_err(), "{column}");
        }
        put(&mut rows, &set, &wrapped, &check).await;
    }
}

async fn whatever_is_stored_opens_in_its_place_alone(database: Database) {
    let mut chance = Chance::of_this_run("values in other places");
    let service = Service::still(database).await;
    let tenants = set(&service).await;
    let purpose = rotate::purpose(KeyName::Records);
    assert_eq!(tenants[0].door.store().keys().versions(purpose), [1, 2]);
    let values = values(&tenants).await;
    println!("{} values", values.len());
    tokio::task::block_in_place(|| every_value_opens_in_its_place_alone(&values, &mut chance));
    every_segment_opens_in_its_place_alone(&tenants, &mut chance).await;
    every_key_opens_in_its_place_alone(&service, &tenants, &mut chance).await;
    what_the_control_database_says_opens_in_its_place_alone(&service).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_is_stored_opens_in_its_place_alone_on_sqlite() {
    whatever_is_stored_opens_in_its_place_alone(Database::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_is_stored_opens_in_its_place_alone_on_postgresql() {
    let server = postgres::start();
    whatever_is_stored_opens_in_its_place_alone(Database::Postgres(server.url())).await;
}

//! What is no more is taken from the shelf round by round, and whatever cannot be taken keeps nothing else there.

use cedarkeep::config::Database;
use cedarkeep::decide::upkeep;
use chrono::Utc;
use sqlx::Row as _;

use super::harness::{Service, Tenant};

/// How many versions that are no more still lie on the shelf.
async fn gone(service: &Service, tenant: &Tenant) -> i64 {
    let mut database = service.database(tenant).await;
    let count = sqlx::query("SELECT count(*) FROM content_gone");
    count.fetch_one(&mut database).await.unwrap().get(0)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_no_more_leaves_the_shelf_with_the_next_round() {
    let service = Service::still(Database::Sqlite).await;
    let tenant = service.tenant("acme").await;
    let shelf = service.shelf(&tenant);
    std::fs::create_dir_all(&shelf).unwrap();
    let mut database = service.database(&tenant).await;
    for number in 0..700 {
        let name = format!("ver_{number:04}");
        let row = sqlx::query("INSERT INTO content_gone (version) VALUES ($1)").bind(&name);
        row.execute(&mut database).await.unwrap();
        // The first cannot be removed: they are no files.
        match number {
            0..150 => std::fs::create_dir(shelf.join(name)).unwrap(),
            _ => std::fs::write(shelf.join(name), "sealed").unwrap(),
        }
    }
    let round = async |whole| upkeep::round(&tenant.door, Utc::now(), whole).await;
    // A busy machine may take more than one.
    for _ in 0..20 {
        round(false).await.unwrap();
        if gone(&service, &tenant).await == 150 {
            break;
        }
    }
    assert_eq!(gone(&service, &tenant).await, 150);
    assert_eq!(std::fs::read_dir(&shelf).unwrap().count(), 150);
    // That something cannot be taken away is said, once a minute.
    assert!(round(true).await.is_err());
    for entry in std::fs::read_dir(&shelf).unwrap() {
        std::fs::remove_dir(entry.unwrap().path()).unwrap();
    }
    round(true).await.unwrap();
    assert_eq!(gone(&service, &tenant).await, 0);
}

//! A batch in one statement: written where the log ends as it was assumed to, and not at all where anything about its end is another.

use cedarkeep::config::Database;
use cedarkeep::log::append::{Head, Segment, advance, read_head};
use sqlx::Row as _;

use crate::api::harness::Service;
use crate::harness::postgres;

async fn it_is_written_where_the_log_ends_so(database: Database) {
    let service = Service::still(database).await;
    let tenant = service.tenant("acme").await;
    let rows = tenant.door.store().database();
    let mut connection = service.database(&tenant).await;
    let present = read_head(rows, &mut connection).await.unwrap();
    let segment = Segment {
        first: present.size,
        entries: 1,
        leaves: vec![1],
        parts: vec![2],
        hashes: vec![3; 32],
    };
    let next = Head {
        size: present.size + 1,
        frontier: vec![4; 32],
        last_time: present.last_time + 1,
        checkpoint: "another".to_owned(),
        ..present.clone()
    };
    let elsewhere: [fn(&mut Head); 9] = [
        |head| head.size += 1,
        |head| head.frontier.push(0),
        |head| head.last_change += 1,
        |head| head.last_time += 1,
        |head| head.checkpoint.push(' '),
        |head| head.minimum += 256,
        |head| head.signing_version += 1,
        |head| head.incarnation.push('a'),
        |head| head.keys_version += 1,
    ];
    for (number, alter) in elsewhere.into_iter().enumerate() {
        let mut assumed = present.clone();
        alter(&mut assumed);
        let written = advance(rows, &mut connection, &segment, (&assumed, &next)).await;
        assert!(!written.unwrap(), "field {number}");
        assert_eq!(read_head(rows, &mut connection).await.unwrap(), present);
    }
    let count = async |connection: &mut sqlx::AnyConnection| -> i64 {
        let row = sqlx::query("SELECT COUNT(*) AS count FROM segment WHERE first_index >= $1")
            .bind(i64::try_from(present.size).unwrap())
            .fetch_one(connection)
            .await;
        row.unwrap().get("count")
    };
    assert_eq!(count(&mut connection).await, 0);
    let heads = (&present, &next);
    assert!(
        advance(rows, &mut connection, &segment, heads)
            .await
            .unwrap()
    );
    assert_eq!(read_head(rows, &mut connection).await.unwrap(), next);
    assert_eq!(count(&mut connection).await, 1);
    // A second time it ends elsewhere.
    assert!(
        !advance(rows, &mut connection, &segment, heads)
            .await
            .unwrap()
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_is_written_where_the_log_ends_so_on_sqlite() {
    it_is_written_where_the_log_ends_so(Database::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_is_written_where_the_log_ends_so_on_postgresql() {
    let server = postgres::start();
    it_is_written_where_the_log_ends_so(Database::Postgres(server.url())).await;
}

//! `kill -9` at random moments under load: what a client received is in the log, and the log verifies.
//!
//! `PROVE=1` makes it fifty times instead of five; `SEED=n` repeats the moments of a run.

use std::sync::Arc;
use std::time::Duration;

use crate::harness::chance::Chance;
use crate::harness::postgres;
use crate::harness::server::Site;
use crate::harness::witness::Witness;

const SOONEST: Duration = Duration::from_millis(20);
const LATEST: Duration = Duration::from_millis(1_200);

fn rounds() -> usize {
    if std::env::var_os("PROVE").is_some() {
        50
    } else {
        5
    }
}

async fn survives(site: &Site, chance: &mut Chance) {
    let key = site.create_todo_org("crash");
    let witness = Arc::new(Witness::default());
    let mut hit = 0;
    for round in 0..rounds() {
        let server = site.serve().await;
        let clients = 8 + usize::try_from(chance.number() % 9).unwrap();
        let load = witness.load(&server, &key, clients);
        let before = witness.received();
        let moment = chance.span(SOONEST, LATEST);
        tokio::time::sleep(moment).await;
        server.kill9();
        load.end().await;
        witness.check_new(site, "crash");
        let received = witness.received() - before;
        hit += usize::from(received > 0);
        println!(
            "round {round}: {clients} clients, killed after {moment:?}, {received} decisions received"
        );
    }
    witness.check_all(site, "crash");
    // A kill before the first answer shows little: most rounds must have come later.
    assert!(hit * 2 > rounds(), "only {hit} rounds had an answer");
    assert!(
        witness.broken() > 0,
        "no question was under way at any kill"
    );
    assert_eq!(witness.refused(), 0, "the log was there all the time");

    // It goes on where it was, and ends in order.
    let server = site.serve().await;
    assert!(witness.ask(&server.client(&key)).await);
    server.stop();
    witness.check_all(site, "crash");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_decision_received_survives_kill_9_on_sqlite() {
    let mut chance = Chance::of_this_run("kill -9 on SQLite");
    survives(&Site::sqlite(), &mut chance).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_decision_received_survives_kill_9_on_postgresql() {
    let mut chance = Chance::of_this_run("kill -9 on PostgreSQL");
    let database = postgres::start();
    survives(&Site::postgres(&database.url()), &mut chance).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_in_order_loses_nothing_and_refuses_nobody_that_it_took() {
    let site = Site::sqlite();
    let key = site.create_todo_org("stop");
    let witness = Arc::new(Witness::default());
    for _ in 0..2 {
        let server = site.serve().await;
        let load = witness.load(&server, &key, 8);
        tokio::time::sleep(Duration::from_millis(400)).await;
        server.stop();
        load.end().await;
    }
    assert!(witness.received() > 0);
    assert_eq!(witness.refused(), 0);
    witness.check_all(&site, "stop");
}

//! What of a directory is held in memory, and what a question costs about what is not.

use std::hint::black_box;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use cedarkeep::decide::world::World;
use cedarkeep::directory::object::{OwnEntity, OwnLibrary};
use cedarkeep::directory::{Body, Kind, Row, RowId};
use cedarkeep::policy::Library;
use serde_json::{Value, json};

use super::{LIVE, Scene, each, evaluated, figure, person, reference, share, thread};

/// What a question costs about what lies elsewhere.
pub fn read_back(library: &Arc<Library>, figures: &mut Vec<Value>) {
    const COUNT: usize = 100_000;
    let here = evaluated(&Scene::new(library, COUNT / 10, COUNT));
    let scene = Scene::elsewhere(library, COUNT / 10, COUNT);
    let questions = scene.questions(4_096);
    let first = Instant::now();
    for question in &questions {
        black_box(scene.evaluate(question));
    }
    let first = first.elapsed().as_nanos() as f64 / questions.len() as f64;
    let again = each(&questions, |question| {
        black_box(scene.evaluate(question));
    });
    println!(
        "\none evaluation among {COUNT} threads that lie elsewhere: {first:.0} ns, then {again:.0} ns; in memory {here:.0} ns"
    );
    figures.push(figure(
        "eval_read_back_vs_in_memory",
        first,
        "ns",
        first / here,
        "in_memory",
    ));
    figures.push(figure(
        "eval_read_back_again_vs_in_memory",
        again,
        "ns",
        again / here,
        "in_memory",
    ));
}

/// Bytes that one more row takes.
fn taken(world: &World, rows: &[Row]) -> f64 {
    let before = LIVE.load(Ordering::Relaxed);
    let with = world.with(rows, 3).unwrap();
    let bytes = LIVE.load(Ordering::Relaxed) - before;
    drop(with);
    bytes as f64 / rows.len() as f64
}

/// What one more takes in memory.
pub fn memory(library: &Arc<Library>, figures: &mut Vec<Value>) {
    const COUNT: usize = 20_000;
    let schema = "entity person; entity ticket { title: String, state: String, size: Long, open: Bool, owner: person, watcher: person, place: String }; action look appliesTo { principal: [person], resource: [ticket] };";
    let own_types = OwnLibrary {
        version: 1,
        schema: schema.to_owned(),
        policies: Vec::new(),
        activated: None,
    };
    let scene = Scene::new(library, 1_000, 1_000)
        .with(&[Row::Put(RowId::Library, Body::Library(own_types.clone()))]);
    let ticket = |number: usize| {
        let person =
            |number: usize| json!({"__entity": {"type": "person", "id": format!("p{number}")}});
        let entity = json!({
            "uid": {"type": "ticket", "id": format!("ticket-{number}")},
            "attrs": {"title": format!("Ticket {number}"), "state": "waiting", "size": number, "open": true,
                "owner": person(number % 100), "watcher": person(number % 77), "place": "somewhere"},
            "parents": [],
        });
        Row::Put(
            RowId::Own(reference(Kind::Document, number).id),
            Body::Own(OwnEntity { entity }),
        )
    };
    let empty = Scene::elsewhere(library, 1_000, 1_000)
        .with(&[Row::Put(RowId::Library, Body::Library(own_types.clone()))]);
    let of = |rows: Vec<Row>| taken(&scene.world, &rows);
    let tickets: Vec<Row> = (0..COUNT).map(ticket).collect();
    let own_elsewhere = taken(&empty.world, &tickets);
    let own = of(tickets);
    let threads: Vec<Row> = (2_000_000..2_000_000 + COUNT)
        .map(|number| thread(number, 1_000))
        .collect();
    let threads_elsewhere = taken(&empty.world, &threads);
    let threads = of(threads);
    let people = of((2_000_000..2_000_000 + COUNT).map(person).collect());
    let links = of((0..COUNT)
        .map(|number| {
            let grantee = reference(Kind::User, number % 1_000);
            share(
                60_000_000 + number,
                reference(Kind::Thread, number % 997),
                grantee,
            )
        })
        .collect());
    println!("\nbytes for one more:");
    for (name, what, bytes) in [
        (
            "bytes_entity_7_attributes",
            "entity of an own type with seven attributes",
            own,
        ),
        (
            "bytes_entity_elsewhere",
            "the same, where it lies elsewhere",
            own_elsewhere,
        ),
        ("bytes_thread", "thread", threads),
        (
            "bytes_thread_elsewhere",
            "the same, where it lies elsewhere",
            threads_elsewhere,
        ),
        ("bytes_user", "person", people),
        ("bytes_link", "share", links),
    ] {
        println!("  {what:<46}{bytes:>7.0}");
        figures.push(json!({"name": name, "value": bytes.round(), "unit": "bytes"}));
    }
}

//! Content altered, cut, moved and exchanged past the service: whoever reads it gets an error, or a stream that breaks off, and never a byte
//! that was not written.
//!
//! `PROVE=1` flips every bit of what is short, and many more of what is long; `SEED=n` repeats a run.

use cedarkeep::config::Database;
use cedarkeep::crypto::cobblestone::{HEADER, SEALED_CHUNK, TAG};
use cedarkeep::crypto::sealing::PREFIX;
use futures_util::StreamExt as _;
use serde_json::json;
use sqlx::{AnyConnection, Row as _};

use super::content::bytes;
use super::harness::{Service, Tenant};
use crate::harness::chance::Chance;
use crate::harness::postgres;

/// Bytes of a piece on PostgreSQL.
const PIECE: usize = 1 << 20;

/// The bytes of a long content: more than a piece, and no whole number of chunks.
const LONG: usize = PIECE + 300_001;

fn proves() -> bool {
    std::env::var_os("PROVE").is_some()
}

/// A version as it is stored, and what it holds.
#[derive(Clone, PartialEq)]
struct Stored {
    resource: String,
    version: String,
    subject: String,
    wrapped: Vec<u8>,
    check: Vec<u8>,
    body: Vec<u8>,
    /// Empty where it is short.
    shelf: Vec<u8>,
}

/// One of its columns.
type Column = fn(&mut Stored) -> &mut Vec<u8>;

/// Some content, where it is asked for, and how it is stored.
#[derive(Clone)]
struct Item {
    place: String,
    content: Vec<u8>,
    stored: Stored,
}

/// A content store under attack, and the attacker's way in.
struct Scene {
    service: Service,
    tenant: Tenant,
    rows: AnyConnection,
    tried: usize,
}

impl Scene {
    async fn set(database: Database) -> Self {
        let service = Service::still(database).await;
        let tenant = service.tenant("acme").await;
        let rows = service.database(&tenant).await;
        Self {
            service,
            tenant,
            rows,
            tried: 0,
        }
    }

    /// Writes content of something new: of the organization, or of a person.
    async fn item(&mut self, path: &str, length: usize) -> Item {
        let (service, tenant) = (&self.service, &self.tenant);
        let body = match path {
            "memory" => json!({"name": "Terms", "layer": "organization"}),
            _ => json!({"name": "Budget"}),
        };
        let list = format!("/v1/{path}");
        let made = service.post(tenant, tenant.admin, &list, body).await;
        let place = format!("{list}/{}/content", made.id());
        self.write(&place, length).await
    }

    async fn write(&mut self, place: &str, length: usize) -> Item {
        let (service, tenant) = (&self.service, &self.tenant);
        // No two have a byte in common for long.
        let content: Vec<u8> = bytes(length + self.tried + 1)[self.tried + 1..].to_vec();
        self.tried += 1;
        let put = service.by(tenant, tenant.admin, "PUT", place);
        let told = put.content("text/x-budget", content.clone()).send().await;
        let version = told.ok()["version"].as_str().unwrap().to_owned();
        let item = Item {
            place: format!("{place}?version={version}"),
            content,
            stored: self.stored(&version).await,
        };
        assert_eq!(item.stored.shelf.is_empty(), length <= 16 * 1024);
        assert!(self.opens(&item, None).await);
        item
    }

    async fn stored(&mut self, version: &str) -> Stored {
        let sql = "SELECT resource, subject, wrapped, key_check, body, shelved FROM content WHERE version = $1";
        let row = sqlx::query(sql).bind(version).fetch_one(&mut self.rows);
        let row = row.await.unwrap();
        let shelf = match row.get::<i64, _>("shelved") {
            0 => Vec::new(),
            _ => self.shelf(version).await,
        };
        Stored {
            resource: row.get("resource"),
            version: version.to_owned(),
            subject: row.get("subject"),
            wrapped: row.get("wrapped"),
            check: row.get("key_check"),
            body: row.get("body"),
            shelf,
        }
    }

    fn is_sqlite(&self) -> bool {
        matches!(self.service.app().config().data.database, Database::Sqlite)
    }

    /// What lies on the shelf under a name.
    async fn shelf(&mut self, version: &str) -> Vec<u8> {
        if self.is_sqlite() {
            return std::fs::read(self.service.shelf(&self.tenant).join(version)).unwrap();
        }
        let sql = "SELECT bytes FROM content_piece WHERE version = $1 ORDER BY number";
        let rows = sqlx::query(sql).bind(version).fetch_all(&mut self.rows);
        let rows = rows.await.unwrap();
        rows.iter()
            .flat_map(|row| row.get::<Vec<u8>, _>("bytes"))
            .collect()
    }

    /// Lays other bytes there: as pieces where it is cut into pieces.
    async fn lay(&mut self, version: &str, sealed: &[u8]) {
        if self.is_sqlite() {
            std::fs::write(self.service.shelf(&self.tenant).join(version), sealed).unwrap();
            return;
        }
        let sql = "DELETE FROM content_piece WHERE version = $1";
        let gone = sqlx::query(sql).bind(version).execute(&mut self.rows);
        gone.await.unwrap();
        for (number, piece) in (0_i64..).zip(sealed.chunks(PIECE)) {
            let sql = "INSERT INTO content_piece (version, number, bytes) VALUES ($1, $2, $3)";
            let put = sqlx::query(sql).bind(version).bind(number).bind(piece);
            put.execute(&mut self.rows).await.unwrap();
        }
    }

    /// Writes a row as it should not be; the shelf stays.
    async fn put(&mut self, row: &Stored) {
        let sql = "UPDATE content SET resource = $2, subject = $3, wrapped = $4, key_check = $5, body = $6 WHERE version = $1";
        let done = sqlx::query(sql)
            .bind(row.version.as_str())
            .bind(row.resource.as_str())
            .bind(row.subject.as_str())
            .bind(row.wrapped.as_slice())
            .bind(row.check.as_slice())
            .bind(row.body.as_slice())
            .execute(&mut self.rows)
            .await
            .unwrap();
        assert_eq!(done.rows_affected(), 1);
    }

    /// Reads it, all or a part: true if all of that came, and the stream ended as it should. A wrong byte is the end of the test.
    async fn opens(&self, item: &Item, part: Option<(usize, usize)>) -> bool {
        let tenant = &self.tenant;
        let mut ask = self.service.by(tenant, tenant.admin, "GET", &item.place);
        let wanted = match part {
            None => &item.content[..],
            Some((first, last)) => {
                ask = ask.header("range", &format!("bytes={first}-{last}"));
                &item.content[first..=last]
            }
        };
        let (status, mut stream) = ask.stream().await;
        let (mut came, mut broken) = (Vec::new(), false);
        while let Some(piece) = stream.next().await {
            match piece {
                Ok(piece) => came.extend_from_slice(&piece),
                Err(_) => broken = true,
            }
        }
        if status >= 400 {
            return false;
        }
        assert_eq!(status, if part.is_some() { 206 } else { 200 });
        assert!(wanted.starts_with(&came), "a wrong byte");
        assert_eq!(broken, came.len() < wanted.len());
        !broken
    }

    /// Nothing of it opens now, by no way that leads to it.
    async fn is_refused(&mut self, item: &Item, what: &str) {
        assert!(!self.opens(item, None).await, "{what}: it opens");
        self.tried += 1;
    }

    async fn is_refused_as(&mut self, item: &Item, row: &Stored, what: &str) {
        self.put(row).await;
        self.is_refused(item, what).await;
        self.put(&item.stored).await;
    }

    async fn is_refused_with(&mut self, item: &Item, sealed: &[u8], what: &str) {
        let version = item.stored.version.clone();
        self.lay(&version, sealed).await;
        self.is_refused(item, what).await;
        self.lay(&version, &item.stored.shelf).await;
    }

    /// Nobody touched it, or all was put back.
    async fn is_sound(&mut self, item: &Item) {
        assert!(self.opens(item, None).await);
    }
}

/// Every byte of what lies in a row, or one in so many, with one bit another, or with every bit; and cut, and longer.
async fn rows_altered(scene: &mut Scene, item: &Item, step: usize) {
    let step = if proves() { 1 } else { step };
    let columns: [(&str, Column); 3] = [
        ("wrapped", |row| &mut row.wrapped),
        ("key_check", |row| &mut row.check),
        ("body", |row| &mut row.body),
    ];
    for (name, column) in columns {
        let length = column(&mut item.stored.clone()).len();
        for byte in (0..length).step_by(step) {
            let bits = match proves() {
                true => 0..8,
                false => byte % 8..byte % 8 + 1,
            };
            for bit in bits {
                let mut row = item.stored.clone();
                column(&mut row)[byte] ^= 1 << bit;
                let what = format!("bit {bit} of byte {byte} of {name}");
                scene.is_refused_as(item, &row, &what).await;
            }
        }
        for cut in [0, PREFIX, PREFIX + HEADER, length - 1] {
            let mut row = item.stored.clone();
            column(&mut row).truncate(cut);
            // A check value is shorter than the others' beginnings.
            if cut < length {
                let what = format!("{name} cut at {cut}");
                scene.is_refused_as(item, &row, &what).await;
            }
        }
        let mut row = item.stored.clone();
        column(&mut row).push(0);
        let what = format!("{name} with a byte more");
        scene.is_refused_as(item, &row, &what).await;
    }
    scene.is_sound(item).await;
}

/// What belongs to one place, put into another.
async fn moved(scene: &mut Scene, item: &Item, others: &[(&str, Item)]) {
    let mine = item.stored.clone();
    // Another column of the same row.
    for (what, row) in [
        (
            "the body as the key",
            Stored {
                wrapped: mine.body.clone(),
                ..mine.clone()
            },
        ),
        (
            "the key as the body",
            Stored {
                body: mine.wrapped.clone(),
                ..mine.clone()
            },
        ),
    ] {
        scene.is_refused_as(item, &row, what).await;
    }
    if !mine.shelf.is_empty() {
        let row = Stored {
            body: mine.shelf.clone(),
            ..mine.clone()
        };
        scene
            .is_refused_as(item, &row, "the shelf's as the body")
            .await;
        scene
            .is_refused_with(item, &mine.body, "the body's on the shelf")
            .await;
    }
    for (whose, other) in others {
        let theirs = other.stored.clone();
        let of = |what: &str| format!("{what} of {whose}");
        for (what, row) in [
            (
                "the key",
                Stored {
                    wrapped: theirs.wrapped.clone(),
                    check: theirs.check.clone(),
                    ..mine.clone()
                },
            ),
            (
                "the body",
                Stored {
                    body: theirs.body.clone(),
                    ..mine.clone()
                },
            ),
            (
                "the row",
                Stored {
                    resource: mine.resource.clone(),
                    version: mine.version.clone(),
                    ..theirs.clone()
                },
            ),
        ] {
            scene.is_refused_as(item, &row, &of(what)).await;
        }
        if mine.subject != theirs.subject {
            let row = Stored {
                subject: theirs.subject.clone(),
                ..mine.clone()
            };
            scene.is_refused_as(item, &row, &of("the person")).await;
        }
        if !mine.shelf.is_empty() && !theirs.shelf.is_empty() {
            let sealed = theirs.shelf.clone();
            scene.is_refused_with(item, &sealed, &of("the shelf")).await;
            // Everything at once: the row, and what lies on the shelf.
            let row = Stored {
                resource: mine.resource.clone(),
                version: mine.version.clone(),
                ..theirs.clone()
            };
            scene.put(&row).await;
            scene
                .is_refused_with(item, &sealed, &of("row and shelf"))
                .await;
            scene.put(&mine).await;
        }
        // The row itself, said to be of another resource: asked for there.
        if mine.resource != theirs.resource && !other.place.is_empty() {
            let row = Stored {
                resource: theirs.resource.clone(),
                ..mine.clone()
            };
            scene.put(&row).await;
            let (place, _) = other.place.split_once('=').unwrap();
            let there = Item {
                place: format!("{place}={}", mine.version),
                ..item.clone()
            };
            scene.is_refused(&there, &of("the resource")).await;
            assert!(!scene.opens(item, None).await, "it is there twice");
            scene.put(&mine).await;
        }
    }
    scene.is_sound(item).await;
}

/// What lies on the shelf: bits, borders, chunks.
async fn shelf_altered(scene: &mut Scene, item: &Item, chance: &mut Chance) {
    let sealed = item.stored.shelf.clone();
    let start = PREFIX + HEADER;
    let mut below = |limit: usize| usize::try_from(chance.number() >> 1).unwrap() % limit;
    let step = if proves() { 1 } else { 5 };
    let mut bytes: Vec<usize> = (0..start).step_by(step).collect();
    let chunks = (sealed.len() - start).div_ceil(SEALED_CHUNK);
    // Of every chunk where it is proved; else of those at the ends, and of some between.
    let some = (0..chunks).filter(|chunk| proves() || chunk % 16 == 0 || chunk + 2 >= chunks);
    for chunk in some {
        let begin = start + chunk * SEALED_CHUNK;
        let end = sealed.len().min(begin + SEALED_CHUNK);
        bytes.extend([begin, begin + below(end - begin), end - TAG, end - 1]);
    }
    let last = start + (chunks - 1) * SEALED_CHUNK;
    bytes.extend((last..sealed.len()).step_by(997 * step));
    let more = if proves() { 400 } else { 20 };
    bytes.extend((0..more).map(|_| below(sealed.len())));
    for byte in bytes {
        let mut altered = sealed.clone();
        altered[byte] ^= 1 << below(8);
        let what = format!("byte {byte} of the shelf's");
        let part = (below(item.content.len()), below(item.content.len()));
        let part = (part.0.min(part.1), part.0.max(part.1));
        scene.lay(&item.stored.version, &altered).await;
        scene.is_refused(item, &what).await;
        // A part may lie where nothing was altered: then it is right.
        scene.opens(item, Some(part)).await;
    }
    let mut cuts = vec![0, 1, PREFIX, start - 1, start, start + 1, sealed.len() - 1];
    let borders = (1..chunks).filter(|chunk| proves() || chunk % 16 == 1 || chunk + 1 == chunks);
    let borders = borders.map(|chunk| start + chunk * SEALED_CHUNK);
    cuts.extend(borders.flat_map(|border| [border, border + TAG]));
    for cut in cuts {
        let what = format!("the shelf's cut at {cut}");
        scene.lay(&item.stored.version, &sealed[..cut]).await;
        scene.is_refused(item, &what).await;
        let part = (item.content.len() / 3, item.content.len() - 1);
        assert!(!scene.opens(item, Some(part)).await, "{what}");
    }
    let chunk = |number: usize| {
        let begin = start + number * SEALED_CHUNK;
        begin..sealed.len().min(begin + SEALED_CHUNK)
    };
    for (one, two) in [(0, 1), (0, chunks - 2), (chunks - 3, chunks - 2)] {
        let mut altered = sealed.clone();
        altered[chunk(one)].copy_from_slice(&sealed[chunk(two)]);
        altered[chunk(two)].copy_from_slice(&sealed[chunk(one)]);
        let what = format!("chunks {one} and {two} exchanged");
        scene.is_refused_with(item, &altered, &what).await;
        let mut altered = sealed.clone();
        altered[chunk(one)].copy_from_slice(&sealed[chunk(two)]);
        let what = format!("chunk {two} twice");
        scene.is_refused_with(item, &altered, &what).await;
    }
    // One left out, the last one earlier, and something behind the end.
    let without = |number: usize| [&sealed[..chunk(number).start], &sealed[chunk(number).end..]];
    for number in [0, 1, chunks - 2] {
        let altered = without(number).concat();
        let what = format!("without chunk {number}");
        scene.is_refused_with(item, &altered, &what).await;
    }
    let more = [&sealed[..], &sealed[chunk(0)]].concat();
    let altered = [&sealed[..chunk(chunks - 1).start], &more[sealed.len()..]].concat();
    scene
        .is_refused_with(item, &altered, "the first chunk as the last one")
        .await;
    let altered = [&sealed[..], &[0]].concat();
    scene
        .is_refused_with(item, &altered, "a byte behind the end")
        .await;
    scene.is_sound(item).await;
}

/// What the service knows beside the bytes: where they lie, and whether they are there at all.
async fn taken_away(scene: &mut Scene, item: &Item) {
    let version = item.stored.version.clone();
    let run = async |scene: &mut Scene, sql: &'static str| {
        let done = sqlx::query(sql).bind(&version).execute(&mut scene.rows);
        assert!(done.await.unwrap().rows_affected() > 0, "{sql}");
    };
    let short = "UPDATE content SET shelved = 0 WHERE version = $1";
    run(scene, short).await;
    scene.is_refused(item, "said to be short").await;
    run(scene, "UPDATE content SET shelved = 1 WHERE version = $1").await;
    if scene.is_sqlite() {
        std::fs::remove_file(scene.service.shelf(&scene.tenant).join(&version)).unwrap();
        scene.is_refused(item, "its file gone").await;
    } else {
        for sql in [
            "UPDATE content_piece SET number = 1 - number WHERE version = $1",
            "DELETE FROM content_piece WHERE version = $1 AND number = 1",
            "DELETE FROM content_piece WHERE version = $1",
        ] {
            // Two numbers cannot be exchanged in one step where both are keys: by way of another.
            if sql.starts_with("UPDATE") {
                for step in [
                    "UPDATE content_piece SET number = 9 WHERE version = $1 AND number = 0",
                    "UPDATE content_piece SET number = 0 WHERE version = $1 AND number = 1",
                    "UPDATE content_piece SET number = 1 WHERE version = $1 AND number = 9",
                ] {
                    run(scene, step).await;
                }
            } else {
                run(scene, sql).await;
            }
            scene.is_refused(item, sql).await;
            let sealed = item.stored.shelf.clone();
            scene.lay(&version, &sealed).await;
        }
    }
    let sealed = item.stored.shelf.clone();
    scene.lay(&version, &sealed).await;
    scene.is_sound(item).await;
}

async fn what_was_altered_or_moved_gives_no_wrong_byte(database: Database) {
    let mut chance = Chance::of_this_run("content");
    let begun = std::time::Instant::now();
    let mut scene = Scene::set(database).await;
    let of_a_person = scene.item("documents", 30).await;
    let of_the_organization = scene.item("memory", 31).await;
    assert_ne!(of_a_person.stored.subject, "");
    assert_eq!(of_the_organization.stored.subject, "");
    let long = scene.item("documents", LONG).await;
    let (place, _) = long.place.split_once('?').unwrap();
    let next_version = scene.write(place, LONG).await;
    let other_long = scene.item("documents", LONG).await;
    let theirs = foreign(&mut scene).await;

    for (item, step) in [(&of_a_person, 1), (&of_the_organization, 7), (&long, 11)] {
        rows_altered(&mut scene, item, step).await;
    }
    let long_ones = [
        ("another version", next_version.clone()),
        ("another document", other_long.clone()),
        ("another organization", theirs.1),
        ("a short one", of_a_person.clone()),
        ("the organization's", of_the_organization.clone()),
    ];
    moved(&mut scene, &long, &long_ones).await;
    let another = scene.item("documents", 30).await;
    let short_ones = [
        ("another document", another),
        ("another organization", theirs.0),
        ("a long one", long.clone()),
        ("the organization's", of_the_organization.clone()),
    ];
    moved(&mut scene, &of_a_person, &short_ones).await;
    let short_ones = [
        ("a person's", of_a_person.clone()),
        ("a long one", long.clone()),
    ];
    moved(&mut scene, &of_the_organization, &short_ones).await;
    shelf_altered(&mut scene, &long, &mut chance).await;
    taken_away(&mut scene, &long).await;
    // Two values of the shelf exchanged: neither opens, and both do when they are back.
    let (one, two) = (next_version.stored.clone(), other_long.stored.clone());
    scene.lay(&one.version, &two.shelf).await;
    scene.lay(&two.version, &one.shelf).await;
    scene.is_refused(&next_version, "exchanged").await;
    scene.is_refused(&other_long, "exchanged").await;
    scene.lay(&one.version, &one.shelf).await;
    scene.lay(&two.version, &two.shelf).await;
    for item in [
        &of_a_person,
        &of_the_organization,
        &long,
        &next_version,
        &other_long,
    ] {
        scene.is_sound(item).await;
    }
    println!(
        "{} times altered or moved, and never a wrong byte, in {:.0} s",
        scene.tried,
        begun.elapsed().as_secs_f64()
    );
    assert!(scene.tried > 500);
}

/// A short and a long one of another organization.
async fn foreign(scene: &mut Scene) -> (Item, Item) {
    let other = scene.service.tenant("globex").await;
    let rows = scene.service.database(&other).await;
    let mine = (
        std::mem::replace(&mut scene.tenant, other),
        std::mem::replace(&mut scene.rows, rows),
    );
    let short = scene.item("documents", 30).await;
    let long = scene.item("documents", LONG).await;
    (scene.tenant, scene.rows) = mine;
    // It is asked for at no place of this organization's.
    let nowhere = |item: Item| Item {
        place: String::new(),
        ..item
    };
    (nowhere(short), nowhere(long))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_altered_or_moved_gives_no_wrong_byte_on_sqlite() {
    what_was_altered_or_moved_gives_no_wrong_byte(Database::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_altered_or_moved_gives_no_wrong_byte_on_postgresql() {
    let server = postgres::start();
    what_was_altered_or_moved_gives_no_wrong_byte(Database::Postgres(server.url())).await;
}

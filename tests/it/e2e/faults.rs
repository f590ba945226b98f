//! A log that cannot be written: no answer in its place, a refusal in time, and no restart to recover.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::harness::client::Client;
use crate::harness::postgres;
use crate::harness::server::{DEADLINE, Server, Site};
use crate::harness::witness::Witness;

/// How soon the service must answer again once it can.
const BACK_WITHIN: Duration = Duration::from_secs(15);

/// More than any file here comes to, in bytes.
const NO_LIMIT: u64 = 1 << 40;

/// Breaks the log under load, and holds the service to what it promises until the log can be written again.
async fn refuses_and_recovers(
    site: &Site,
    key: &str,
    server: &mut Server,
    slug: &str,
    fault: Fault<'_>,
) {
    let witness = Arc::new(Witness::default());
    let client = server.client(key);
    let load = witness.load(server, key, 4);
    wait_until("it answers", || witness.received() > 20).await;
    assert_eq!(witness.refused(), 0, "before anything broke");

    (fault.begin)();
    let begun = Instant::now();
    wait_until("it refuses", || witness.refused() > 20).await;
    println!(
        "the first refusals came within {:?}, the slowest answer after {:?}",
        begun.elapsed(),
        witness.slowest()
    );
    // It says that it cannot serve, and that there is no use in starting it again.
    assert_eq!(client.get("/healthz").await.unwrap().status, 200);
    wait_for_status(&client, "/readyz", 503).await;
    let received = witness.received();
    for _ in 0..5 {
        assert!(witness.ask(&client).await);
    }
    assert!(
        witness.received() <= received + 4,
        "it answers while nothing can be recorded"
    );

    (fault.end)();
    let ended = Instant::now();
    let received = witness.received();
    wait_until("it answers again", || witness.received() > received + 20).await;
    assert!(
        ended.elapsed() < BACK_WITHIN,
        "back after {:?}",
        ended.elapsed()
    );
    println!("back after {:?}", ended.elapsed());
    wait_for_status(&client, "/readyz", 200).await;
    load.end().await;
    assert_eq!(witness.broken(), 0, "a connection broke");
    assert!(server.is_alive(), "it is another process");

    let refused = witness.refused();
    for _ in 0..50 {
        assert!(witness.ask(&client).await);
    }
    assert_eq!(witness.refused(), refused, "it is back and refuses still");
    witness.check_all(site, slug);
}

/// How the log breaks, and how it is mended.
struct Fault<'a> {
    begin: &'a dyn Fn(),
    end: &'a dyn Fn(),
}

async fn wait_until(what: &str, condition: impl Fn() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < DEADLINE, "never: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

async fn wait_for_status(client: &Client, path: &str, status: u16) {
    let start = Instant::now();
    while client.get(path).await.unwrap().status != status {
        assert!(start.elapsed() < DEADLINE, "{path} is never {status}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// A small file system in memory, until it is dropped.
struct SmallDisk {
    at: PathBuf,
}

impl SmallDisk {
    /// One of this many MiB, or why the system allows none.
    fn mount(at: &Path, size: u32) -> Result<Self, String> {
        fs::create_dir_all(at).unwrap();
        let size = format!("size={size}m,mode=0700");
        let output = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &size, "tmpfs"])
            .arg(at)
            .output();
        match output {
            Ok(output) if output.status.success() => Ok(Self { at: at.to_owned() }),
            Ok(output) => Err(String::from_utf8_lossy(&output.stderr).into_owned()),
            Err(error) => Err(error.to_string()),
        }
    }

    fn fill(&self) {
        let mut file = fs::File::create(self.at.join("filler")).unwrap();
        for block in [1 << 20, 1 << 12, 1] {
            while file.write_all(&vec![7; block]).is_ok() {}
        }
    }

    fn empty(&self) {
        fs::remove_file(self.at.join("filler")).unwrap();
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        Command::new("umount").arg("-l").arg(&self.at).status().ok();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_is_a_503_and_no_more() {
    let mut site = Site::sqlite();
    let disk = SmallDisk::mount(&site.beside().join("disk"), 64);
    match &disk {
        Ok(disk) => site.put_data_at(&disk.at.join("data")),
        // Only root may mount; the limit on files is the same to a program that writes.
        Err(why) => {
            println!(
                "no file system of its own ({}): a limit on files instead",
                why.trim()
            );
            site.limit_files(NO_LIMIT);
        }
    }
    let key = site.create_todo_org("full");
    let mut server = site.serve().await;
    let pid = Pid::from_raw(i32::try_from(server.id()).unwrap()).unwrap();
    let begin = || match &disk {
        Ok(disk) => disk.fill(),
        Err(_) => limit(pid, Some(4_096)),
    };
    let end = || match &disk {
        Ok(disk) => disk.empty(),
        Err(_) => limit(pid, None),
    };
    refuses_and_recovers(
        &site,
        &key,
        &mut server,
        "full",
        Fault {
            begin: &begin,
            end: &end,
        },
    )
    .await;
    server.stop();
}

/// Every write fails here, the one of a line of the service's own log too.
#[tokio::test(flavor = "multi_thread")]
async fn writes_that_fail_are_a_503_and_no_more() {
    let mut site = Site::sqlite();
    site.limit_files(NO_LIMIT);
    let key = site.create_todo_org("limit");
    let mut server = site.serve().await;
    let pid = Pid::from_raw(i32::try_from(server.id()).unwrap()).unwrap();
    let (begin, end) = (|| limit(pid, Some(4_096)), || limit(pid, None));
    refuses_and_recovers(
        &site,
        &key,
        &mut server,
        "limit",
        Fault {
            begin: &begin,
            end: &end,
        },
    )
    .await;
    server.stop();
}

fn limit(pid: Pid, bytes: Option<u64>) {
    let limit = rustix::process::Rlimit {
        current: bytes,
        maximum: None,
    };
    rustix::process::prlimit(Some(pid), rustix::process::Resource::Fsize, limit).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_stops_is_a_503_until_it_is_back() {
    let database = postgres::start();
    let site = Site::postgres(&database.url());
    let key = site.create_todo_org("stopped");
    let mut server = site.serve().await;
    let (begin, end) = (|| database.stop_now(), || database.start_again());
    refuses_and_recovers(
        &site,
        &key,
        &mut server,
        "stopped",
        Fault {
            begin: &begin,
            end: &end,
        },
    )
    .await;
    server.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_freezes_is_a_503_until_it_thaws() {
    let database = postgres::start();
    let site = Site::postgres(&database.url());
    let key = site.create_todo_org("frozen");
    let mut server = site.serve().await;
    let (begin, end) = (
        || freeze(&database.directory()),
        || thaw(&database.directory()),
    );
    refuses_and_recovers(
        &site,
        &key,
        &mut server,
        "frozen",
        Fault {
            begin: &begin,
            end: &end,
        },
    )
    .await;
    server.stop();
}

/// Stops all of its processes; the first goes first, so that it makes no new ones.
fn freeze(directory: &Path) {
    let first = postmaster(directory);
    kill_process(first, Signal::STOP).unwrap();
    for child in children(first) {
        kill_process(child, Signal::STOP).ok();
    }
}

fn thaw(directory: &Path) {
    let first = postmaster(directory);
    for child in children(first) {
        kill_process(child, Signal::CONT).ok();
    }
    kill_process(first, Signal::CONT).unwrap();
}

fn postmaster(directory: &Path) -> Pid {
    let text = fs::read_to_string(directory.join("postmaster.pid")).unwrap();
    Pid::from_raw(text.lines().next().unwrap().trim().parse().unwrap()).unwrap()
}

fn children(parent: Pid) -> Vec<Pid> {
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc").unwrap() {
        let Ok(number) = entry.unwrap().file_name().to_str().unwrap().parse::<i32>() else {
            continue;
        };
        let Ok(stat) = fs::read_to_string(format!("/proc/{number}/stat")) else {
            continue;
        };
        // The name is in parentheses and may hold anything; state and parent follow it.
        let (_, rest) = stat.rsplit_once(')').unwrap();
        if rest.split_whitespace().nth(1) == Some(&parent.as_raw_nonzero().to_string()) {
            found.extend(Pid::from_raw(number));
        }
    }
    found
}

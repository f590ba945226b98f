//! The local keyring: what it refuses to read, to write and to make.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use cedarkeep::crypto::CryptoError;
use cedarkeep::crypto::keyring::{Keyring, Store};
use tempfile::TempDir;

fn folder() -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("keys").join("keyring");
    (folder, path)
}

fn create(path: &Path) -> Keyring {
    Keyring::open_or_create(path, Store::Empty).unwrap()
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o7777
}

/// Writes the text where a keyring was, with its mode.
fn overwrite(path: &Path, text: &[u8]) {
    fs::write(path, text).unwrap();
    assert_eq!(mode(path), 0o600);
}

/// The reason that a damaged keyring is refused with.
fn damage(path: &Path) -> String {
    match Keyring::open_or_create(path, Store::Empty) {
        Err(CryptoError::KeyringDamaged { why, .. }) => why,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_first_start_makes_a_keyring_that_only_its_owner_reads() {
    let (_folder, path) = folder();
    let made = create(&path);
    assert_eq!(mode(&path), 0o600);
    assert_eq!(mode(path.parent().unwrap()), 0o700);
    let read = Keyring::open_or_create(&path, Store::HasData).unwrap();
    assert!(read.roots().newest().secret == made.roots().newest().secret);
    let names: Vec<_> = fs::read_dir(path.parent().unwrap())
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    assert_eq!(names, ["keyring"]);
}

#[test]
fn no_keyring_is_made_over_existing_data() {
    let (_folder, path) = folder();
    let refused = Keyring::open_or_create(&path, Store::HasData);
    assert!(matches!(refused, Err(CryptoError::KeyringMissing(_))));
    assert!(!path.exists() && !path.parent().unwrap().exists());
    assert!(
        refused
            .unwrap_err()
            .to_string()
            .ends_with("restore the file from its backup")
    );
}

#[test]
fn a_keyring_that_others_can_read_is_refused_with_the_remedy() {
    let (_folder, path) = folder();
    create(&path);
    for open in [0o644, 0o640, 0o620, 0o602, 0o700, 0o4600] {
        fs::set_permissions(&path, fs::Permissions::from_mode(open)).unwrap();
        let error = Keyring::open(&path).unwrap_err();
        assert!(
            matches!(error, CryptoError::KeyringMode { mode, .. } if mode == open),
            "{open:o}"
        );
        assert!(
            error
                .to_string()
                .contains(&format!("chmod 600 {}", path.display()))
        );
    }
    fs::set_permissions(&path, fs::Permissions::from_mode(0o400)).unwrap();
    Keyring::open(&path).unwrap();
}

#[test]
fn a_keyring_of_another_owner_is_refused() {
    let (_folder, path) = folder();
    create(&path);
    let strange = if rustix::process::geteuid().is_root() {
        std::os::unix::fs::chown(&path, Some(65_534), None).unwrap();
        path
    } else {
        // Whoever is not root cannot give a file away, but there is one that root owns and everybody reads.
        PathBuf::from("/etc/passwd")
    };
    assert!(matches!(
        Keyring::open(&strange),
        Err(CryptoError::KeyringOwner { .. })
    ));
}

#[test]
fn a_link_a_folder_and_a_pipe_are_no_keyring() {
    let (folder, path) = folder();
    create(&path);
    let link = folder.path().join("link");
    symlink(&path, &link).unwrap();
    let dangling = folder.path().join("dangling");
    symlink(folder.path().join("nothing"), &dangling).unwrap();
    let pipe = folder.path().join("pipe");
    let made = std::process::Command::new("mkfifo")
        .args(["-m", "600"])
        .arg(&pipe)
        .status()
        .unwrap();
    assert!(made.success());
    for strange in [
        link.as_path(),
        dangling.as_path(),
        pipe.as_path(),
        path.parent().unwrap(),
    ] {
        let refused = Keyring::open_or_create(strange, Store::Empty);
        assert!(
            matches!(refused, Err(CryptoError::KeyringNotAFile(_))),
            "{strange:?}"
        );
    }
    assert!(!folder.path().join("nothing").exists());
}

#[test]
fn garbage_is_refused_and_left_as_it_is() {
    let (_folder, path) = folder();
    create(&path);
    for (garbage, why) in [
        (&b""[..], "its last line is cut"),
        (b"hello\n", "it does not start with `cedarkeep-keyring 1`"),
        (
            b"cedarkeep-keyring 2\nend 0\n",
            "it does not start with `cedarkeep-keyring 1`",
        ),
        (
            b"cedarkeep-keyring 1\nend 0\n",
            "line 2 ends a list of no root key",
        ),
        (b"cedarkeep-keyring 1\n", "its end is missing"),
        (
            b"cedarkeep-keyring 1\nroot 1 zz 00\nend 1\n",
            "line 2 has a key that is not hexadecimal",
        ),
        (
            b"cedarkeep-keyring 1\nroot 1 00 00\nend 1\n",
            "line 2 has a key of a wrong length",
        ),
        (
            b"cedarkeep-keyring 1\nroot x 00 00\nend 1\n",
            "line 2 has no version",
        ),
        (b"\xff\xfe\n", "it is not text"),
        (&[b'#'; 70_000], "it is too long"),
    ] {
        overwrite(&path, garbage);
        assert_eq!(damage(&path), why);
        assert_eq!(fs::read(&path).unwrap(), garbage);
    }
}

#[test]
fn a_keyring_cut_anywhere_is_refused() {
    let (_folder, path) = folder();
    let mut keyring = create(&path);
    keyring.add_root().unwrap();
    let whole = fs::read(&path).unwrap();
    for length in 0..whole.len() {
        overwrite(&path, &whole[..length]);
        damage(&path);
    }
    overwrite(&path, &whole);
    assert_eq!(Keyring::open(&path).unwrap().roots().iter().count(), 2);
}

#[test]
fn a_changed_digit_of_a_key_and_a_missing_root_are_noticed() {
    let (_folder, path) = folder();
    let mut keyring = create(&path);
    keyring.add_root().unwrap();
    let text = fs::read_to_string(&path).unwrap();
    let root: Vec<&str> = text
        .lines()
        .filter(|line| line.starts_with("root "))
        .collect();

    let digit = root[0].as_bytes()[10];
    let mut changed = root[0].to_owned();
    changed.replace_range(10..11, if digit == b'0' { "1" } else { "0" });
    overwrite(&path, text.replace(root[0], &changed).as_bytes());
    assert!(damage(&path).ends_with("has a key that does not match its check value"));

    overwrite(
        &path,
        text.replace(&format!("{}\n", root[1]), "").as_bytes(),
    );
    assert!(damage(&path).ends_with("counts other root keys than there are"));

    overwrite(&path, text.replace(root[1], root[0]).as_bytes());
    assert!(damage(&path).ends_with("versions start at 1 and are there once"));

    overwrite(&path, format!("{text}{}\n", root[0]).as_bytes());
    assert!(damage(&path).ends_with("stands behind the end"));
}

/// An error is logged: it must not carry what it found in the file.
#[test]
fn a_refusal_shows_nothing_of_the_file() {
    let (_folder, path) = folder();
    create(&path);
    let text = fs::read_to_string(&path).unwrap();
    let key = text
        .lines()
        .find_map(|line| line.strip_prefix("root 1 "))
        .unwrap();
    let key = key.split(' ').next().unwrap().to_owned();
    for broken in [
        text.replace("root 1", "root one"),
        text.replace("root 1", "rott 1"),
        text.replace("end 1", "end 7"),
    ] {
        overwrite(&path, broken.as_bytes());
        let error = Keyring::open(&path).unwrap_err();
        assert!(!format!("{error} {error:?}").contains(&key[..8]));
    }
}

#[test]
fn a_new_root_is_kept_beside_the_old_until_that_is_destroyed() {
    let (_folder, path) = folder();
    let mut keyring = create(&path);
    assert_eq!(keyring.add_root().unwrap(), 2);
    let read = Keyring::open(&path).unwrap();
    assert_eq!(
        read.roots()
            .iter()
            .map(|root| root.version)
            .collect::<Vec<_>>(),
        [1, 2]
    );

    let before = fs::read_to_string(&path).unwrap();
    assert!(matches!(
        keyring.destroy_root(2),
        Err(CryptoError::LastVersion(_))
    ));
    assert!(matches!(
        keyring.destroy_root(9),
        Err(CryptoError::UnknownVersion { version: 9, .. })
    ));
    assert_eq!(fs::read_to_string(&path).unwrap(), before);

    keyring.destroy_root(1).unwrap();
    let left = Keyring::open(&path).unwrap();
    assert_eq!(
        left.roots()
            .iter()
            .map(|root| root.version)
            .collect::<Vec<_>>(),
        [2]
    );
    assert_eq!(mode(&path), 0o600);
}

#[test]
fn what_a_destroyed_root_was_written_in_is_overwritten() {
    let (_folder, path) = folder();
    let mut keyring = create(&path);
    keyring.add_root().unwrap();
    keyring.add_root().unwrap();
    // Another name of the same file shows what becomes of its content.
    let kept = path.with_extension("kept");
    fs::hard_link(&path, &kept).unwrap();
    keyring.destroy_roots_before(3).unwrap();
    assert!(fs::read(&kept).unwrap().iter().all(|byte| *byte == 0));
    let left = Keyring::open(&path).unwrap();
    assert_eq!(left.roots().iter().count(), 1);
    assert_eq!(left.roots().newest().version, 3);
    keyring.destroy_roots_before(3).unwrap();
    let beyond = keyring.destroy_roots_before(4);
    assert!(matches!(beyond, Err(CryptoError::LastVersion(_))));
}

#[test]
fn a_change_by_somebody_else_is_not_overwritten() {
    let (_folder, path) = folder();
    let mut mine = create(&path);
    let mut theirs = Keyring::open(&path).unwrap();
    theirs.add_root().unwrap();
    assert!(matches!(
        mine.add_root(),
        Err(CryptoError::KeyringChanged(_))
    ));
    assert_eq!(
        Keyring::open(&path).unwrap().roots().newest().secret,
        theirs.roots().newest().secret
    );
    assert_eq!(mine.roots().newest().version, 1);
}

#[test]
fn what_a_crash_left_behind_is_cleared_away() {
    let (_folder, path) = folder();
    let mut keyring = create(&path);
    let left = path.with_file_name("keyring.new");
    fs::write(&left, "half of a keyr").unwrap();
    keyring.add_root().unwrap();
    assert!(!left.exists());
    assert_eq!(Keyring::open(&path).unwrap().roots().newest().version, 2);
}

/// Eight starts at once: each must end with the one key that the others have.
#[test]
fn starts_at_the_same_time_agree_on_one_key() {
    let (_folder, path) = folder();
    let made: Vec<Keyring> = std::thread::scope(|scope| {
        let starts: Vec<_> = (0..8).map(|_| scope.spawn(|| create(&path))).collect();
        starts
            .into_iter()
            .map(|start| start.join().unwrap())
            .collect()
    });
    let kept = Keyring::open(&path).unwrap();
    assert!(
        made.iter()
            .all(|keyring| keyring.roots().newest().secret == kept.roots().newest().secret)
    );
}

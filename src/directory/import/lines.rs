//! What a file of people says, line by line: CSV with a header, or one JSON object a line.
//!
//! What is told about a line never repeats what stands in it: a report goes where an address must not.

use std::collections::HashMap;

use serde::Deserialize;

use super::super::object::Role;
use super::super::people::address;
use super::super::{DirectoryError, name};

/// The most people that a file may have.
pub const PEOPLE_LIMIT: usize = 20_000;

/// How a file is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// CSV (RFC 4180) whose first line names the columns.
    Csv,
    /// One JSON object a line.
    Jsonl,
}

/// Somebody as a line says it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Person {
    /// What people call them.
    pub name: String,
    /// Their address, in small letters.
    pub email: String,
    /// What they are to be.
    pub role: Role,
    /// Whether they may act; absent: as they are, and active where they are new.
    pub active: Option<bool>,
}

/// One line, and what stands there or why it cannot be taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// Counted from 1 in the file.
    pub number: u64,
    /// Who.
    pub person: Result<Person, String>,
}

/// A JSON line.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Members {
    name: String,
    email: String,
    role: String,
    active: Option<bool>,
}

/// A column of ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Column {
    Name,
    Email,
    Role,
    Active,
}

impl Column {
    const ALL: [(Self, &'static str); 4] = [
        (Self::Name, "name"),
        (Self::Email, "email"),
        (Self::Role, "role"),
        (Self::Active, "active"),
    ];
}

/// The lines of a file; an empty one says nothing.
///
/// # Errors
/// `Line` where the file as a whole cannot be read: no header, unknown columns, more people than are taken at once.
pub fn read(form: Form, bytes: &[u8]) -> Result<Vec<Line>, DirectoryError> {
    // Spreadsheets put it there.
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    let mut lines = match form {
        Form::Csv => csv_lines(bytes)?,
        Form::Jsonl => json_lines(bytes)?,
    };
    let mut first: HashMap<String, u64> = HashMap::new();
    for line in &mut lines {
        let Ok(person) = &line.person else {
            continue;
        };
        let before = *first.entry(person.email.clone()).or_insert(line.number);
        if before != line.number {
            line.person = Err(format!("it has the address of line {before}"));
        }
    }
    Ok(lines)
}

fn whole(line: u64, why: impl Into<String>) -> DirectoryError {
    DirectoryError::Line {
        line,
        why: why.into(),
    }
}

fn too_many(line: u64) -> DirectoryError {
    whole(
        line,
        format!("these are more than {PEOPLE_LIMIT} people: send the rest in another file"),
    )
}

fn json_lines(bytes: &[u8]) -> Result<Vec<Line>, DirectoryError> {
    let mut lines = Vec::new();
    for (number, text) in (1_u64..).zip(bytes.split(|byte| *byte == b'\n')) {
        if text.iter().all(u8::is_ascii_whitespace) {
            continue;
        }
        if lines.len() == PEOPLE_LIMIT {
            return Err(too_many(number));
        }
        let members = serde_json::from_slice::<Members>(text).map_err(|error| {
            format!(
                "it is not a JSON object with `name`, `email`, `role` and perhaps `active` (at column {})",
                error.column()
            )
        });
        let person = members.and_then(|members| {
            person(&members.name, &members.email, &members.role, members.active)
        });
        lines.push(Line { number, person });
    }
    Ok(lines)
}

fn csv_lines(bytes: &[u8]) -> Result<Vec<Line>, DirectoryError> {
    let mut reader = csv::ReaderBuilder::new()
        .has_headers(false)
        .flexible(true)
        .trim(csv::Trim::All)
        .from_reader(bytes);
    let mut places = Places::of(bytes);
    let mut record = csv::ByteRecord::new();
    let mut columns: Option<Vec<Column>> = None;
    let mut lines = Vec::new();
    loop {
        let more = reader.read_byte_record(&mut record);
        let number = places.line_at(record.position().map_or(0, csv::Position::byte));
        match more {
            Ok(true) => {}
            Ok(false) => break,
            Err(_) => return Err(whole(number, "it is not CSV")),
        }
        let Some(columns) = &columns else {
            columns = Some(header(number, &record)?);
            continue;
        };
        if lines.len() == PEOPLE_LIMIT {
            return Err(too_many(number));
        }
        let person = of_record(columns, &record);
        lines.push(Line { number, person });
    }
    match columns {
        Some(_) => Ok(lines),
        None => Err(whole(
            1,
            "it must name the columns: `name`, `email`, `role` and perhaps `active`",
        )),
    }
}

fn header(number: u64, record: &csv::ByteRecord) -> Result<Vec<Column>, DirectoryError> {
    let mut columns = Vec::new();
    for (at, field) in (1..).zip(record.iter()) {
        let known = Column::ALL
            .into_iter()
            .find(|(_, name)| field.eq_ignore_ascii_case(name.as_bytes()));
        match known {
            Some((column, name)) if columns.contains(&column) => {
                return Err(whole(number, format!("the column `{name}` is there twice")));
            }
            Some((column, _)) => columns.push(column),
            None => {
                return Err(whole(
                    number,
                    format!(
                        "column {at} is none of `name`, `email`, `role` and `active`: the first line names the columns"
                    ),
                ));
            }
        }
    }
    let missing = Column::ALL
        .into_iter()
        .find(|(column, _)| *column != Column::Active && !columns.contains(column));
    match missing {
        Some((_, name)) => Err(whole(number, format!("the column `{name}` is missing"))),
        None => Ok(columns),
    }
}

fn of_record(columns: &[Column], record: &csv::ByteRecord) -> Result<Person, String> {
    if record.len() != columns.len() {
        return Err(format!(
            "it has {} fields where the first line has {}",
            record.len(),
            columns.len()
        ));
    }
    let mut fields = [""; Column::ALL.len()];
    for (column, field) in columns.iter().zip(record) {
        let text = std::str::from_utf8(field).map_err(|_| "it is not UTF-8".to_owned())?;
        for (place, (known, _)) in fields.iter_mut().zip(Column::ALL) {
            if known == *column {
                *place = text;
            }
        }
    }
    let [name, email, role, active] = fields;
    let active = match active {
        "" => None,
        text if text.eq_ignore_ascii_case("true") => Some(true),
        text if text.eq_ignore_ascii_case("false") => Some(false),
        _ => return Err("`active`: it must be true or false".into()),
    };
    person(name, email, role, active)
}

fn person(called: &str, email: &str, role: &str, active: Option<bool>) -> Result<Person, String> {
    let said = |error: DirectoryError| error.to_string();
    Ok(Person {
        name: name("name", called).map_err(said)?,
        email: address(email).map_err(said)?,
        role: role
            .parse()
            .map_err(|_: String| "`role`: it must be Admin, Member or Viewer".to_owned())?,
        active,
    })
}

/// On which line a byte stands; asked for bytes in their order.
struct Places<'a> {
    bytes: &'a [u8],
    at: usize,
    line: u64,
}

impl<'a> Places<'a> {
    const fn of(bytes: &'a [u8]) -> Self {
        Self {
            bytes,
            at: 0,
            line: 1,
        }
    }

    /// The line on which a record begins that was looked for from this byte on: ends of lines before it are none of it.
    fn line_at(&mut self, byte: u64) -> u64 {
        let from = usize::try_from(byte).unwrap_or(usize::MAX);
        let rest = self.bytes.get(self.at..).unwrap_or_default();
        let until = from.saturating_sub(self.at);
        for (distance, one) in rest.iter().enumerate() {
            if distance >= until && !matches!(one, b'\r' | b'\n') {
                break;
            }
            self.at = self.at.saturating_add(1);
            self.line = self.line.saturating_add(u64::from(*one == b'\n'));
        }
        self.line
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test")]
mod tests {
    use super::*;

    fn numbers(lines: &[Line]) -> Vec<(u64, bool)> {
        let told = lines.iter().map(|line| (line.number, line.person.is_ok()));
        told.collect()
    }

    fn why(lines: &[Line], number: u64) -> &str {
        let line = lines.iter().find(|line| line.number == number).unwrap();
        line.person.as_ref().unwrap_err()
    }

    #[test]
    fn both_forms_say_the_same() {
        let csv = "\u{feff}email,Name,ROLE,active\r\nZoe@Example.com , Zoe ,Admin,FALSE\r\ni@example.com,\"Ibn, I.\",Viewer,\r\n";
        let jsonl = "{\"name\":\"Zoe\",\"email\":\"zoe@example.com\",\"role\":\"Admin\",\"active\":false}\n\
                     {\"name\":\"Ibn, I.\",\"email\":\"i@example.com\",\"role\":\"Viewer\"}\n";
        let people = |form, text: &str| -> Vec<Person> {
            let lines = read(form, text.as_bytes()).unwrap();
            lines.into_iter().map(|line| line.person.unwrap()).collect()
        };
        let found = people(Form::Csv, csv);
        assert_eq!(found, people(Form::Jsonl, jsonl));
        let zoe = found.first().unwrap();
        assert_eq!(
            (zoe.email.as_str(), zoe.role, zoe.active),
            ("zoe@example.com", Role::Admin, Some(false))
        );
    }

    #[test]
    fn lines_are_counted_as_an_editor_counts_them() {
        for end in ["\n", "\r\n"] {
            let text = [
                "",
                "name,email,role",
                "A,a@example.com,Member",
                "",
                "\"B",
                "C\",b@example.com,Member",
                "D,d@example.com,Member",
                "",
                "",
                "E,nobody,Member",
                "",
            ]
            .join(end);
            let lines = read(Form::Csv, text.as_bytes()).unwrap();
            // A name over two lines is none; it is told by the line that it begins on.
            assert_eq!(
                numbers(&lines),
                [(3, true), (5, false), (7, true), (10, false)]
            );
            let text = ["", "{", "", "{}"].join(end);
            let lines = read(Form::Jsonl, text.as_bytes()).unwrap();
            assert_eq!(numbers(&lines), [(2, false), (4, false)]);
        }
    }

    #[test]
    fn each_wrong_line_says_what_is_wrong_and_nothing_of_what_stands_there() {
        let text = b"name,email,role,active\n\
            Zoe,secret-at-example.com,Member,\n\
            Zoe,secret@example.com,God,\n\
            Zoe,secret@example.com,Member,maybe\n\
            Zoe,secret@example.com,Member\n\
            ,secret@example.com,Member,\n\
            Zo\xff,secret@example.com,Member,\n\
            secret\x07,secret@example.com,Member,\n\
            Zoe,secret@example.com,Member,\n\
            Zoe,SECRET@example.com,Member,\n";
        let lines = read(Form::Csv, text).unwrap();
        for (number, said) in [
            (2, "`email`"),
            (3, "`role`"),
            (4, "`active`"),
            (5, "3 fields"),
            (6, "`name`: it is empty"),
            (7, "UTF-8"),
            (8, "control characters"),
            (10, "line 9"),
        ] {
            let why = why(&lines, number);
            assert!(why.contains(said), "{number}: {why}");
            assert!(!why.contains("secret") && !why.contains("God"), "{why}");
        }
        let jsonl = b"{\"name\":\"secret\",\"email\":7}\n{\"secret\":1}\n[\"secret\"]\n";
        for line in read(Form::Jsonl, jsonl).unwrap() {
            assert!(!line.person.unwrap_err().contains("secret"));
        }
    }

    #[test]
    fn a_file_that_is_none_is_refused_as_a_whole() {
        for (text, said) in [
            ("", "line 1: it must name the columns"),
            ("\n\n", "line 1: it must name the columns"),
            ("name,email\n", "line 1: the column `role` is missing"),
            (
                "name,email,role,name\n",
                "line 1: the column `name` is there twice",
            ),
            ("name,email,role,phone\n", "line 1: column 4"),
        ] {
            let error = read(Form::Csv, text.as_bytes()).unwrap_err().to_string();
            assert!(error.starts_with(said), "{error}");
        }
        let mut many = String::from("name,email,role\n");
        for number in 0..=PEOPLE_LIMIT {
            many.push_str(&format!("P,p{number}@example.com,Member\n"));
        }
        let error = read(Form::Csv, many.as_bytes()).unwrap_err().to_string();
        assert!(
            error.starts_with("line 20002: these are more than 20000"),
            "{error}"
        );
    }

    proptest::proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes: Vec<u8>) {
            for form in [Form::Csv, Form::Jsonl] {
                let with = [b"name,email,role\n".as_slice(), &bytes].concat();
                drop((read(form, &bytes), read(form, &with)));
            }
        }
    }
}

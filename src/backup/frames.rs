//! The text of a backup's files: tables with their rows, and files, one frame after the other; what is open here is sealed outside.
//!
//! A frame is a tag (one byte) and its fields. A field of bytes or text stands behind its length (u32, big-endian), a number is an i64,
//! big-endian. The last frame counts the others, and nothing follows it.

use std::io::{self, Read};

use crate::storage::copy::{Cell, CellKind, Column, Table};

const TABLE: u8 = 1;
const ROW: u8 = 2;
const FILE: u8 = 3;
const PIECE: u8 = 4;
const END: u8 = 5;

const NULL: u8 = 0;
const NUMBER: u8 = 1;
const TEXT: u8 = 2;
const BYTES: u8 = 3;

/// The longest field that is read: longer than any row can be.
const LONGEST: usize = 1 << 30;

/// The longest piece of a file, in bytes.
pub(super) const PIECE_SIZE: usize = 1 << 16;

/// One frame.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Frame {
    /// The rows that follow are of this table; of the control database, where `control`.
    Table { control: bool, table: Table },
    /// A row of the last table.
    Row(Vec<Cell>),
    /// The pieces that follow are of this file.
    File { name: String },
    /// A piece of the last file.
    Piece(Vec<u8>),
    /// So many rows and files there were.
    End { rows: u64, files: u64 },
}

fn put(out: &mut Vec<u8>, field: &[u8]) -> io::Result<()> {
    let length = u32::try_from(field.len()).map_err(|_| io::ErrorKind::InvalidInput)?;
    out.extend_from_slice(&length.to_be_bytes());
    out.extend_from_slice(field);
    Ok(())
}

/// Appends a table.
pub(super) fn put_table(out: &mut Vec<u8>, control: bool, table: &Table) -> io::Result<()> {
    out.extend_from_slice(&[TABLE, u8::from(control)]);
    put(out, table.name.as_bytes())?;
    let count = u32::try_from(table.columns.len()).map_err(|_| io::ErrorKind::InvalidInput)?;
    out.extend_from_slice(&count.to_be_bytes());
    for column in &table.columns {
        out.push(match column.kind {
            CellKind::Number => NUMBER,
            CellKind::Text => TEXT,
            CellKind::Bytes => BYTES,
        });
        put(out, column.name.as_bytes())?;
    }
    Ok(())
}

/// Appends a row.
pub(super) fn put_row(out: &mut Vec<u8>, row: &[Cell]) -> io::Result<()> {
    out.push(ROW);
    let count = u32::try_from(row.len()).map_err(|_| io::ErrorKind::InvalidInput)?;
    out.extend_from_slice(&count.to_be_bytes());
    for cell in row {
        match cell {
            Cell::Null => out.push(NULL),
            Cell::Number(number) => {
                out.push(NUMBER);
                out.extend_from_slice(&number.to_be_bytes());
            }
            Cell::Text(text) => {
                out.push(TEXT);
                put(out, text.as_bytes())?;
            }
            Cell::Bytes(bytes) => {
                out.push(BYTES);
                put(out, bytes)?;
            }
        }
    }
    Ok(())
}

/// Appends the beginning of a file.
pub(super) fn put_file(out: &mut Vec<u8>, name: &str) -> io::Result<()> {
    out.push(FILE);
    put(out, name.as_bytes())
}

/// Appends a piece of a file.
pub(super) fn put_piece(out: &mut Vec<u8>, bytes: &[u8]) -> io::Result<()> {
    out.push(PIECE);
    put(out, bytes)
}

/// Appends the end.
pub(super) fn put_end(out: &mut Vec<u8>, rows: u64, files: u64) {
    out.push(END);
    out.extend_from_slice(&rows.to_be_bytes());
    out.extend_from_slice(&files.to_be_bytes());
}

/// Reads frames out of what was opened. What does not fit together is an error of the kind `InvalidData`.
pub(super) struct Frames<R> {
    from: R,
    columns: Option<Vec<CellKind>>,
    is_file: bool,
    rows: u64,
    files: u64,
}

impl<R: Read> Frames<R> {
    pub(super) const fn of(from: R) -> Self {
        Self {
            from,
            columns: None,
            is_file: false,
            rows: 0,
            files: 0,
        }
    }

    /// What the frames are read from.
    pub(super) const fn from(&self) -> &R {
        &self.from
    }

    /// The same, once they are read.
    pub(super) fn into_inner(self) -> R {
        self.from
    }

    /// The next frame; after [`Frame::End`] none must be asked for.
    pub(super) fn next(&mut self) -> io::Result<Frame> {
        match self.byte()? {
            TABLE => {
                let control = self.byte()? == 1;
                let name = self.text()?;
                let mut columns = Vec::new();
                for _ in 0..self.number_u32()? {
                    let kind = match self.byte()? {
                        NUMBER => CellKind::Number,
                        TEXT => CellKind::Text,
                        BYTES => CellKind::Bytes,
                        _ => return Err(unfit()),
                    };
                    let name = self.text()?;
                    columns.push(Column { name, kind });
                }
                self.columns = Some(columns.iter().map(|column| column.kind).collect());
                self.is_file = false;
                let table = Table::told(name, columns);
                Ok(Frame::Table { control, table })
            }
            ROW => {
                let columns = self.columns.take().ok_or_else(unfit)?;
                if usize::try_from(self.number_u32()?).ok() != Some(columns.len()) {
                    return Err(unfit());
                }
                let mut row = Vec::with_capacity(columns.len());
                for kind in &columns {
                    row.push(match (self.byte()?, kind) {
                        (NULL, _) => Cell::Null,
                        (NUMBER, CellKind::Number) => {
                            Cell::Number(i64::from_be_bytes(self.array()?))
                        }
                        (TEXT, CellKind::Text) => Cell::Text(self.text()?),
                        (BYTES, CellKind::Bytes) => Cell::Bytes(self.bytes()?),
                        _ => return Err(unfit()),
                    });
                }
                self.columns = Some(columns);
                self.rows += 1;
                Ok(Frame::Row(row))
            }
            FILE => {
                self.columns = None;
                self.is_file = true;
                self.files += 1;
                let name = self.text()?;
                Ok(Frame::File { name })
            }
            PIECE if self.is_file => Ok(Frame::Piece(self.bytes()?)),
            END => {
                let rows = u64::from_be_bytes(self.array()?);
                let files = u64::from_be_bytes(self.array()?);
                // Nothing follows.
                let mut more = [0];
                let is_over = self.from.read(&mut more)? == 0;
                if is_over && (rows, files) == (self.rows, self.files) {
                    Ok(Frame::End { rows, files })
                } else {
                    Err(unfit())
                }
            }
            _ => Err(unfit()),
        }
    }

    fn array<const N: usize>(&mut self) -> io::Result<[u8; N]> {
        let mut bytes = [0; N];
        self.from.read_exact(&mut bytes)?;
        Ok(bytes)
    }

    fn byte(&mut self) -> io::Result<u8> {
        let [byte] = self.array()?;
        Ok(byte)
    }

    fn number_u32(&mut self) -> io::Result<u32> {
        Ok(u32::from_be_bytes(self.array()?))
    }

    fn bytes(&mut self) -> io::Result<Vec<u8>> {
        let length = usize::try_from(self.number_u32()?).map_err(|_| unfit())?;
        if length > LONGEST {
            return Err(unfit());
        }
        let mut bytes = vec![0; length];
        self.from.read_exact(&mut bytes)?;
        Ok(bytes)
    }

    fn text(&mut self) -> io::Result<String> {
        String::from_utf8(self.bytes()?).map_err(|_| unfit())
    }
}

fn unfit() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "its frames do not fit together")
}

#[cfg(test)]
#[expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test")]
mod tests {
    use super::*;

    fn written() -> (Vec<u8>, Vec<Frame>) {
        let column = |name: &str, kind| Column {
            name: name.into(),
            kind,
        };
        let table = Table::told(
            "state".into(),
            vec![
                column("id", CellKind::Text),
                column("to_index", CellKind::Number),
                column("body", CellKind::Bytes),
            ],
        );
        let row = vec![Cell::Text("a".into()), Cell::Null, Cell::Bytes(vec![1, 2])];
        let mut out = Vec::new();
        put_table(&mut out, true, &table).unwrap();
        put_row(&mut out, &row).unwrap();
        put_file(&mut out, "one/two").unwrap();
        put_piece(&mut out, &[7; 9]).unwrap();
        put_end(&mut out, 1, 1);
        let frames = vec![
            Frame::Table {
                control: true,
                table,
            },
            Frame::Row(row),
            Frame::File {
                name: "one/two".into(),
            },
            Frame::Piece(vec![7; 9]),
            Frame::End { rows: 1, files: 1 },
        ];
        (out, frames)
    }

    fn read(bytes: &[u8]) -> io::Result<Vec<Frame>> {
        let (mut frames, mut found) = (Frames::of(bytes), Vec::new());
        loop {
            found.push(frames.next()?);
            if matches!(found.last(), Some(Frame::End { .. })) {
                return Ok(found);
            }
        }
    }

    #[test]
    fn frames_are_read_as_they_were_written() {
        let (bytes, frames) = written();
        assert_eq!(read(&bytes).unwrap(), frames);
    }

    #[test]
    fn what_is_cut_or_goes_on_is_refused() {
        let (mut bytes, _) = written();
        for end in 0..bytes.len() {
            assert!(read(&bytes[..end]).is_err(), "{end}");
        }
        bytes.push(0);
        assert!(read(&bytes).is_err());
    }

    #[test]
    fn what_does_not_fit_together_is_refused() {
        let mut row = Vec::new();
        put_row(&mut row, &[Cell::Null]).unwrap();
        assert!(read(&row).is_err(), "a row of no table");
        let mut piece = Vec::new();
        put_piece(&mut piece, &[1]).unwrap();
        assert!(read(&piece).is_err(), "a piece of no file");
        let mut end = Vec::new();
        put_end(&mut end, 1, 0);
        assert!(read(&end).is_err(), "a row that is not there");
    }
}

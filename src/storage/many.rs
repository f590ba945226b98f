//! Statements about many rows at once, in few forms: each is prepared once, whatever number of rows there is.

use sqlx::Any;
use sqlx::any::AnyArguments;
use sqlx::query::Query;

use super::Dialect;

/// The most rows that one statement is about, a power of two.
pub(crate) const MANY: usize = 64;

/// To how many so many are padded.
pub(crate) const fn padded(count: usize) -> usize {
    count.next_power_of_two()
}

/// `$first, $first+1, ...`, as many as `count` of them are padded to.
pub(crate) fn places(count: usize, first: usize) -> String {
    let places = (first..first + padded(count)).map(|number| format!("${number}"));
    places.collect::<Vec<_>>().join(", ")
}

/// Binds these names; the places beyond the last repeat it.
pub(crate) fn bind_all<'q>(
    mut query: Query<'q, Any, AnyArguments>,
    names: &[&'q str],
) -> Query<'q, Any, AnyArguments> {
    for at in 0..padded(names.len()) {
        query = query.bind(names.get(at).or(names.last()).copied().unwrap_or_default());
    }
    query
}

/// The places of so many rows, in order: `($1, $2), ($3, $4), ...`. Without names with SQLite, which looks each name up among all others.
pub(crate) fn rows_of_places(dialect: Dialect, rows: usize, columns: usize) -> String {
    let row = |row: usize| {
        let places = (row * columns + 1..=(row + 1) * columns).map(|number| match dialect {
            Dialect::Sqlite => "?".to_owned(),
            Dialect::Postgres => format!("${number}"),
        });
        format!("({})", places.collect::<Vec<_>>().join(", "))
    };
    (0..rows).map(row).collect::<Vec<_>>().join(", ")
}

//! Tables read and written whole, whatever they hold: what a backup takes of a database and puts back.

use sqlx::any::{AnyArguments, AnyRow};
use sqlx::query::Query;
use sqlx::{Any, AnyConnection, AssertSqlSafe, Connection as _, Row as _};

use super::{Database, Dialect, Migration, StorageError};

/// How many rows are read at a time: a row may be as long as a batch of entries.
const PAGE: usize = 32;

const VERSION: &str = "SELECT COALESCE(MAX(version), 0) AS version FROM migration";
const SQLITE_COLUMNS: &str = "SELECT name, type, CAST(pk AS BIGINT) AS place FROM pragma_table_info($1) ORDER BY cid LIMIT 1000";
const POSTGRES_COLUMNS: &str = "SELECT CAST(one.column_name AS TEXT) AS name, CAST(one.data_type AS TEXT) AS type, \
     CAST(COALESCE(part.ordinal_position, 0) AS BIGINT) AS place FROM information_schema.columns AS one \
     LEFT JOIN information_schema.table_constraints AS whole ON whole.table_schema = one.table_schema \
     AND whole.table_name = one.table_name AND whole.constraint_type = 'PRIMARY KEY' \
     LEFT JOIN information_schema.key_column_usage AS part ON part.constraint_schema = whole.constraint_schema \
     AND part.constraint_name = whole.constraint_name AND part.table_name = one.table_name \
     AND part.column_name = one.column_name \
     WHERE one.table_schema = current_schema() AND one.table_name = $1 ORDER BY one.ordinal_position LIMIT 1000";

/// What a column holds, the same on both databases.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CellKind {
    /// A whole number of 64 bits.
    Number,
    /// Text.
    Text,
    /// Bytes.
    Bytes,
}

/// One value of a row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cell {
    /// Nothing.
    Null,
    /// A whole number.
    Number(i64),
    /// Text.
    Text(String),
    /// Bytes.
    Bytes(Vec<u8>),
}

/// A column of a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Column {
    /// Its name.
    pub name: String,
    /// What it holds.
    pub kind: CellKind,
}

/// A table as a database has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Table {
    /// Its name.
    pub name: String,
    /// Its columns, in order.
    pub columns: Vec<Column>,
    /// The places of the primary key's columns, in the key's order; empty where it was not read from a database.
    key: Vec<usize>,
}

impl Table {
    /// One that a backup tells of: rows of it can be written, and not looked up.
    #[must_use]
    pub const fn told(name: String, columns: Vec<Column>) -> Self {
        Self {
            name,
            columns,
            key: Vec::new(),
        }
    }

    /// The place of a column.
    #[must_use]
    pub fn place(&self, name: &str) -> Option<usize> {
        self.columns.iter().position(|column| column.name == name)
    }

    fn names(&self) -> String {
        let names: Vec<&str> = self.columns.iter().map(|one| one.name.as_str()).collect();
        names.join(", ")
    }

    fn key_names(&self) -> String {
        let names: Vec<&str> = self
            .key
            .iter()
            .filter_map(|at| self.columns.get(*at))
            .map(|one| one.name.as_str())
            .collect();
        names.join(", ")
    }

    fn key_of(&self, row: &[Cell]) -> Vec<Cell> {
        self.key
            .iter()
            .filter_map(|at| row.get(*at).cloned())
            .collect()
    }
}

/// The tables that these steps make on one database, in the order in which they are made.
#[must_use]
pub fn tables(steps: &[Migration], dialect: Dialect) -> Vec<&'static str> {
    let mut found: Vec<&'static str> = Vec::new();
    for step in steps {
        let sql = match dialect {
            Dialect::Sqlite => step.sqlite,
            Dialect::Postgres => step.postgres,
        };
        for line in sql.lines() {
            let mut words = line
                .split(|one: char| !(one.is_ascii_alphanumeric() || one == '_'))
                .filter(|word| !word.is_empty());
            match (words.next(), words.next(), words.next()) {
                (Some("CREATE"), Some("TABLE"), Some(name)) => found.push(name),
                (Some("DROP"), Some("TABLE"), Some(name)) => found.retain(|one| *one != name),
                _ => {}
            }
        }
    }
    found
}

/// The steps up to a version.
#[must_use]
pub fn up_to(steps: &'static [Migration], version: i64) -> &'static [Migration] {
    let count = steps.iter().filter(|step| step.version <= version).count();
    steps.get(..count).unwrap_or(steps)
}

/// The newest version that these steps make.
#[must_use]
pub fn newest(steps: &[Migration]) -> i64 {
    steps.last().map_or(0, |step| step.version)
}

/// A database read in one snapshot, whoever writes meanwhile.
pub struct Reading {
    database: Database,
    connection: AnyConnection,
    version: i64,
}

impl std::fmt::Debug for Reading {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.database.fmt(f)
    }
}

impl Database {
    /// Begins to read in one snapshot, as of now.
    ///
    /// # Errors
    /// The database does not answer.
    pub async fn reading(&self) -> Result<Reading, StorageError> {
        let error = |cause| self.error(cause);
        let mut connection = self.connect().await?;
        let begin = match self.dialect {
            Dialect::Sqlite => "BEGIN",
            Dialect::Postgres => "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY",
        };
        sqlx::raw_sql(begin)
            .execute(&mut connection)
            .await
            .map_err(error)?;
        // The snapshot is of the first reading.
        let row = sqlx::query(VERSION)
            .fetch_one(&mut connection)
            .await
            .map_err(error)?;
        Ok(Reading {
            database: self.clone(),
            connection,
            version: row.try_get("version").map_err(error)?,
        })
    }

    /// Whether nothing was ever made in it.
    ///
    /// # Errors
    /// The database does not answer.
    pub async fn is_new(&self) -> Result<bool, StorageError> {
        let mut connection = self.connect().await?;
        let found = self.describe(&mut connection, "migration").await?;
        let closed = connection.close().await;
        closed.map_err(|cause| self.error(cause))?;
        Ok(found.is_none())
    }

    /// Begins to write rows as they were read elsewhere.
    ///
    /// # Errors
    /// The database does not answer.
    pub async fn loading(&self) -> Result<Loading, StorageError> {
        let mut loading = Loading {
            database: self.clone(),
            connection: self.connect().await?,
        };
        loading.say(self.dialect.begin()).await?;
        Ok(loading)
    }

    /// What kind of columns a table has, and its key; nothing where there is no such table.
    async fn describe(
        &self,
        connection: &mut AnyConnection,
        name: &str,
    ) -> Result<Option<Table>, StorageError> {
        let error = |cause| self.error(cause);
        let sql = match self.dialect {
            Dialect::Sqlite => SQLITE_COLUMNS,
            Dialect::Postgres => POSTGRES_COLUMNS,
        };
        let rows = sqlx::query(sql)
            .bind(name)
            .fetch_all(connection)
            .await
            .map_err(error)?;
        if rows.is_empty() {
            return Ok(None);
        }
        let (mut columns, mut key) = (Vec::new(), Vec::new());
        for (at, row) in rows.iter().enumerate() {
            let kind: String = row.try_get("type").map_err(error)?;
            let kind = match kind.to_ascii_lowercase().as_str() {
                "integer" | "bigint" => CellKind::Number,
                "text" => CellKind::Text,
                "blob" | "bytea" => CellKind::Bytes,
                _ => {
                    return Err(StorageError::Unknown {
                        place: self.place.clone(),
                        what: format!("the type `{kind}` in the table `{name}`"),
                    });
                }
            };
            columns.push(Column {
                name: row.try_get("name").map_err(error)?,
                kind,
            });
            let place: i64 = row.try_get("place").map_err(error)?;
            if place > 0 {
                key.push((place, at));
            }
        }
        key.sort_unstable();
        Ok(Some(Table {
            name: name.to_owned(),
            columns,
            key: key.into_iter().map(|(_, at)| at).collect(),
        }))
    }
}

impl Reading {
    /// The version of its schema.
    #[must_use]
    pub const fn version(&self) -> i64 {
        self.version
    }

    /// The tables that these steps have made by its version.
    ///
    /// # Errors
    /// The database does not answer, is of a newer program, or lacks a table.
    pub async fn tables(
        &mut self,
        steps: &'static [Migration],
    ) -> Result<Vec<Table>, StorageError> {
        let (found, known) = (self.version, newest(steps));
        if found > known {
            return Err(StorageError::Newer {
                place: self.database.place.clone(),
                found,
                known,
            });
        }
        let mut all = Vec::new();
        for name in tables(up_to(steps, found), self.database.dialect) {
            all.push(self.table(name).await?);
        }
        Ok(all)
    }

    /// One table.
    ///
    /// # Errors
    /// The database does not answer, or has no such table.
    pub async fn table(&mut self, name: &str) -> Result<Table, StorageError> {
        let found = self.database.describe(&mut self.connection, name).await?;
        found.filter(|table| !table.key.is_empty()).ok_or_else(|| {
            let what = format!("no table `{name}` with a key");
            StorageError::Unknown {
                place: self.database.place.clone(),
                what,
            }
        })
    }

    /// The next rows of a table behind `after`, in the order of its key; none at its end.
    ///
    /// # Errors
    /// The database does not answer.
    pub async fn page(
        &mut self,
        table: &Table,
        after: Option<&[Cell]>,
    ) -> Result<Vec<Vec<Cell>>, StorageError> {
        let (names, name, key) = (table.names(), &table.name, table.key_names());
        let after = after.map(|row| table.key_of(row)).unwrap_or_default();
        let condition = match after.len() {
            0 => String::new(),
            count => format!(" WHERE ({key}) > ({})", places(count)),
        };
        let sql = format!("SELECT {names} FROM {name}{condition} ORDER BY {key} LIMIT {PAGE}");
        self.rows(table, sql, &after).await
    }

    /// The row of that key.
    ///
    /// # Errors
    /// The database does not answer.
    pub async fn row(
        &mut self,
        table: &Table,
        key: Cell,
    ) -> Result<Option<Vec<Cell>>, StorageError> {
        let (names, name, column) = (table.names(), &table.name, table.key_names());
        let sql = format!("SELECT {names} FROM {name} WHERE ({column}) = ($1) LIMIT 1");
        Ok(self.rows(table, sql, &[key]).await?.pop())
    }

    async fn rows(
        &mut self,
        table: &Table,
        sql: String,
        bound: &[Cell],
    ) -> Result<Vec<Vec<Cell>>, StorageError> {
        // Its names are those of our own schema.
        let mut query = sqlx::query(AssertSqlSafe(sql));
        for cell in bound {
            query = bind(query, cell, CellKind::Number);
        }
        let rows = query
            .fetch_all(&mut self.connection)
            .await
            .map_err(|cause| self.database.error(cause))?;
        rows.iter()
            .map(|row| read(row, table).map_err(|cause| self.database.error(cause)))
            .collect()
    }

    /// Lets go of the snapshot, and of the database.
    ///
    /// # Errors
    /// The database does not answer.
    pub async fn close(self) -> Result<(), StorageError> {
        let database = self.database;
        self.connection
            .close()
            .await
            .map_err(|cause| database.error(cause))
    }
}

fn places(count: usize) -> String {
    let places: Vec<String> = (1..=count).map(|at| format!("${at}")).collect();
    places.join(", ")
}

fn bind<'q>(
    query: Query<'q, Any, AnyArguments>,
    cell: &Cell,
    kind: CellKind,
) -> Query<'q, Any, AnyArguments> {
    match (cell, kind) {
        (Cell::Number(number), _) => query.bind(*number),
        (Cell::Text(text), _) => query.bind(text.clone()),
        (Cell::Bytes(bytes), _) => query.bind(bytes.clone()),
        (Cell::Null, CellKind::Number) => query.bind(None::<i64>),
        (Cell::Null, CellKind::Text) => query.bind(None::<String>),
        (Cell::Null, CellKind::Bytes) => query.bind(None::<Vec<u8>>),
    }
}

fn read(row: &AnyRow, table: &Table) -> Result<Vec<Cell>, sqlx::Error> {
    let mut cells = Vec::with_capacity(table.columns.len());
    for (at, column) in table.columns.iter().enumerate() {
        let cell = match column.kind {
            CellKind::Number => row.try_get::<Option<i64>, _>(at)?.map(Cell::Number),
            CellKind::Text => row.try_get::<Option<String>, _>(at)?.map(Cell::Text),
            CellKind::Bytes => row.try_get::<Option<Vec<u8>>, _>(at)?.map(Cell::Bytes),
        };
        cells.push(cell.unwrap_or(Cell::Null));
    }
    Ok(cells)
}

/// Rows being written as they were read elsewhere, in a transaction.
pub struct Loading {
    database: Database,
    connection: AnyConnection,
}

impl std::fmt::Debug for Loading {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.database.fmt(f)
    }
}

impl Loading {
    async fn say(&mut self, sql: &'static str) -> Result<(), StorageError> {
        sqlx::raw_sql(sql)
            .execute(&mut self.connection)
            .await
            .map(|_| ())
            .map_err(|cause| self.database.error(cause))
    }

    /// Empties the table of that name, and says what it is here; it must have every column that is told.
    ///
    /// # Errors
    /// The database does not answer; it has no such table or column, or one of another kind.
    pub async fn clear(&mut self, told: &Table) -> Result<(), StorageError> {
        let found = self
            .database
            .describe(&mut self.connection, &told.name)
            .await?;
        let fits = found.is_some_and(|found| {
            let mut columns = told.columns.iter();
            columns.all(|column| found.columns.contains(column))
        });
        if !fits {
            return Err(StorageError::Unknown {
                place: self.database.place.clone(),
                what: format!("no table `{}` with the columns of the backup", told.name),
            });
        }
        // Both name and columns are those of our own schema, as was just seen.
        sqlx::query(AssertSqlSafe(format!("DELETE FROM {}", told.name)))
            .execute(&mut self.connection)
            .await
            .map(|_| ())
            .map_err(|cause| self.database.error(cause))
    }

    /// Takes away the rows of a table of ours that have this in a column.
    ///
    /// # Errors
    /// The database does not take it.
    pub async fn remove(
        &mut self,
        (table, column): (&'static str, &'static str),
        cell: &Cell,
    ) -> Result<(), StorageError> {
        let sql = format!("DELETE FROM {table} WHERE {column} = $1");
        bind(sqlx::query(AssertSqlSafe(sql)), cell, CellKind::Number)
            .execute(&mut self.connection)
            .await
            .map(|_| ())
            .map_err(|cause| self.database.error(cause))
    }

    /// Locks the deployment's row of the control database, and what it says.
    ///
    /// # Errors
    /// The database does not answer.
    pub(crate) async fn lock_deployment(&mut self) -> Result<AnyRow, StorageError> {
        sqlx::query(self.database.dialect.deployment_lock())
            .fetch_one(&mut self.connection)
            .await
            .map_err(|cause| self.database.error(cause))
    }

    /// Whether a query of ours finds a row with this.
    ///
    /// # Errors
    /// The database does not answer.
    pub(crate) async fn finds(
        &mut self,
        sql: &'static str,
        cell: &Cell,
    ) -> Result<bool, StorageError> {
        bind(sqlx::query(sql), cell, CellKind::Number)
            .fetch_optional(&mut self.connection)
            .await
            .map(|row| row.is_some())
            .map_err(|cause| self.database.error(cause))
    }

    /// Lets go of the database; nothing was written.
    ///
    /// # Errors
    /// The database does not answer.
    pub(crate) async fn abandon(mut self) -> Result<(), StorageError> {
        self.say("ROLLBACK").await?;
        let database = self.database;
        self.connection
            .close()
            .await
            .map_err(|cause| database.error(cause))
    }

    /// Writes a row of a table that was cleared, or of one of ours.
    ///
    /// # Errors
    /// The database does not take it.
    pub async fn add(&mut self, table: &Table, row: &[Cell]) -> Result<(), StorageError> {
        let sql = format!(
            "INSERT INTO {} ({}) VALUES ({})",
            table.name,
            table.names(),
            places(table.columns.len())
        );
        let mut query = sqlx::query(AssertSqlSafe(sql));
        for (cell, column) in row.iter().zip(&table.columns) {
            query = bind(query, cell, column.kind);
        }
        query
            .execute(&mut self.connection)
            .await
            .map(|_| ())
            .map_err(|cause| self.database.error(cause))
    }

    /// Commits what was written, and begins anew.
    ///
    /// # Errors
    /// The database does not take it.
    pub async fn settle(&mut self) -> Result<(), StorageError> {
        self.say("COMMIT").await?;
        self.say(self.database.dialect.begin()).await
    }

    /// Commits what was written, and lets go of the database.
    ///
    /// # Errors
    /// The database does not take it.
    pub async fn finish(mut self) -> Result<(), StorageError> {
        self.say("COMMIT").await?;
        let database = self.database;
        self.connection
            .close()
            .await
            .map_err(|cause| database.error(cause))
    }
}

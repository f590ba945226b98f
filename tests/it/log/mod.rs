//! The log, checked by its own words and by libraries that nobody here wrote.

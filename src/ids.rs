//! Random identifiers that we give: a prefix that names the kind, and 128 bits in base 32.

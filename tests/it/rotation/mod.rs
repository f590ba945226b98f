//! Keys and their rotation: under load, killed in the middle, over epochs, and what the version before opens afterwards.

mod above;
mod arrivals;
mod columns;
mod epochs;
mod killed;
mod load;
mod places;

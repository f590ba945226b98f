//! Who asks: the doors by which a caller comes in.

pub mod api_key;

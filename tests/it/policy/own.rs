//! A tenant's own types, actions and policies.

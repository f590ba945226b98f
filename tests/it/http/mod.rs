//! The edge: settings, certificates, listeners, documents.

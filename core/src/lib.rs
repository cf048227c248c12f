//! The deterministic heart of Precentor.

//! Compute buffers.

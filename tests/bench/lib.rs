//! Holds the benchmarks; there is nothing to link.

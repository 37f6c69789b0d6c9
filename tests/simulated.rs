//! The simulator's truth against what its documents give.

//! Text as people read it: colours, and the layout of an explanation.

pub mod explanation;
pub mod style;

//! Text for people: colours, and the layout of an explanation.

pub mod explanation;
pub mod style;

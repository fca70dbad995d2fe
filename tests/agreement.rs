//! That the model of systemd, on which the simulation rests, and real systemd agree.

#[expect(dead_code, unused_imports, reason = "each test uses a part of it")]
#[path = "simulation/model/mod.rs"]
mod model;

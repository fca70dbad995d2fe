//! workerheal on launchd: the cases that hold on every service manager, and those that are launchd's own.

#[path = "../../../cases/mod.rs"]
mod cases;
mod install;
mod lerd;
mod own;
mod recorded;
mod stage;

use stage::OnLaunchd;

play_all!(OnLaunchd);

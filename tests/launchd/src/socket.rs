//! The socket that the stand-in listens on.

use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::sync::{Arc, Mutex, Weak};
use std::thread;

use crate::Reply;
use crate::server::{POLL, World, call, lock};

/// Listens until the world is gone.
pub(crate) fn serve(socket: &Path, world: &Arc<Mutex<World>>) -> io::Result<()> {
    let listener = UnixListener::bind(socket)?;
    let world = Arc::downgrade(world);
    thread::spawn({
        let world = world.clone();
        move || {
            for stream in listener.incoming().flatten() {
                let world = world.clone();
                thread::spawn(move || answer(&stream, &world));
            }
        }
    });
    thread::spawn(move || {
        while let Some(world) = world.upgrade() {
            World::tick(&world);
            drop(world);
            thread::sleep(POLL);
        }
    });
    Ok(())
}

fn answer(stream: &UnixStream, world: &Weak<Mutex<World>>) -> Option<()> {
    let mut line = String::new();
    BufReader::new(stream).read_line(&mut line).ok()?;
    let arguments: Vec<String> = serde_json::from_str(&line).ok()?;
    let world = world.upgrade()?;
    lock(&world).calls.push(arguments.join(" "));
    let reply = call(&world, &arguments);
    let mut stream = stream;
    serde_json::to_writer(&mut stream, &reply).ok()?;
    stream.flush().ok()
}

pub(crate) fn ask(socket: &Path, arguments: &[String]) -> io::Result<Reply> {
    let mut stream = UnixStream::connect(socket)?;
    stream.write_all(format!("{}\n", serde_json::to_string(arguments)?).as_bytes())?;
    Ok(serde_json::from_reader(stream)?)
}

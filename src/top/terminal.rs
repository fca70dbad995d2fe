//! The terminal: taken over for as long as a [`Screen`] lives, and given back as it was, however that ends.

use std::io::{self, IsTerminal, Stdout, Write};
use std::panic;
use std::sync::Once;
use std::sync::atomic::{AtomicBool, Ordering};

use crossterm::cursor::{Hide, Show};
use crossterm::terminal::{
    BeginSynchronizedUpdate, EndSynchronizedUpdate, EnterAlternateScreen, LeaveAlternateScreen, disable_raw_mode,
    enable_raw_mode,
};
use crossterm::{execute, queue};
use ratatui::backend::CrosstermBackend;
use ratatui::buffer::Buffer;
use ratatui::{Frame, Terminal};

/// Whether there is anything to give back. A panic can happen anywhere, so this cannot belong to anybody.
static TAKEN: AtomicBool = AtomicBool::new(false);

/// The terminal, taken over: on its other screen, each key as it is pressed, nothing echoed.
#[derive(Debug)]
pub struct Screen {
    terminal: Terminal<CrosstermBackend<Stdout>>,
    /// What is on it, if that is known.
    shown: Option<Buffer>,
}

impl Screen {
    /// Takes it over. From here on a panic gives it back before it is told.
    ///
    /// # Errors
    ///
    /// If standard input or output is no terminal, or it cannot be set up.
    pub fn take() -> io::Result<Self> {
        if !(io::stdin().is_terminal() && io::stdout().is_terminal()) {
            return Err(io::Error::other("standard input and output have to be a terminal"));
        }
        give_back_on_panic();
        Self::enter()?;
        let terminal = Terminal::new(CrosstermBackend::new(io::stdout())).inspect_err(|_| give_back())?;
        Ok(Self { terminal, shown: None })
    }

    fn enter() -> io::Result<()> {
        TAKEN.store(true, Ordering::SeqCst);
        enable_raw_mode().and_then(|()| execute!(io::stdout(), EnterAlternateScreen, Hide)).inspect_err(|_| give_back())
    }

    /// Shows what `draw` draws. What is on the screen already is not written again; if that is all of it,
    /// nothing is.
    pub(super) fn show(&mut self, draw: impl FnOnce(&mut Frame)) -> io::Result<()> {
        // After a panic elsewhere the terminal is somebody else's.
        if !TAKEN.load(Ordering::SeqCst) {
            return Err(io::Error::other("a part of it has failed, see above"));
        }
        self.terminal.autoresize()?;
        draw(&mut self.terminal.get_frame());
        let drawn = self.terminal.current_buffer_mut();
        if self.shown.as_ref() == Some(drawn) {
            drawn.reset();
            return Ok(());
        }
        self.shown = Some(drawn.clone());
        queue!(io::stdout(), BeginSynchronizedUpdate)?;
        self.terminal.flush()?;
        self.terminal.swap_buffers();
        execute!(io::stdout(), EndSynchronizedUpdate)
    }

    /// Takes it over again where it was given back, and forgets what was on it.
    pub(super) fn come_back(&mut self) -> io::Result<()> {
        Self::enter()?;
        self.shown = None;
        self.terminal.clear()
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        give_back();
    }
}

/// Gives the terminal back if it is taken. There is nobody to tell if that fails.
pub(super) fn give_back() {
    if TAKEN.swap(false, Ordering::SeqCst) {
        let _ = execute!(io::stdout(), Show, LeaveAlternateScreen);
        let _ = io::stdout().flush();
        let _ = disable_raw_mode();
    }
}

fn give_back_on_panic() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let tell = panic::take_hook();
        panic::set_hook(Box::new(move |what| {
            give_back();
            tell(what);
        }));
    });
}
